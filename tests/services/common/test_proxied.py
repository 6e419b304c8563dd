"""Clients behind a balancer: the PROXY header before everything else, from those alone who are believed."""

from __future__ import annotations

import asyncio
import struct
from contextlib import suppress
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest

from services.common import accepting
from services.common.access.proxyheader import SIGNATURE
from services.common.accessoptions import AccessOptions
from services.common.listening import Listener
from services.common.live import Live
from services.common.sharedoptions import TlsOptions
from services.common.tls import ServerTls
from tests.support.certificates import make_certificate
from tests.support.lineserver import Client, LineServer, line_server
from tests.support.recorder import Recorder

BOTH_LOOPS = True
PROXIED = Listener("127.0.0.1", proxied=True)
PROXIED_TLS = Listener("127.0.0.1", proxied=True, tls=True)
TRUSTED = Live(AccessOptions(trustedproxies=("127.0.0.0/8",)))
CLIENT = "192.0.2.7"


def text(client: str = CLIENT) -> bytes:
    return b"PROXY TCP4 %s 198.51.100.1 1234 143\r\n" % client.encode()


def binary(client: str = CLIENT, facts: bytes = b"", command: int = 0x21) -> bytes:
    ends = ip_address(client).packed + ip_address("198.51.100.1").packed + bytes(4)
    return SIGNATURE + struct.pack(">BBH", command, 0x11, len(ends + facts)) + ends + facts


UNDER_TLS = b"\x20\x00\x1e\x01\0\0\0\0" + b"\x23\x00\x16TLS_AES_256_GCM_SHA384"


async def said(running: LineServer, header: bytes, number: int = 0, **options: Any) -> tuple[Client, str]:
    """A client that sends the header, and the first line that it gets ("" where it is cut)."""
    client = await running.connect(number, **options)
    client.writer.write(header)
    with suppress(ConnectionError):
        return client, await client.line()
    return client, ""


@pytest.mark.parametrize("header", [text(), binary()])
async def test_the_client_of_a_header_is_the_client(header: bytes) -> None:
    async with line_server(PROXIED, access=TRUSTED) as running:
        client, line = await said(running, header + b"one\ntwo\n")
        assert line == "hello"
        assert [await client.line(), await client.line()] == ["echo one", "echo two"]
        (connection,) = running.shared.connections
        assert connection.peer.address == CLIENT
        assert connection.peer.server_address == "198.51.100.1"
        assert not connection.peer.local, "the client is not on this machine though the balancer is"
        assert not connection.peer.tls
        assert running.server.registry.from_address(CLIENT) == 1


async def test_a_header_in_single_bytes() -> None:
    async with line_server(PROXIED, access=TRUSTED) as running:
        client = await running.connect()
        for byte in text() + b"x\n":
            client.writer.write(bytes([byte]))
            await client.writer.drain()
            await asyncio.sleep(0)
        assert [await client.line(), await client.line()] == ["hello", "echo x"]


async def test_tls_that_ends_at_the_balancer() -> None:
    async with line_server(PROXIED, access=TRUSTED) as running:
        _, line = await said(running, binary(facts=UNDER_TLS))
        assert line == "hello"
        (connection,) = running.shared.connections
        peer = connection.peer
        assert (peer.tls, peer.proxied_tls, peer.cipherbits, peer.certificate) == (True, True, 256, None)
        assert not connection.tls_available


async def test_tls_begins_after_the_header(tmp_path: Path) -> None:
    certificate = make_certificate(tmp_path)
    tls = ServerTls(TlsOptions(certfile=str(certificate.certfile), keyfile=str(certificate.keyfile)))
    async with line_server(PROXIED_TLS, access=TRUSTED, tls=tls) as running:
        for header in (text(), binary()):
            client = await running.connect()
            client.writer.write(header)
            await client.writer.start_tls(certificate.client_context(), server_hostname="localhost")
            assert await client.line() == "hello"
            peer = running.shared.connections[-1].peer
            assert (peer.address, peer.tls, peer.proxied_tls) == (CLIENT, True, False)


async def test_the_balancer_itself_has_its_own_address() -> None:
    async with line_server(PROXIED, access=TRUSTED) as running:
        for header in (b"PROXY UNKNOWN\r\n", binary(command=0x20)):
            _, line = await said(running, header)
            assert line == "hello"
            peer = running.shared.connections[-1].peer
            assert (peer.address, peer.local) == ("127.0.0.1", True)


@pytest.mark.parametrize(
    "header", [b"hello\r\n", b"PROXY TCP4 nonsense\r\n", b"\x16\x03\x01", binary()[:-1] + b"", text()]
)
async def test_what_is_refused(
    header: bytes, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """No header, half of one, and a header from an address that is not listed."""
    monkeypatch.setattr(accepting, "HEADER_SECONDS", 0.2)
    recorder = Recorder()
    access = Live(AccessOptions(trustedproxies=("192.0.2.0/24",))) if header == text() else TRUSTED
    async with line_server(PROXIED, access=access, observer=recorder) as running:
        _, line = await said(running, header)
        assert line == ""
        assert recorder.refused == [("line", "proxy")]
        assert "PROXY header refused" in caplog.messages
        assert not running.shared.connections


async def test_a_header_on_another_port_is_nothing_special() -> None:
    async with line_server(access=TRUSTED) as running:
        client, line = await said(running, text())
        assert line == "hello"
        assert (await client.line()).startswith("echo PROXY TCP4")
        assert running.shared.connections[0].peer.address == "127.0.0.1"


async def test_who_is_believed_changes_while_it_runs() -> None:
    access = Live(AccessOptions())
    async with line_server(PROXIED, access=access) as running:
        assert (await said(running, text()))[1] == ""
        access.replace(TRUSTED.value)
        assert (await said(running, text()))[1] == "hello"


async def test_filters_and_limits_see_the_client() -> None:
    options: dict[str, Any] = {"domainnotallowed": ("ALL: 192.0.2.9",), "connlimits": ("192.0.2.0/24:1",)}
    async with line_server(PROXIED, access=TRUSTED, **options) as running:
        assert (await said(running, text("192.0.2.9")))[1] == "away filter"
        assert (await said(running, text("192.0.2.8")))[1] == "hello"
        assert (await said(running, text("192.0.2.8")))[1] == "away address"
        assert (await said(running, text("192.0.2.7")))[1] == "hello"
        assert (await said(running, text("10.0.0.1")))[1] == "hello"


async def test_balancers_that_say_nothing_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.common.streamserver.MAX_TURNED_AWAY", 2)
    async with line_server(PROXIED, access=TRUSTED, maxsessions=1) as running:
        silent = [await running.connect() for _ in range(3)]
        _, line = await said(running, text())
        assert line == "", "no room for one more that might be silent"
        await silent[0].close()
        for _ in range(200):
            _, line = await said(running, text())
            if line:
                break
        assert line == "hello"


async def test_a_client_behind_a_balancer_is_not_trusted_because_the_balancer_is() -> None:
    """And a front end behind one is trusted for its own address."""
    access = Live(AccessOptions(trustedproxies=("127.0.0.0/8", "192.0.2.5")))
    async with line_server(PROXIED, Listener("127.0.0.1"), access=access) as running:
        for number, header, trusted in (
            (0, text(), False),
            (0, b"PROXY UNKNOWN\r\n", False),
            (0, text("192.0.2.5"), True),
            (1, b"", True),
        ):
            assert (await said(running, header, number))[1] == "hello"
            assert running.shared.connections[-1].trusted is trusted, header
