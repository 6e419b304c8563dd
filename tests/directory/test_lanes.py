"""A connection whose other end is not what it should be: it is given up, and nobody waits for ever."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

import pytest

from services.common.directory.ldap import wire
from services.common.directory.ldap.answers import NoAnswer
from services.common.directory.ldap.lanes import Lane, LinkLost, Question

QUESTION = Question("o=isp", "(uid=anna)", ("uid",))


def result(number: int, tag: int = wire.SEARCH_DONE, code: int = 0) -> bytes:
    """The end of an operation."""
    content = wire._integer(0x0A, code) + wire._octets(b"") + wire._octets(b"")
    return wire._message(number, wire._tlv(tag, content))


@asynccontextmanager
async def lane(*answers: bytes, seconds: float = 30, close: bool = False) -> AsyncIterator[Lane]:
    """A lane whose server gives these answers to the requests, one each, and may close then."""
    here, there = socket.socketpair()
    there.setblocking(False)
    loop = asyncio.get_running_loop()

    async def serve() -> None:
        for answer in answers:
            await loop.sock_recv(there, 1 << 16)
            await loop.sock_sendall(there, answer)
        if close:
            there.close()

    serving = asyncio.create_task(serve())
    made = Lane(here, seconds)
    try:
        yield made
    finally:
        made.close()
        serving.cancel()
        there.close()


async def test_answers_are_read() -> None:
    async with lane(result(1), result(2, wire.BIND_RESPONSE, 49), result(3, wire.COMPARE_RESPONSE, 6)) as found:
        assert await found.search(QUESTION) == []
        assert (await found.bind("uid=anna", "secret")).code == 49
        assert (await found.compare("uid=anna", "userPassword", "secret")).code == 6


@pytest.mark.parametrize(
    "answer",
    [
        b"\x15\x03\x01\x00\x02\x02\x28",
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        result(9),
        result(0, wire.EXTENDED_RESPONSE, 52),
        wire._message(1, wire._tlv(wire.SEARCH_DONE, b"")),
        wire._message(1, wire._tlv(wire.SEARCH_ENTRY, b"\x04\x00")) + result(1),
        result(1) + result(1),
    ],
)
async def test_other_answers_end_the_connection(answer: bytes) -> None:
    async with lane(answer) as found:
        with suppress(LinkLost):
            await found.search(QUESTION)
        assert not found.usable
        with pytest.raises(LinkLost):
            await found.search(QUESTION)


async def test_an_answer_that_does_not_come_ends_it_too() -> None:
    async with lane(seconds=0.02) as found:
        with pytest.raises(LinkLost) as caught:
            await found.search(QUESTION)
        assert caught.value.slow
        assert not found.usable


async def test_a_server_that_closes_is_noticed_without_a_question() -> None:
    async with lane(result(1), close=True) as found:
        await found.search(QUESTION)
        async with asyncio.timeout(30):
            while found.usable:  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0)


async def test_who_gives_up_leaves_no_connection_with_an_answer_to_come() -> None:
    async with lane() as found:
        asking = asyncio.create_task(found.search(QUESTION))
        await asyncio.sleep(0)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        assert not found.usable


async def test_a_filter_that_is_none_costs_no_connection() -> None:
    async with lane() as found:
        with pytest.raises(NoAnswer):
            await found.search(Question("o=isp", "(uid", ("uid",)))
        assert found.usable


@pytest.mark.parametrize("make", [lambda lane: lane.bind("", "x"), lambda lane: lane.bind("uid=anna", "")])
async def test_no_bind_is_anonymous_by_mistake(make: Callable[[Lane], object]) -> None:
    async with lane() as found:
        with pytest.raises(ValueError, match="without name or password"):
            await make(found)  # type: ignore[misc]


async def test_codes_that_say_nothing_are_no_answer() -> None:
    async with lane(result(1, code=51), result(2, code=32)) as found:
        with pytest.raises(NoAnswer):
            await found.search(QUESTION)
        assert await found.search(QUESTION) == []
