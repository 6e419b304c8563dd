"""Traces of running services, as a collector receives them, and the logs that go with them."""

from __future__ import annotations

import asyncio
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.collector import Collector, Received, collector
from tests.support.peers import deliver, imap, lmtp
from tests.support.processes import CONTENT, Processes, eventually, processes
from tests.support.traffic import http_session

pytestmark = [pytest.mark.running, pytest.mark.timeout(180)]
MESSAGE = b"Subject: hello\r\n\r\n" + CONTENT


@pytest.fixture(scope="module")
def receiver() -> Iterator[Collector]:
    with collector() as started:
        yield started


@pytest.fixture(scope="module")
def running(receiver: Collector, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Processes]:
    folder = tmp_path_factory.mktemp("traced")
    names = ("store", "lmtp", "imap", "http")
    with processes(folder, *names, TRACE_ENDPOINT=receiver.endpoint, TRACE_SAMPLE="1000") as made:
        yield made


def path(spans: list[Received], span: Received) -> list[str]:
    """From the first span of the trace to this one."""
    by_id = {each.span: each for each in spans}
    names = [f"{span.service}: {span.name}"]
    while span.parent:
        span = by_id[span.parent]
        names.insert(0, f"{span.service}: {span.name}")
    return names


def paths(receiver: Collector, first: str, last: str) -> list[list[str]]:
    """Of the trace that begins with `first`, the ways to spans called `last`; waits for them."""

    def found() -> list[list[str]]:
        spans = receiver.trace_of(first)
        return [path(spans, span) for span in spans if span.name == last]

    eventually(found)
    return found()


async def test_a_command_is_followed_into_the_store(running: Processes, receiver: Collector) -> None:
    async with lmtp(running.services.lmtp) as agent:
        assert (await deliver(agent, MESSAGE)).startswith(b"250")
    async with imap(running.services.imap) as client:
        await client.done(b"STORE 1 +FLAGS (\\Flagged)")
        await client.done(b"COPY 1 Archive")
    delivered = await asyncio.to_thread(paths, receiver, "lmtp DATA", "commit")
    assert delivered == [
        [
            "mailkeep-lmtp: lmtp DATA",
            "mailkeep-lmtp: store deliver_message",
            "mailkeep-store: DeliverMessage",
            "mailkeep-store: commit",
        ]
    ]
    assert await asyncio.to_thread(paths, receiver, "lmtp DATA", "body to disk")
    assert await asyncio.to_thread(paths, receiver, "imap LOGIN", "directory authenticate")
    [stored] = await asyncio.to_thread(paths, receiver, "imap STORE", "commit")
    assert (stored[0], stored[-2]) == ("mailkeep-imap: imap STORE", "mailkeep-store: BatchModifyFlags")
    [copied] = await asyncio.to_thread(paths, receiver, "imap COPY", "commit")
    assert (copied[0], copied[-2]) == ("mailkeep-imap: imap COPY", "mailkeep-store: CopyMessages")


async def test_a_request_is_followed_too_but_not_on_behalf_of_strangers(
    running: Processes, receiver: Collector
) -> None:
    theirs = "00-0102030405060708090a0b0c0d0e0f10-0102030405060708-01"
    await asyncio.to_thread(http_session, running.services, traceparent=theirs)
    [opened] = await asyncio.to_thread(paths, receiver, "http login", "OpenLogin")
    assert opened[:2] == ["mailkeep-http: http login", "mailkeep-http: store open_login"]
    assert not [span for span in receiver.spans if span.trace == theirs[3:35]]


async def test_a_log_line_names_its_session_and_its_trace(running: Processes, receiver: Collector) -> None:
    async with imap(running.services.imap):
        pass
    logins = [event for event in running.events("imap") if event["event"] == "logged in"]
    lines = {event["session"]: event["trace"] for event in logins}

    def known() -> dict[str, str]:
        logins = [span for span in receiver.spans if span.name == "imap LOGIN"]
        return {span.attributes["mailkeep.session"]: span.trace for span in logins}

    assert lines
    await asyncio.to_thread(eventually, lambda: lines.items() <= known().items())


def test_a_collector_that_does_not_answer_holds_up_no_end(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        endpoint = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with processes(tmp_path, "store", "imap", TRACE_ENDPOINT=endpoint, TRACE_SAMPLE="1000") as made:
            asyncio.run(_log_in(made.services.imap))
            started = time.monotonic()
            made.send("imap", signal.SIGTERM)
            assert made.ended("imap", 60) == 0, f"after {time.monotonic() - started:.1f} s"


async def _log_in(port: int) -> None:
    async with imap(port) as client:
        await client.done(b"NOOP")
