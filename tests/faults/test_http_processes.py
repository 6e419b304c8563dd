"""HTTP beside the other services, as processes: one mail for all protocols, restarts, slow and hostile clients.

One request may run at a time: whoever waits for a client to read or to send holds no slot.
"""

from __future__ import annotations

import asyncio
import json
import signal
from base64 import b64encode
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests.support.peers import Peer, imap, peer
from tests.support.processes import CONTENT, Processes, eventually, processes
from tests.support.running import PASSWORD, USER
from tests.support.traffic import http_session

pytestmark = [pytest.mark.faults, pytest.mark.timeout(240)]
WRITE_SECONDS = 5
LARGE = 40 << 20
ROOM = 16 << 20
BASIC = "Authorization: Basic " + b64encode(f"{USER}:{PASSWORD}".encode()).decode()
USING = ["urn:ietf:params:jmap:core", "urn:ietf:params:jmap:mail"]


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Processes]:
    with processes(
        tmp_path_factory.mktemp("http"), "store", "imap", "http",
        HTTP_WRITETIMEOUT=str(WRITE_SECONDS), HTTP_MAXTHREADS="1", HTTP_CACHEBYTES="8388608",
    ) as made:  # fmt: skip
        yield made


@asynccontextmanager
async def connected(running: Processes, text: str, **more: Any) -> AsyncIterator[Peer]:
    """A connection on which this much was said."""
    async with peer(running.services.http, **more) as client:
        await client.send(text.encode())
        yield client


async def asked(running: Processes, method: str, path: str, body: bytes = b"", kind: str = "application/json") -> bytes:
    """A request on a connection of its own, and the body of its answer."""
    head = f"{method} {path} HTTP/1.1\r\nHost: x\r\n{BASIC}\r\nConnection: close\r\nContent-Type: {kind}\r\n"
    async with connected(running, f"{head}Content-Length: {len(body)}\r\n\r\n") as client:
        await client.send(body)
        answer = await client.rest()
    assert answer.startswith((b"HTTP/1.1 200", b"HTTP/1.1 201")), answer[:400]
    return answer.partition(b"\r\n\r\n")[2]


async def account_of(running: Processes) -> str:
    found: str = json.loads(await asked(running, "GET", "/jmap/session"))["primaryAccounts"][USING[1]]
    return found


async def call(running: Processes, name: str, **arguments: Any) -> dict[str, Any]:
    """One method call that succeeds."""
    arguments = {"accountId": await account_of(running), **arguments}
    body = json.dumps({"using": USING, "methodCalls": [[name, arguments, "a"]]}).encode()
    [[said, answer, _]] = json.loads(await asked(running, "POST", "/jmap", body))["methodResponses"]
    assert said == name, answer
    return dict(answer)


async def event(client: Peer) -> dict[str, Any]:
    """What the next event tells."""
    while not (line := await client.line()).startswith(b"data: "):
        assert line, "the stream ended"
    return dict(json.loads(line[6:]))


async def append(client: Peer, text: bytes) -> None:
    body = b"Subject: " + text + b"\r\n\r\n" + CONTENT + b"\r\n"
    await client.send(b"a APPEND INBOX {%d+}\r\n" % len(body), body, b"\r\n")
    assert (await client.response())[-1].startswith(b"a OK")


async def test_a_change_by_imap_reaches_jmap_and_the_other_way_round(running: Processes) -> None:
    account = await account_of(running)
    stream = f"GET /jmap/eventsource?types=*&closeafter=no&ping=0 HTTP/1.1\r\nHost: x\r\n{BASIC}\r\n\r\n"
    async with imap(running.services.imap) as client, connected(running, stream) as events:
        while (await events.line()).strip():
            pass
        await append(client, b"one")
        assert {"Email", "Mailbox", "Thread"} <= set((await event(events))["changed"][account])
        [email] = (await call(running, "Email/query"))["ids"]
        await client.send(b"b IDLE\r\n")
        while not (await client.line()).startswith(b"+"):
            pass
        await call(running, "Email/set", update={email: {"keywords/$flagged": True, "keywords/$Forwarded": True}})
        line = b""
        while b"FETCH" not in line:
            line = await client.line()
        assert b"\\Flagged" in line
        await client.send(b"DONE\r\n")
        await client.response(b"b")
        await client.done(b"STORE 1 +FLAGS (\\Seen)")
        while True:
            [told] = (await call(running, "Email/get", ids=[email], properties=["keywords"]))["list"]
            if told["keywords"] == {"$flagged": True, "$forwarded": True, "$seen": True}:
                break
        await client.done(b"MOVE 1 Archive")
        [told] = (await call(running, "Email/get", ids=[email], properties=["mailboxIds"]))["list"]
        archive = (await call(running, "Mailbox/query", filter={"role": "archive"}))["ids"]
        assert list(told["mailboxIds"]) == archive, "it is the same email"
        await call(running, "Email/set", destroy=[email])


def cookie_of(running: Processes) -> str:
    """A login; its cookie."""

    async def log_in() -> str:
        form = f"name={USER}&password={PASSWORD.replace(' ', '+')}"
        head = "POST /login HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\n"
        async with connected(
            running, f"{head}Content-Length: {len(form)}\r\nConnection: close\r\n\r\n{form}"
        ) as client:
            answer = (await client.rest()).decode()
        return next(line for line in answer.split("\r\n") if line.startswith("Set-Cookie: "))[12:].partition(";")[0]

    return asyncio.run(log_in())


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_a_login_outlasts_the_process(running: Processes, how: signal.Signals) -> None:
    assert f"Logged in as {USER}" in http_session(running.services)
    cookie = cookie_of(running)

    async def home() -> bytes:
        async with connected(
            running, f"GET / HTTP/1.1\r\nHost: x\r\nCookie: {cookie}\r\nConnection: close\r\n\r\n"
        ) as client:
            return await client.rest()

    assert f"Logged in as {USER}".encode() in asyncio.run(home())
    running.send("http", how)
    running.ended("http", 30)
    running.start("http")
    assert f"Logged in as {USER}".encode() in asyncio.run(home())


async def test_who_does_not_read_costs_little_and_is_closed(running: Processes) -> None:
    account = await account_of(running)
    told = json.loads(await asked(running, "POST", f"/jmap/upload/{account}/", bytes(LARGE), "application/x-zeros"))
    assert told["size"] == LARGE
    before = running.memory("http")
    request = f"GET /jmap/download/{account}/{told['blobId']}/zeros HTTP/1.1\r\nHost: x\r\n{BASIC}\r\n\r\n"
    async with connected(running, request, limit=4096) as one, connected(running, request, limit=4096) as other:
        for client in (one, other):
            assert (await client.line()).startswith(b"HTTP/1.1 200")
        assert await call(running, "Mailbox/get"), "others are served meanwhile"
        assert running.memory("http") - before < ROOM
        sample = 'mailkeep_sessions{service="http"}'
        await asyncio.to_thread(eventually, lambda: running.metric("http", sample) == 0, WRITE_SECONDS + 60.0)


async def test_bodies_without_end_are_cut(running: Processes) -> None:
    account = await account_of(running)
    head = f"POST /jmap/upload/{account}/ HTTP/1.1\r\nHost: x\r\n{BASIC}\r\nTransfer-Encoding: chunked\r\n\r\n"
    chunk = b"100000\r\n" + bytes(1 << 20) + b"\r\n"
    async with connected(running, head) as client:
        for _ in range(60):
            try:
                await client.send(chunk)
            except ConnectionError:
                break
        assert (await client.line()).startswith(b"HTTP/1.1 413")


async def test_who_sends_slowly_holds_up_nobody(running: Processes) -> None:
    account = await account_of(running)
    head = f"POST /jmap/upload/{account}/ HTTP/1.1\r\nHost: x\r\n{BASIC}\r\nContent-Length: 10\r\n\r\nabc"
    async with connected(running, head) as one, connected(running, head) as other:
        assert await call(running, "Mailbox/get")
        for client in (one, other):
            await client.send(b"defghij")
            assert (await client.line()).startswith(b"HTTP/1.1 201")


def test_at_the_end_streams_are_ended_and_nothing_hangs(running: Processes) -> None:
    async def watched() -> bytes:
        stream = f"GET /jmap/eventsource?types=*&closeafter=no&ping=0 HTTP/1.1\r\nHost: x\r\n{BASIC}\r\n\r\n"
        async with connected(running, stream) as events:
            while (await events.line()).strip():
                pass
            running.send("http", signal.SIGTERM)
            return await events.rest()

    assert asyncio.run(watched()).endswith(b"0\r\n\r\n")
    assert running.ended("http", 30) == 0
    running.start("http")
