"""A small name server on a UDP port: what it does not know does not exist; silenced, it says nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

from dns.flags import RA
from dns.message import from_wire, make_response
from dns.rcode import NXDOMAIN
from dns.rrset import from_text


class NameServer(asyncio.DatagramProtocol):
    """`records`: (name, type) -> value. `asked` is everything that it was asked."""

    def __init__(self, records: dict[tuple[str, str], str]) -> None:
        self.records = records
        self.asked: list[tuple[str, str]] = []
        self.silent = False
        self.question = asyncio.Event()
        self.port = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.DatagramTransport", transport)
        self.port = transport.get_extra_info("sockname")[1]

    def datagram_received(self, data: bytes, addr: tuple[Any, ...]) -> None:
        question = from_wire(data)
        (wanted,) = question.question
        key = (str(wanted.name).rstrip("."), wanted.rdtype.name)
        self.asked.append(key)
        self.question.set()
        if self.silent:
            return
        response = make_response(question)
        response.flags |= RA
        if key in self.records:
            response.answer.append(from_text(wanted.name, 60, "IN", key[1], self.records[key]))
        else:
            response.set_rcode(NXDOMAIN)
        self.transport.sendto(response.to_wire(), addr)


@asynccontextmanager
async def name_server(records: dict[tuple[str, str], str]) -> AsyncIterator[NameServer]:
    """The server for the time of a test."""
    loop = asyncio.get_running_loop()
    transport, server = await loop.create_datagram_endpoint(lambda: NameServer(records), ("127.0.0.1", 0))
    try:
        yield server
    finally:
        transport.close()
