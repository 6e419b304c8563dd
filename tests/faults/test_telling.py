"""What the services tell of a day's work: metrics that parse and hold what they should, logs that hold no secret."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Iterator

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.support.peers import deliver, imap, lmtp, peer, pop
from tests.support.processes import ALL, CONTENT, SECRETS, Processes, eventually, processes
from tests.support.running import PASSWORD, USER
from tests.support.traffic import http_session, refused_login

pytestmark = [pytest.mark.faults, pytest.mark.timeout(240)]
MESSAGE = b"Subject: %b\r\nFrom: a@example.org\r\n\r\n%b" % (CONTENT, CONTENT)
COMMANDS = {
    "imap": {("LOGIN", "ok"), ("LOGIN", "no"), ("AUTHENTICATE", "ok"), ("FETCH", "ok"), ("STATUS", "no")},
    "pop": {("PASS", "ok"), ("PASS", "no"), ("RETR", "ok"), ("QUIT", "ok")},
    "lmtp": {("LHLO", "ok"), ("MAIL", "ok"), ("RCPT", "ok"), ("RCPT", "no"), ("DATA", "ok")},
    "http": {("login", "ok"), ("login", "no"), ("home", "ok")},
    "store": set(),
}  # fmt: skip
Samples = dict[str, dict[frozenset[tuple[str, str]], float]]


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Processes]:
    with processes(tmp_path_factory.mktemp("telling"), LOG_LEVEL="debug", DIRECTORY_FAILDELAY="0") as made:
        asyncio.run(work(made))
        yield made


async def work(running: Processes) -> None:
    """A bit of everything, wrong passwords and broken commands among it."""
    ports = running.services
    async with lmtp(ports.lmtp) as agent:
        assert (await deliver(agent, MESSAGE)).startswith(b"250")
        await agent.reply(b"MAIL FROM:<a@example.org>")
        assert (await agent.reply(b"RCPT TO:<nobody@example.com>")).startswith(b"550")
    async with imap(ports.imap) as mail:
        await mail.done(b"FETCH 1 (ENVELOPE BODY.PEEK[])")
        await mail.done(b"FETCH 1 BODY.PEEK[]")
        await mail.done(b"SEARCH BODY " + CONTENT)
        await mail.ask(b"STATUS missing (MESSAGES)")
        await mail.ask(b"RUBBISH " + CONTENT)
        await mail.send(b"a IDLE\r\nDONE\r\n")
        await mail.response()
    async with peer(ports.imap) as mail:
        await mail.line()
        await mail.ask(b"LOGIN %b wrong-%b" % (USER.encode(), CONTENT))
        await mail.ask(b"LOGIN %b-as-name %b" % (PASSWORD.encode().replace(b" ", b"."), CONTENT))
        await mail.ask(f'LOGIN "{USER}" "{PASSWORD}" surplus'.encode())
        await mail.done(b"AUTHENTICATE PLAIN " + base64.b64encode(f"\0{USER}\0{PASSWORD}".encode()))
    async with pop(ports.pop) as drop:
        assert (await drop.reply(b"RETR 1")).startswith(b"+OK")
        while await drop.line() != b".\r\n":
            pass
        assert (await drop.reply(b"QUIT")).startswith(b"+OK")
    async with peer(ports.pop) as drop:
        await drop.reply()
        await drop.reply(f"USER {USER}".encode())
        await drop.reply(b"PASS wrong-" + CONTENT)
        await drop.reply(f"{PASSWORD}".encode())
    await asyncio.to_thread(http_session, ports)
    await asyncio.to_thread(refused_login, ports, f"wrong-{CONTENT.decode()}")


def read(running: Processes, name: str) -> Samples:
    """The samples of a process by name and labels."""
    found: Samples = {}
    for family in text_string_to_metric_families(running.page(name, "/metrics")[1]):
        assert family.documentation
        for sample in family.samples:
            found.setdefault(sample.name, {})[frozenset(sample.labels.items())] = sample.value
    return found


def labels_of(samples: Samples, metric: str, *names: str) -> set[tuple[str, ...]]:
    """The values of some labels, of samples that are not 0."""
    found = samples.get(metric, {})
    return {tuple(dict(labels)[name] for name in names) for labels, value in found.items() if value}


@pytest.mark.parametrize("name", ALL)
def test_metrics(running: Processes, name: str) -> None:
    samples = read(running, name)
    assert samples["process_resident_memory_bytes"]
    assert samples["mailkeep_event_loop_lag_seconds"]
    assert labels_of(samples, "mailkeep_build_info", "version")
    commands = labels_of(samples, "mailkeep_command_seconds_count", "command", "result")
    assert commands >= COMMANDS[name]
    assert commands, "of the store: its callers'"
    assert samples["mailkeep_command_seconds_bucket"]


@pytest.mark.parametrize("name", ["imap", "pop", "http", "lmtp"])
def test_metrics_of_front_ends(running: Processes, name: str) -> None:
    sample = f'mailkeep_sessions{{service="{name}"}}'
    eventually(lambda: running.metric(name, sample) == 0)
    samples = read(running, name)
    service = frozenset({("service", name)})
    assert samples["mailkeep_sessions_limit"][service] > 0
    assert samples["mailkeep_sessions_opened_total"][service] >= 1
    assert samples["mailkeep_received_bytes_total"][service] > 0
    assert samples["mailkeep_sent_bytes_total"][service] > 0
    assert labels_of(samples, "mailkeep_store_call_seconds_count", "result") == {("ok",)} | (
        {("MAILBOX_NOT_FOUND",)} if name == "imap" else set()
    )
    if name != "lmtp":
        logins = labels_of(samples, "mailkeep_logins_total", "result")
        assert logins >= {("ok",), ("credentials",)}
        caches = labels_of(samples, "mailkeep_cache_requests_total", "cache", "result")
        assert caches >= {("login", "miss")}
    if name == "imap":
        assert ("cached",) in labels_of(samples, "mailkeep_logins_total", "result")
        assert ("login", "hit") in labels_of(samples, "mailkeep_cache_requests_total", "cache", "result")


def test_logs_hold_no_secret(running: Processes) -> None:
    for name in ALL:
        text = running.log(name).read_bytes()
        assert not [secret for secret in SECRETS if secret in text], name
        for line in text.splitlines():
            event = json.loads(line)
            assert {"time", "level", "event"} <= event.keys()


def test_sessions_can_be_followed_in_the_log(running: Processes) -> None:
    logins = [event for event in running.events("imap") if event["event"] == "logged in"]
    assert logins
    assert all(event["session"] and event["user"] == USER and event["peer"] == "127.0.0.1" for event in logins)
    refused = [event for event in running.events("pop") if event["event"] == "login refused"]
    assert refused
    assert all(event["session"] for event in refused)
