"""`mailkeep start`, `stop`, `restart`, `refresh`: enabled is one thing, running another; what others run stays."""

from __future__ import annotations

import imaplib
import json
import os
import poplib
import re
import signal
import socket
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from services.cli.controlsocket import MAX_REQUEST, Request, Verb, parse
from services.common.crosschecks import SERVICES
from tests.support.processes import eventually
from tests.support.running import PASSWORD, USER, RunningServices, free_ports, running

running_services = pytest.mark.running


@pytest.fixture(scope="module")
def services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServices]:
    """Store, POP and IMAP; LMTP is disabled in the configuration file."""
    data = tmp_path_factory.mktemp("control") / "data"
    made = RunningServices(data)
    data.mkdir()
    (data / "mailkeep.yaml").write_text("# ours\nlmtp: {enable: no}\n")
    made.disabled = {"lmtp"}
    made.command("account", "add", USER, "--password-stdin", given=PASSWORD + "\n")
    made.start()
    made.wait_for_log("Mailkeep is running")
    yield made
    made.stop()


def outcome(services: RunningServices, *words: str) -> dict[str, object]:
    """What the one service's line says."""
    (only,) = services.json(*words)
    assert isinstance(only, dict)
    return only


def state(services: RunningServices, service: str) -> str:
    told = json.loads(services.command("status", "--json", check=False).stdout)
    (found,) = {row["state"] for row in told["processes"] if row["service"] == service}
    return str(found)


def log_in(services: RunningServices) -> imaplib.IMAP4:
    client = imaplib.IMAP4("127.0.0.1", services.imap, timeout=60)
    client.login(USER, PASSWORD)
    return client


@running_services
def test_a_stopped_service_leaves_the_others_alone_and_comes_back(services: RunningServices) -> None:
    client = log_in(services)
    assert outcome(services, "stop", "pop") == {"service": "pop", "outcome": "stopped", "processes": 0, "waiting": []}
    assert state(services, "pop") == "stopped"
    assert services.refused("status")[0] == 69
    with pytest.raises(ConnectionRefusedError):
        poplib.POP3("127.0.0.1", services.pop, timeout=90)
    assert client.noop()[0] == "OK"
    assert services.command("stop", "pop").stdout == "pop: does not run\n"
    assert services.command("start", "pop").stdout == "pop: started, 1 process\n"
    assert outcome(services, "start", "pop")["outcome"] == "runs already"
    poplib.POP3("127.0.0.1", services.pop, timeout=90).quit()
    assert state(services, "pop") == "ready"
    assert client.noop()[0] == "OK"
    client.logout()


@running_services
def test_a_disabled_service_does_not_run_until_it_is_enabled(services: RunningServices) -> None:
    assert state(services, "lmtp") == "disabled"
    code, told = services.refused("start", "lmtp")
    assert (code, "configutil -o lmtp.enable -v yes" in told) == (1, True)
    done = services.command("configutil", "-o", "lmtp.enable", "-v", "yes")
    assert "needs a restart of lmtp (mailkeep restart): lmtp.enable" in done.stdout
    assert outcome(services, "restart", "lmtp")["outcome"] == "restarted"
    socket.create_connection(("127.0.0.1", services.lmtp), 90).close()
    services.command("configutil", "-o", "lmtp.enable", "-v", "no")
    assert outcome(services, "refresh", "lmtp")["waiting"] == ["lmtp.enable"]
    assert outcome(services, "restart", "lmtp")["outcome"] == "stopped: it is disabled"
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", services.lmtp), 90)


@running_services
def test_the_setting_outlives_a_restart_of_everything_and_a_stop_does_not(services: RunningServices) -> None:
    services.command("stop", "imap")
    services.command("configutil", "-o", "service.pop.enable", "-v", "no")
    assert services.stop() == 0
    services.disabled = {"lmtp", "pop"}
    services.start()
    assert {name: state(services, name) for name in ("imap", "pop", "lmtp")} == {
        "imap": "ready", "pop": "disabled", "lmtp": "disabled",
    }  # fmt: skip
    services.command("configutil", "-o", "service.pop.enable", "-d")
    eventually((services.data / "run" / "control.sock").exists)
    services.command("start", "pop")
    services.disabled = {"lmtp"}
    poplib.POP3("127.0.0.1", services.pop, timeout=90).quit()


@running_services
def test_a_restart_takes_up_what_waits_and_is_refused_where_it_could_not_start(services: RunningServices) -> None:
    file = services.data / "mailkeep.yaml"
    before = file.read_text()
    services.command("configutil", "-o", "imap.literal", "-v", "LITERAL-")
    assert outcome(services, "refresh", "imap")["waiting"] == ["imap.literal"]
    client = log_in(services)
    assert "LITERAL+" in client.capabilities
    services.command("restart", "imap")
    client.shutdown()
    client = log_in(services)
    assert "LITERAL-" in client.capabilities
    client.logout()
    file.write_text("imap: {idletimeout: 1}\n")
    for verb in ("restart", "refresh"):
        code, told = services.refused(verb, "imap")
        assert (code, "imap.idletimeout" in told) == (78, True)
    file.write_text(before)
    assert log_in(services).logout()[0] == "BYE"


@running_services
def test_a_port_in_use_keeps_a_service_running(services: RunningServices, tmp_path: Path) -> None:
    low = RunningServices(tmp_path / "data", MAILKEEP_LMTP_ENABLE="no", MAILKEEP_POP_ENABLE="no")
    del low.environ["MAILKEEP_IMAP_PORT"]
    low.data.mkdir()
    (low.data / "mailkeep.yaml").write_text(f"imap.port: {low.imap}\n")
    try:
        low.start()
        low.wait_for_log("Mailkeep is running")
        low.command("configutil", "-o", "imap.port", "-v", str(services.imap))
        code, told = low.refused("restart", "imap")
        assert (code, f"imap.port: '127.0.0.1:{services.imap}' is in use by another program" in told) == (78, True)
        imaplib.IMAP4("127.0.0.1", low.imap, timeout=60).logout()
        (free,) = free_ports(1)
        low.command("configutil", "-o", "imap.port", "-v", str(free))
        low.command("restart", "imap")
        imaplib.IMAP4("127.0.0.1", free, timeout=60).logout()
    finally:
        low.stop()


@running_services
def test_the_store_restarts_under_clients(services: RunningServices) -> None:
    client = log_in(services)
    assert outcome(services, "restart", "store")["outcome"] == "restarted"
    assert client.select("INBOX")[0] == "OK"
    client.logout()
    told = services.command("restart", "imap", "store").stdout
    assert told == "store: restarted, 1 process\nimap: restarted, 1 process\n"


@running_services
def test_refresh_reloads_everything_that_runs(services: RunningServices) -> None:
    reads = {name: services.log.read_text().count(f'event="configuration read" service={name}') for name in SERVICES}
    told = {each["service"]: each["outcome"] for each in services.json("refresh")}
    assert told == {"store": "refreshed", "pop": "refreshed", "imap": "refreshed", "http": "refreshed"}
    for name in told:
        services.wait_for_log(f'event="configuration read" service={name}', reads[name] + 1)


@running_services
def test_without_a_supervisor_it_says_so(tmp_path: Path) -> None:
    idle = RunningServices(tmp_path / "data")
    for words in (("start", "pop"), ("stop", "pop"), ("restart", "pop"), ("refresh",)):
        code, told = idle.refused(*words)
        assert (code, "mailkeep run starts everything" in told) == (69, True)
    assert idle.refused("start", "fax")[0] == 2
    assert idle.refused("stop")[0] == 2


# ---- the socket itself ----------------------------------------------------------------------------------------------
HOSTILE = (
    b"\n", b"[]\n", b"{}\n", b"\xff\xfe\n", b"x" * (MAX_REQUEST * 4), b"[" * 4000 + b"\n",
    b'{"verb": "stop", "services": ["fax"]}\n', b'{"verb": "stop", "services": [{}]}\n',
    b'{"verb": 1, "services": []}\n',
    b'{"verb": "stop", "services": "pop"}\n', b'{"verb": "run", "services": ["pop"]}\n',
)  # fmt: skip


@running_services
def test_the_socket_is_its_owners_and_bears_anything(services: RunningServices) -> None:
    path = services.data / "run" / "control.sock"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    silent = [connect(path) for _ in range(30)]
    for each in silent:
        each.close()
    for sent in HOSTILE:
        with connect(path) as client:
            with suppress(BrokenPipeError):
                client.sendall(sent)
            with suppress(ConnectionResetError), client.makefile("rb") as reader:  # not all of it was read
                assert "error" in json.loads(reader.readline()), sent
    assert outcome(services, "refresh", "pop")["outcome"] == "refreshed"


def connect(path: Path) -> socket.socket:
    client = socket.socket(socket.AF_UNIX)
    client.settimeout(60)
    client.connect(os.fspath(path))
    return client


@given(st.binary(max_size=200))
@example(b'{"verb": "stop", "services": ["pop", "pop"], "more": 1}')
@example(b'{"verb": null, "services": null}')
@example(b"9" * 5000)
def test_any_bytes_are_a_request_or_refused(line: bytes) -> None:
    with suppress(ValueError):
        assert parse(line).verb in Verb


@given(st.sampled_from(Verb), st.lists(st.sampled_from(SERVICES), unique=True))
def test_a_request_is_read_as_it_was_written(verb: Verb, services: list[str]) -> None:
    ordered = tuple(name for name in SERVICES if name in services)
    assert parse(Request(verb, ordered).encode()) == Request(verb, ordered)


@running_services
def test_a_data_folder_may_lie_deep(tmp_path: Path) -> None:
    """A socket's address has room for 107 bytes, and this one's is by its folder's descriptor."""
    with TemporaryDirectory() as short:
        deep = tmp_path / ("d" * 120) / "data"
        sockets = {"MAILKEEP_STORE_SOCKET": f"{short}/store.sock"}
        off = {f"MAILKEEP_{name}_ENABLE": "no" for name in ("LMTP", "POP", "IMAP", "HTTP")}
        made = RunningServices(deep, **sockets, **off)
        try:
            made.start()
            made.wait_for_log("Mailkeep is running")
            assert made.command("refresh").stdout == "store: refreshed, 1 process\n"
        finally:
            made.stop()


# ---- several processes ----------------------------------------------------------------------------------------------
@running_services
def test_a_worker_that_dies_costs_its_own_sessions_and_comes_back_ever_later(tmp_path: Path) -> None:
    first = _three_ports()
    overrides = {"MAILKEEP_IMAP_NUMPROCESSES": "2", "MAILKEEP_IMAP_ADMINPORT": str(first)}
    with running(
        tmp_path / "data", MAILKEEP_LMTP_ENABLE="no", MAILKEEP_POP_ENABLE="no", **overrides
    ) as services:  # fmt: skip
        services.wait_for_log("Mailkeep is running")
        clients = [log_in(services) for _ in range(16)]
        eventually(lambda: len(services.json("who")) == len(clients))
        processes = {row["process"] for row in services.json("who")}
        assert len(processes) == 2, "sixteen connections and none for one of two processes"
        doomed = int(re.search(r":(\d+)", sorted(processes)[0])[1])  # type: ignore[index]
        held = [row for row in services.json("who") if f":{doomed}" in row["process"]]
        os.kill(doomed, signal.SIGKILL)
        alive = sum(_answers(client) for client in clients)
        assert alive == len(clients) - len(held)
        services.wait_for_log('event="ended; starting it again" service=supervisor process=imap/')
        starts = len(started(services))
        eventually(lambda: len(started(services)) > 2)
        os.kill(started(services)[-1], signal.SIGKILL)
        services.wait_for_log('event="ended; starting it again"', 2)
        pauses = re.findall(r"process=(imap/\d) ended=SIGKILL pause=(\S+)", services.log.read_text())
        assert len({name for name, _ in pauses}) == 1
        assert [float(pause) for _, pause in pauses] == [0.5, 1.0]
        eventually(lambda: len(started(services)) > starts)
        assert sum(_answers(client) for client in clients) == alive
        log_in(services).logout()
        for client in clients:
            client.shutdown()


def started(services: RunningServices) -> list[int]:
    return [int(pid) for pid in re.findall(r"event=started service=imap .*pid=(\d+)", services.log.read_text())]


def _answers(client: imaplib.IMAP4) -> bool:
    try:
        return client.noop()[0] == "OK"
    except (imaplib.IMAP4.abort, OSError):
        return False


def _three_ports() -> int:
    """A port that is free together with the next."""
    for port in free_ports(50):
        with socket.socket() as other:
            try:
                other.bind(("127.0.0.1", port + 1))
            except OSError:
                continue
            return port
    raise AssertionError
