"""Listening, caps and drains over real sockets."""

from __future__ import annotations

import asyncio
import os
import socket
import stat
from pathlib import Path

import pytest
from cryptography import x509

from services.common.listening import Listener
from services.common.peer import LOCAL_ADDRESS, Peer
from services.common.sharedoptions import TlsOptions
from services.common.streamserver import MAX_TURNED_AWAY
from services.common.tls import (
    CertificateError,
    CertificateUnavailable,
    ClientCertificates,
    ServerTls,
    client_context,
    write_self_signed,
)
from tests.support.authority import Authority
from tests.support.lineserver import HERE, line_server
from tests.support.recorder import Recorder

BOTH_LOOPS = True


async def test_the_process_takes_so_many_sessions_and_says_so() -> None:
    recorder = Recorder()
    async with line_server(maxsessions=2, observer=recorder) as lines:
        first, _ = await lines.greeted(), await lines.greeted()
        third = await lines.connect()
        assert await third.reader.read() == b"away process\n"
        await first.close()
        await asyncio.sleep(0.01)
        await lines.greeted()
        assert recorder.refused == [("line", "process")]
        assert (recorder.opened, recorder.closed) == (3, 1)


async def test_who_is_turned_away_and_stays_costs_little() -> None:
    async with line_server(maxsessions=1) as lines:
        await lines.greeted()
        stubborn = [await lines.connect() for _ in range(MAX_TURNED_AWAY + 20)]
        assert await stubborn[0].line() == "away process"
        assert await stubborn[-1].line() == ""
        assert len(lines.shared.connections) == len(stubborn) + 1
        assert len(lines.server) == 1


async def test_one_address_may_have_so_many() -> None:
    async with line_server(maxsessionsperaddress=1) as lines:
        await lines.greeted()
        second = await lines.connect()
        assert await second.line() == "away address"


async def test_one_user_may_have_so_many() -> None:
    async with line_server(maxsessionsperuser=1) as lines:
        first, second = await lines.greeted(), await lines.greeted()
        assert await first.ask("user anna") == "in"
        assert await second.ask("user anna") == "too many"
        assert await second.ask("user bert") == "in"
        await first.close()
        await asyncio.sleep(0.01)
        third = await lines.greeted()
        assert await third.ask("user anna") == "in"


async def test_new_limits_hold_at_once_and_drop_nobody() -> None:
    recorder = Recorder()
    async with line_server(maxsessions=5, observer=recorder) as lines:
        first, second = await lines.greeted(), await lines.greeted()
        lines.set(maxsessions=1)
        assert await (await lines.connect()).line() == "away process"
        assert [await client.ask("x") for client in (first, second)] == ["echo x", "echo x"]
        lines.set(maxsessions=9)
        await lines.greeted()
        assert recorder.limits == [5, 1, 9]


async def test_a_unix_socket_has_its_permissions_and_its_clients_are_local(tmp_path: Path) -> None:
    path = tmp_path / "run" / "line.sock"
    async with line_server(Listener(path=str(path), mode=0o660)) as lines:
        assert stat.S_IMODE(os.stat(path).st_mode) == 0o660
        client = await lines.greeted()
        assert await client.ask("x") == "echo x"
        connection = lines.shared.connections[0]
        assert (connection.address, connection.local) == (LOCAL_ADDRESS, True)
    assert not path.exists()


async def test_a_stale_unix_socket_is_replaced_and_a_live_one_is_not(tmp_path: Path) -> None:
    path = tmp_path / "line.sock"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    async with line_server(Listener(path=str(path))):
        with pytest.raises(OSError, match="in use"):
            async with line_server(Listener(path=str(path))):
                pass
        assert path.exists()


async def test_a_file_is_not_taken_for_a_stale_socket(tmp_path: Path) -> None:
    path = tmp_path / "precious"
    path.write_text("data")
    with pytest.raises(OSError, match="no socket"):
        async with line_server(Listener(path=str(path))):
            pass
    assert path.read_text() == "data"


async def test_all_listeners_open_or_none() -> None:
    async with line_server() as lines:
        taken = lines.server.addresses[0][2]
        with pytest.raises(OSError, match="in use"):
            async with line_server(HERE, Listener(host="127.0.0.1", port=taken)):
                pass
    with pytest.raises(CertificateUnavailable):
        async with line_server(Listener(host="127.0.0.1", tls=True)):
            pass


async def test_every_address_is_listened_on_with_both_protocols() -> None:
    async with line_server(Listener(host="*")) as lines:
        port = lines.server.addresses[0][2]
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        assert await reader.readline() == b"hello\n"
        assert lines.shared.connections[0].address == "127.0.0.1"
        assert lines.shared.connections[0].local
        writer.close()


async def test_a_drain_lets_commands_finish_and_says_goodbye() -> None:
    async with line_server() as lines:
        idle, busy = await lines.greeted(), await lines.greeted()
        await busy.say("wait")
        await asyncio.sleep(0.01)
        port = lines.server.addresses[0][2]
        drain = asyncio.create_task(lines.server.drain(4))
        assert await idle.line() == "bye SHUTDOWN"
        with pytest.raises(OSError, match=r"refused|failed"):
            await asyncio.open_connection("127.0.0.1", port)
        lines.shared.gate.set()
        assert await busy.reader.read() == b"waited\nbye SHUTDOWN\n"
        await idle.close()
        await busy.close()
        await asyncio.wait_for(drain, 30)


async def test_goodbyes_are_spread_over_the_window() -> None:
    async with line_server() as lines:
        clients = [await lines.greeted() for _ in range(20)]
        loop = asyncio.get_running_loop()
        start = loop.time()
        drain = asyncio.create_task(lines.server.drain(2.0))
        told: list[float] = []

        async def hear(client: asyncio.StreamReader) -> None:
            await client.readline()
            told.append(loop.time() - start)

        await asyncio.gather(*(hear(client.reader) for client in clients))
        assert len({round(moment / 0.2) for moment in told}) > 3
        await drain


async def test_a_drain_ends_in_time_whatever_runs() -> None:
    async with line_server() as lines:
        busy, stalled = await lines.greeted(), await lines.greeted(limit=1024)
        await busy.say("wait")
        await stalled.say("stream 100")
        await asyncio.sleep(0.05)
        await asyncio.wait_for(lines.server.drain(0.2), 30)
        assert len(lines.server) == 0
        assert lines.server.slots.running == 0
        assert not lines.shared.finished
        assert len(lines.shared.ended) == 2


async def test_the_peer_says_how_the_client_is_connected(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    certfile, keyfile = map(str, authority.issue("localhost"))
    options = TlsOptions(certfile=certfile, keyfile=keyfile, clientca=str(authority.cafile))
    tls = ServerTls(options, ClientCertificates.OPTIONAL)
    async with line_server(HERE, Listener(host="127.0.0.1", tls=True), tls=tls) as lines:
        await lines.greeted()
        clear = lines.shared.connections[0].peer
        assert clear == Peer("127.0.0.1", "127.0.0.1", local=True)
        mutual = client_context(str(authority.cafile), *map(str, authority.issue("anna")))
        await lines.greeted(1, ssl=mutual, server_hostname="localhost")
        peer = lines.shared.connections[1].peer
        assert (peer.tls, peer.local, peer.proxied_tls) == (True, True, False)
        assert peer.cipherbits in (128, 256)
        assert peer.certificate is not None
        assert x509.load_der_x509_certificate(peer.certificate).subject.rfc4514_string() == "CN=anna"
        trusting = client_context(str(authority.cafile))
        await lines.greeted(1, ssl=trusting, server_hostname="localhost")
        assert lines.shared.connections[2].peer.certificate is None


async def test_a_new_certificate_is_for_new_clients_and_drops_nobody(tmp_path: Path) -> None:
    old = TlsOptions(certfile=str(tmp_path / "cert.pem"), keyfile=str(tmp_path / "key.pem"))
    write_self_signed(old.certfile, old.keyfile)
    trust_old = client_context(old.certfile)
    tls = ServerTls(old)
    async with line_server(Listener(host="127.0.0.1", tls=True), tls=tls) as lines:
        first = await lines.greeted(ssl=trust_old, server_hostname="localhost")
        write_self_signed(old.certfile, old.keyfile)
        tls.load(old)
        trust_new = client_context(old.certfile)
        await lines.greeted(ssl=trust_new, server_hostname="localhost")
        with pytest.raises(OSError, match="certificate"):
            await lines.connect(ssl=trust_old, server_hostname="localhost")
        assert await first.ask("x") == "echo x"


async def test_a_bad_certificate_leaves_the_old_one(tmp_path: Path) -> None:
    options = TlsOptions(certfile=str(tmp_path / "cert.pem"), keyfile=str(tmp_path / "key.pem"))
    write_self_signed(options.certfile, options.keyfile)
    assert stat.S_IMODE(os.stat(options.keyfile).st_mode) == 0o600
    tls = ServerTls(options)
    context = tls.context
    Path(options.keyfile).write_text("no key")
    with pytest.raises(CertificateError, match=r"key\.pem"):
        tls.load(options)
    assert tls.context is context


async def test_filters_are_taken_up_for_clients_that_come_later() -> None:
    async with line_server() as lines:
        first = await lines.greeted()
        lines.set(domainnotallowed=("ALL: ALL",))
        second = await lines.connect()
        assert await second.line() == "away filter"
        assert await first.ask("user anna") == "in"


async def test_the_limit_of_an_address_is_its_realms() -> None:
    realms = ("10.0.0.0|255.0.0.0:9", "127.0.0.0|255.0.0.0:1", "0.0.0.0|0.0.0.0:50")
    async with line_server(maxsessionsperaddress=20, connlimits=realms) as lines:
        await lines.greeted()
        second = await lines.connect()
        assert await second.line() == "away address"
        lines.set(connlimits=())
        await lines.greeted()
