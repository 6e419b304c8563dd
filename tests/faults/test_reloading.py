"""SIGHUP and changed files: taken up in place by every service, refused whole, and told."""

from __future__ import annotations

import asyncio
import hashlib
import os
import signal
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from services.common.tls import write_self_signed
from tests.support.peers import imap, lmtp, peer, pop
from tests.support.processes import ALL, Processes, eventually, processes

pytestmark = [pytest.mark.faults, pytest.mark.timeout(240)]
FRONT_ENDS = ("imap", "pop", "lmtp")
RELOADED = 'mailkeep_config_reloads_total{result="%s"}'


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("reload")
    write_self_signed(folder / "cert.pem", folder / "key.pem")
    configure(folder)
    return folder


@pytest.fixture(scope="module")
def running(data: Path) -> Iterator[Processes]:
    with processes(data) as made:
        yield made


@pytest.fixture(autouse=True)
def as_before(running: Processes, data: Path) -> Iterator[None]:
    yield
    before = {name: running.metric(name, RELOADED % "ok") for name in ALL}
    configure(data, log={"level": "info"})
    for name in ALL:
        running.send(name, signal.SIGHUP)
        eventually(lambda name=name: running.metric(name, RELOADED % "ok") > before[name])  # type: ignore[misc]


def configure(folder: Path, **groups: Any) -> None:
    """Replace the configuration file, as an editor or a ConfigMap does."""
    new = folder / "new.yaml"
    new.write_text(yaml.safe_dump({"tls": {"certfile": "cert.pem", "keyfile": "key.pem"}, **groups}))
    os.replace(new, folder / "mailkeep.yaml")


async def until(check: Any) -> None:
    await asyncio.to_thread(eventually, check)


def last(running: Processes, name: str, event: str) -> dict[str, Any]:
    """The newest log line of that kind; {} without one."""
    found = [line for line in running.events(name) if line["event"] == event]
    return found[-1] if found else {}


async def test_a_changed_file_is_taken_up_and_nobody_is_dropped(running: Processes, data: Path) -> None:
    ports = running.services
    async with imap(ports.imap) as mail, pop(ports.pop) as drop, lmtp(ports.lmtp) as agent:
        before = {name: running.metric(name, RELOADED % "ok") for name in ALL}
        configure(
            data,
            imap={"banner": "New words", "maxsessions": 2},
            pop={"banner": "New words", "maxsessions": 2},
            lmtp={"maxsessions": 2},
            log={"level": "debug"},
        )
        for name in ALL:
            await until(lambda name=name: running.metric(name, RELOADED % "ok") > before[name])
        for name in FRONT_ENDS:
            assert running.metric(name, f'mailkeep_sessions_limit{{service="{name}"}}') == 2
            assert f"{name}.maxsessions" in last(running, name, "configuration read")["changed"]
        assert "log.level" in last(running, "store", "configuration read")["changed"]
        async with peer(ports.imap) as second, peer(ports.imap) as third:
            assert (await second.line()).endswith(b"New words\r\n")
            assert (await third.line()).startswith(b"* BYE [LIMIT]")
        async with peer(ports.pop) as second:
            assert await second.line() == b"+OK New words\r\n"
        await mail.done(b"STATUS INBOX (MESSAGES)")
        assert (await drop.reply(b"STAT")).startswith(b"+OK")
        assert (await agent.reply(b"NOOP")).startswith(b"250")


@pytest.mark.parametrize(
    "groups",
    [{"log": {"level": "error"}}, {"logfile.imap.loglevel": "Critical"}],
    ids=["of all", "of one service"],
)
async def test_the_log_level_changes_what_is_written(running: Processes, data: Path, groups: dict[str, Any]) -> None:
    before = running.metric("imap", RELOADED % "ok")
    configure(data, **groups)
    running.send("imap", signal.SIGHUP)
    await until(lambda: running.metric("imap", RELOADED % "ok") > before)
    await until(lambda: running.metric("imap", "mailkeep_config_last_reload_successful") == 1)
    # What was under way when the level changed may still be written.
    for _ in range(20):
        written = len(running.events("imap"))
        async with imap(running.services.imap):
            pass
        if len(running.events("imap")) == written:
            break
    else:
        raise AssertionError(running.events("imap")[written:])
    if "log" not in groups:
        told = len(running.events("pop"))
        async with pop(running.services.pop):
            pass
        await until(lambda: len(running.events("pop")) > told)


def fingerprint(der: bytes | None) -> str:
    assert der is not None
    return hashlib.sha256(der).hexdigest()


async def served(port: int, *, starttls: bool) -> str:
    """Which certificate a new client gets."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if not starttls:
        async with peer(port, tls=context) as client:
            await client.line()
            return fingerprint(client.writer.get_extra_info("ssl_object").getpeercert(binary_form=True))
    async with peer(port) as client:
        await client.line()
        await client.ask(b"STARTTLS")
        await client.writer.start_tls(context)
        await client.done(b"NOOP")
        return fingerprint(client.writer.get_extra_info("ssl_object").getpeercert(binary_form=True))


async def test_a_new_certificate_is_for_new_clients(running: Processes, data: Path) -> None:
    ports = running.services
    places = ((ports.imaps, False), (ports.pops, False), (ports.imap, True))
    old = {await served(port, starttls=starttls) for port, starttls in places}
    assert len(old) == 1
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    async with peer(ports.imaps, tls=context) as client:
        await client.line()
        before = {name: running.metric(name, RELOADED % "ok") for name in ("imap", "pop")}
        write_self_signed(data / "cert.new", data / "key.new")
        os.replace(data / "key.new", data / "key.pem")
        os.replace(data / "cert.new", data / "cert.pem")
        for name in ("imap", "pop"):
            await until(lambda name=name: running.metric(name, RELOADED % "ok") > before[name])
        new = {await served(port, starttls=starttls) for port, starttls in places}
        assert len(new) == 1
        assert not old & new
        await client.done(b"NOOP")


@pytest.mark.parametrize("name", ALL)
async def test_a_bad_file_changes_nothing_and_is_told(running: Processes, data: Path, name: str) -> None:
    before = running.metric(name, RELOADED % "failed")
    (data / "mailkeep.yaml").write_text("imap: {maxsessions: 7, idletimeout: 1}\npop: {port: x}\nlog: {level: debug}")
    running.send(name, signal.SIGHUP)
    await until(lambda: running.metric(name, RELOADED % "failed") > before)
    assert running.metric(name, "mailkeep_config_last_reload_successful") == 0
    told = [line["problem"] for line in running.events(name) if "problem" in line]
    assert {text.split(":")[0] for text in told} >= {"imap.idletimeout", "pop.port"}
    if name == "imap":
        assert running.metric(name, 'mailkeep_sessions_limit{service="imap"}') == 4000
    assert running.page(name, "/readyz")[0] == 200


async def test_what_cannot_be_taken_up_is_named(running: Processes, data: Path) -> None:
    configure(data, store={"path": "elsewhere"}, imap={"literal": "LITERAL-"})
    for name in ALL:
        running.send(name, signal.SIGHUP)
        await until(lambda name=name: last(running, name, "some options wait for a restart"))
        waiting = last(running, name, "some options wait for a restart")["options"]
        assert {"store.path", "imap.literal"} <= set(waiting.split(", "))
    async with peer(running.services.imap) as client:
        assert b"LITERAL+" in await client.line()
