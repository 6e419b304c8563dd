"""The connection under every protocol: order, bounds, clocks, TLS and endings, over real sockets."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable

import pytest

from services.common.listening import Listener
from services.common.sharedoptions import TlsOptions
from services.common.streamserver import MAX_TURNED_AWAY
from services.common.tls import ServerTls, client_context, write_self_signed
from tests.support.lineserver import HERE, LineServer, line_server

BOTH_LOOPS = True


@pytest.fixture
async def lines() -> AsyncIterator[LineServer]:
    async with line_server() as running:
        yield running


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> TlsOptions:
    folder = tmp_path_factory.mktemp("tls")
    options = TlsOptions(certfile=str(folder / "cert.pem"), keyfile=str(folder / "key.pem"))
    write_self_signed(options.certfile, options.keyfile)
    return options


def trusting(options: TlsOptions) -> ssl.SSLContext:
    return client_context(options.certfile)


async def test_commands_are_answered_in_order_however_they_arrive(lines: LineServer) -> None:
    client = await lines.greeted()
    client.writer.write(b"a\nb\nwait\nc\n")
    assert [await client.line(), await client.line()] == ["echo a", "echo b"]
    client.writer.write(b"d\ne")
    await asyncio.sleep(0.01)
    lines.shared.gate.set()
    assert [await client.line() for _ in range(3)] == ["waited", "echo c", "echo d"]
    client.writer.write(b"f\n")
    assert await client.line() == "echo ef"


async def test_many_pipelined_commands_leave_others_their_turn(lines: LineServer) -> None:
    greedy, other = await lines.greeted(), await lines.greeted()
    count = 20_000
    greedy.writer.write(b"x\n" * count)
    assert await other.ask("y") == "echo y"
    for _ in range(count):
        assert await greedy.line() == "echo x"


async def test_a_failure_is_answered_and_the_session_goes_on(lines: LineServer) -> None:
    client = await lines.greeted()
    assert await client.ask("fail") == "failed"
    assert await client.ask("big nonsense") == "failed"
    assert await client.ask("z") == "echo z"


async def test_a_client_that_closes_its_side_still_gets_its_answers(lines: LineServer) -> None:
    client = await lines.greeted()
    client.writer.write(b"a\nwait\nb\n")
    client.writer.write_eof()
    assert await client.line() == "echo a"
    lines.shared.gate.set()
    assert await client.reader.read() == b"waited\necho b\n"
    await asyncio.sleep(0.01)
    assert len(lines.shared.ended) == 1


async def test_quit_closes_after_the_answer_and_drops_the_rest(lines: LineServer) -> None:
    client = await lines.greeted()
    client.writer.write(b"quit\nmore\n")
    assert await client.reader.read() == b"bye\n"
    assert len(lines.server.registry) == 0


async def test_a_running_command_outlives_its_client(lines: LineServer) -> None:
    client = await lines.greeted()
    await client.say("wait")
    await asyncio.sleep(0.01)
    client.writer.transport.abort()
    await asyncio.sleep(0.02)
    assert not lines.shared.ended
    lines.shared.gate.set()
    await asyncio.sleep(0.01)
    assert len(lines.shared.finished) == len(lines.shared.ended) == 1


async def test_waiting_commands_hold_no_slot() -> None:
    async with line_server(maxthreads=1) as lines:
        idle, busy, third = await lines.greeted(), await lines.greeted(), await lines.greeted()
        await idle.say("idle")
        await busy.say("wait")
        await third.say("wait")
        await asyncio.sleep(0.02)
        assert (lines.server.slots.running, lines.server.slots.waiting) == (1, 1)
        assert await (await lines.greeted()).ask("fast") == "echo fast"
        lines.shared.gate.set()
        assert [await idle.line(), await busy.line(), await third.line()] == ["idled", "waited", "waited"]
        assert (lines.server.slots.running, lines.server.slots.waiting) == (0, 0)


async def until(condition: Callable[[], object]) -> None:
    """Wait for it."""
    for _ in range(30_000):
        if condition():
            return
        await asyncio.sleep(0.001)
    raise AssertionError


async def futures(lines: LineServer, count: int) -> list[asyncio.Future[str]]:
    """What the answers of `later` hang on, as soon as there are so many."""
    await until(lambda: len(lines.shared.futures) >= count)
    return lines.shared.futures


async def test_an_answer_that_hangs_on_a_future_keeps_its_place(lines: LineServer) -> None:
    client = await lines.greeted()
    client.writer.write(b"a\nlater\nb\nlater slow\nc\n")
    assert await client.line() == "echo a"
    (first,) = await futures(lines, 1)
    assert (lines.server.slots.running, lines.shared.connections[0]._task) == (1, first)
    first.set_result("one")
    assert [await client.line(), await client.line()] == ["later one", "echo b"]
    (await futures(lines, 2))[1].set_result("two")
    assert [await client.line(), await client.line()] == ["slowly two", "echo c"]
    assert lines.server.slots.running == 0


async def test_a_future_that_fails_is_answered(lines: LineServer) -> None:
    client = await lines.greeted()
    await client.say("later")
    (await futures(lines, 1))[0].set_exception(ValueError())
    assert await client.line() == "failed"
    assert await client.ask("z") == "echo z"
    assert lines.server.slots.running == 0


async def test_an_answer_that_hangs_on_a_future_waits_for_a_slot() -> None:
    async with line_server(maxthreads=1) as lines:
        busy, second = await lines.greeted(), await lines.greeted()
        await busy.say("wait")
        await until(lambda: lines.server.slots.running)
        await second.say("later")
        (await futures(lines, 1))[0].set_result("one")
        assert await (await lines.greeted()).ask("fast") == "echo fast"
        assert len(lines.shared.finished) == 0
        lines.shared.gate.set()
        assert [await busy.line(), await second.line()] == ["waited", "later one"]
        assert (lines.server.slots.running, lines.server.slots.waiting) == (0, 0)


async def test_a_future_outlives_its_client_and_not_the_server(lines: LineServer) -> None:
    gone, stays = await lines.greeted(), await lines.greeted()
    await gone.say("later")
    first = (await futures(lines, 1))[0]
    gone.writer.transport.abort()
    assert not lines.shared.ended
    first.set_result("one")
    await until(lambda: lines.shared.ended)
    assert len(lines.shared.finished) == 1
    await stays.say("later")
    second = (await futures(lines, 2))[1]
    await asyncio.wait_for(lines.server.drain(0.2), 30)
    assert second.cancelled()
    assert (len(lines.shared.ended), lines.server.slots.running) == (2, 0)


async def test_a_slow_reader_costs_bounded_memory_and_nobody_waits_for_it(lines: LineServer) -> None:
    slow = await lines.greeted(limit=1024)
    await slow.say("stream 100")
    slow.writer.write(b"more\n" * 1000)
    await asyncio.sleep(0.2)
    connection = lines.shared.connections[0]
    assert connection.sent < 16 * 1024 * 1024
    assert connection._transport.get_write_buffer_size() < 1024 * 1024
    assert lines.server.slots.running == 0
    assert await (await lines.greeted()).ask("quick") == "echo quick"


async def test_who_never_reads_is_cut_by_the_write_clock() -> None:
    async with line_server(writetimeout=0) as lines:
        slow = await lines.greeted(limit=1024)
        await slow.say("stream 100")
        await asyncio.sleep(0.3)
        assert len(lines.shared.ended) == 1
        assert len(lines.server.registry) == 0


async def test_who_reads_slowly_is_not_cut(lines: LineServer) -> None:
    slow = await lines.greeted(limit=1024)
    await slow.say("stream 100")
    await asyncio.sleep(0.1)
    connection = lines.shared.connections[0]
    for _ in range(3):
        ran_out = connection._unread_deadline
        await slow.reader.readexactly(4 * 1024 * 1024)
        await asyncio.sleep(0.1)
        assert connection.look(ran_out) is not None
    # The last bytes may have gone since the clock was started: the second look finds nothing new for certain.
    if connection.look(connection._unread_deadline) is not None:
        assert connection.look(connection._unread_deadline) is None
    await asyncio.sleep(0.02)
    assert len(lines.shared.ended) == 1


async def test_the_login_clock_is_not_put_forward_by_commands() -> None:
    async with line_server(logintimeout=0) as lines:
        client = await lines.greeted()
        assert await client.ask("a") == "echo a"
        assert await client.line() == "bye LOGIN"
        assert await client.line() == ""


async def test_the_idle_clock_is_put_forward_by_what_is_understood() -> None:
    async with line_server(tick=0.01) as lines:
        client = await lines.greeted()
        assert await client.ask("user a") == "in"
        lines.server.patience[1] = 0.2
        assert await client.ask("x") == "echo x"
        connection = lines.shared.connections[0]
        before = connection._deadline
        await asyncio.sleep(0.03)
        assert await client.ask("bad") == "what"
        assert connection._deadline == before
        assert await client.ask("x") == "echo x"
        assert connection._deadline > before


async def test_the_idle_clock_spares_running_commands() -> None:
    async with line_server(idletimeout=0) as lines:
        client = await lines.greeted()
        await client.say("user a\nwait")
        assert await client.line() == "in"
        await asyncio.sleep(0.1)
        lines.shared.gate.set()
        assert await client.line() == "waited"
        assert await client.line() == "bye IDLE"


async def test_the_data_clock_runs_while_nothing_arrives() -> None:
    async with line_server(literaltimeout=0) as lines:
        client = await lines.greeted()
        assert await client.ask("data") == "send"
        assert await client.line() == "bye DATA"


async def test_a_kick_waits_for_the_running_command(lines: LineServer) -> None:
    client = await lines.greeted()
    await client.say("wait")
    await asyncio.sleep(0.01)
    session = lines.server.registry.snapshot()[0]
    assert lines.server.registry.kick(session.session_id)
    await asyncio.sleep(0.05)
    lines.shared.gate.set()
    assert await client.reader.read() == b"waited\nbye KICKED\n"
    await client.close()
    await asyncio.sleep(0.01)
    assert not lines.server.registry.kick(session.session_id)


@pytest.mark.rfc("2595", "2.4")
async def test_starttls_forgets_what_was_sent_before_it(certificate: TlsOptions) -> None:
    async with line_server(tls=ServerTls(certificate)) as lines:
        client = await lines.greeted()
        client.writer.write(b"starttls\ninjected\nuser evil\n")
        assert await client.line() == "go"
        await client.writer.start_tls(trusting(certificate), server_hostname="localhost")
        assert await client.ask("after") == "echo after"
        connection = lines.shared.connections[0]
        assert (connection.tls, connection.user, lines.shared.secured) == (True, "", 1)
        assert not connection.tls_available
        await client.say("quit")
        assert await client.line() == "bye"
        assert await client.line() == ""


async def test_plain_text_after_starttls_is_no_command(certificate: TlsOptions) -> None:
    async with line_server(tls=ServerTls(certificate)) as lines:
        client = await lines.greeted()
        assert await client.ask("starttls") == "go"
        await client.say("user evil")
        assert b"in" not in await client.reader.read()
        assert lines.shared.connections[0].user == ""
        await asyncio.sleep(0.01)
        assert len(lines.server) == 0
        assert len(lines.shared.ended) == 1


async def test_tls_from_the_first_byte(certificate: TlsOptions) -> None:
    listener = Listener(host="127.0.0.1", tls=True)
    async with line_server(HERE, listener, tls=ServerTls(certificate)) as lines:
        clients = [await lines.greeted(1, ssl=trusting(certificate), server_hostname="localhost") for _ in range(5)]
        for client in clients:
            assert await client.ask("secret") == "echo secret"
        assert all(connection.tls for connection in lines.shared.connections)


async def test_clients_that_never_shake_hands_are_counted(certificate: TlsOptions) -> None:
    listener = Listener(host="127.0.0.1", tls=True)
    async with line_server(listener, tls=ServerTls(certificate), maxsessions=1) as lines:
        silent = [await lines.connect() for _ in range(MAX_TURNED_AWAY + 1)]
        await asyncio.sleep(0.01)
        late = await lines.connect()
        assert await late.line() == ""
        await silent[0].close()
        await asyncio.sleep(0.01)
        assert len(lines.server) == 0
        await lines.greeted(ssl=trusting(certificate), server_hostname="localhost")


async def test_garbage_instead_of_a_handshake(certificate: TlsOptions) -> None:
    listener = Listener(host="127.0.0.1", tls=True)
    async with line_server(listener, tls=ServerTls(certificate)) as lines:
        client = await lines.connect()
        await client.say("GET / HTTP/1.0")
        assert b"hello" not in await client.reader.read()
        await asyncio.sleep(0.01)
        assert len(lines.server) == 0
