"""JMAP's core over a real socket: session, requests, limits, references, blobs, push (RFC 8620)."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from services.http.handlers import events
from services.http.jmap.usage import MAX_CONCURRENT_REQUESTS
from tests.support.http import CORE, MAIL, OTHER, USER, HttpFixture, Jmap, jmap_client
from tests.support.store import StoreFixture
from tests.support.stores import mail

SUB = "urn:ietf:params:jmap:error:"


@pytest.mark.rfc("8620", "2")
async def test_the_session_object(jmap: Jmap, http: HttpFixture) -> None:
    found = jmap.session
    base = f"http://127.0.0.1:{http.port()}"
    assert found["username"] == USER
    assert {CORE, MAIL} < set(found["capabilities"])
    assert found["capabilities"][CORE]["maxCallsInRequest"] >= 16
    assert found["capabilities"][CORE]["maxObjectsInGet"] >= 500
    assert found["accounts"][jmap.account]["isPersonal"] is True
    assert set(found["primaryAccounts"].values()) == {jmap.account}
    assert found["apiUrl"] == f"{base}/jmap"
    assert "{accountId}" in found["uploadUrl"]
    for name in ("{accountId}", "{blobId}", "{type}", "{name}"):
        assert name in found["downloadUrl"]
    for name in ("{types}", "{closeafter}", "{ping}"):
        assert name in found["eventSourceUrl"]
    reply = await jmap.browser.get("/.well-known/jmap", headers=jmap.headers)
    assert reply.headers["Cache-Control"] == "no-cache, no-store, must-revalidate"
    assert json.loads(reply.body)["state"] == found["state"]
    assert (await jmap.call("Core/echo")) == {}
    assert (await jmap.browser.get("/.well-known/jmap")).status == 401


async def test_a_cookie_does_as_well_and_other_sites_cannot_use_it(jmap: Jmap, http: HttpFixture) -> None:
    async with http.browser() as browser:
        await browser.log_in()
        assert (await browser.get("/jmap/session")).status == 200
        body = json.dumps({"using": [CORE], "methodCalls": [["Core/echo", {"x": 1}, "a"]]}).encode()
        headers = {"Content-Type": "application/json", "Sec-Fetch-Site": "same-origin"}
        assert (await browser.ask("POST", "/jmap", headers=headers, data=body)).status == 200
        headers["Sec-Fetch-Site"] = "cross-site"
        assert (await browser.ask("POST", "/jmap", headers=headers, data=body)).status == 403


@pytest.mark.rfc("8620", "3.4")
async def test_calls_are_answered_in_order_under_their_ids(jmap: Jmap) -> None:
    answer = await jmap.request(("Core/echo", {"a": [1, None, "é"]}), ("Nothing/get", {}), ("Core/echo", {}))
    assert answer["methodResponses"] == [
        ["Core/echo", {"a": [1, None, "é"]}, "0"], ["error", {"type": "unknownMethod"}, "1"], ["Core/echo", {}, "2"],
    ]  # fmt: skip
    assert answer["sessionState"] == jmap.session["state"]
    assert "createdIds" not in answer
    assert (await jmap.request(createdIds={"k": "M1"}))["createdIds"] == {"k": "M1"}


@pytest.mark.rfc("8620", "3.6.1")
@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"", "notJSON"),
        (b"{", "notJSON"),
        (b"\xff{}", "notJSON"),
        (b'{"using": [], "using": []}', "notJSON"),
        (b'{"using": [NaN]}', "notJSON"),
        (b"[" * 100_000, "notJSON"),
        (b'{"using": ' + b"9" * 5000 + b"}", "notJSON"),
        (b"[]", "notRequest"),
        (b"{}", "notRequest"),
        (b'{"using": "x", "methodCalls": []}', "notRequest"),
        (b'{"using": [], "methodCalls": [["a", {}]]}', "notRequest"),
        (b'{"using": [], "methodCalls": [["a", [], "b"]]}', "notRequest"),
        (b'{"using": [], "methodCalls": [["a", {}, 1]]}', "notRequest"),
        (b'{"using": [], "methodCalls": [], "createdIds": {"a": 1}}', "notRequest"),
        (b'{"using": ["urn:example:none"], "methodCalls": []}', "unknownCapability"),
        (json.dumps({"using": [], "methodCalls": [["Core/echo", {}, "a"]] * 65}).encode(), "limit"),
    ],
)
async def test_requests_that_are_none(jmap: Jmap, body: bytes, kind: str) -> None:
    reply = await jmap.post(body)
    assert (reply.status, reply.headers["Content-Type"]) == (400, "application/problem+json")
    problem = json.loads(reply.body)
    assert problem["type"] == SUB + kind
    assert problem.get("limit") == ("maxCallsInRequest" if kind == "limit" else None)


async def test_requests_are_bounded_before_they_are_read(jmap: Jmap) -> None:
    most = jmap.session["capabilities"][CORE]["maxSizeRequest"]
    answer = await _announce(jmap, "/jmap", most + 1)
    assert json.loads(answer) == {
        "type": f"{SUB}limit", "status": 400, "detail": "A limit of the server is passed.", "limit": "maxSizeRequest",
    }  # fmt: skip
    assert (await jmap.post(b"{}", **{"Content-Type": "text/plain"})).status == 415


async def test_an_account_has_so_many_requests_at_once(jmap: Jmap, http: HttpFixture) -> None:
    account = int(jmap.account[1:])
    usage = http.service.usage
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(usage._running, ("maxConcurrentRequests", account), MAX_CONCURRENT_REQUESTS)
        reply = await jmap.post(b"{}")
    assert json.loads(reply.body)["limit"] == "maxConcurrentRequests"


@pytest.mark.rfc("8620", "3.3")
async def test_a_method_wants_its_capability_in_using(jmap: Jmap) -> None:
    body = {"using": [CORE], "methodCalls": [["Mailbox/get", {"accountId": jmap.account}, "a"]]}
    reply = await jmap.post(json.dumps(body).encode())
    assert json.loads(reply.body)["methodResponses"] == [["error", {"type": "unknownMethod"}, "a"]]


@pytest.mark.rfc("8620", "3.7")
async def test_references_to_earlier_results(jmap: Jmap) -> None:
    tree = {"list": [{"ids": ["a", "b"], "id": "x"}, {"ids": ["c"], "id": "y"}], "a/b": {"~": 7}}

    async def told(path: Any, **more: Any) -> Any:
        reference = {"resultOf": "0", "name": "Core/echo", "path": path, **more}
        answer = await jmap.request(("Core/echo", tree), ("Core/echo", {"#found": reference}))
        name, arguments, _ = answer["methodResponses"][1]
        return arguments["found"] if name == "Core/echo" else arguments["type"]

    assert await told("/list/*/ids") == ["a", "b", "c"]
    assert await told("/list/*/id") == ["x", "y"]
    assert await told("/list/1/ids/0") == "c"
    assert await told("/a~1b/~0") == 7
    assert await told("") == tree
    for wrong in ("/list/2", "/list/01", "/list/-", "/none", "list", "/list/*/none", "/list/²"):
        assert await told(wrong) == "invalidResultReference", wrong
    assert await told("/list", resultOf="9") == "invalidResultReference"
    assert await told("/list", name="Email/get") == "invalidResultReference"
    assert await told(7) == "invalidArguments"
    twice = {"resultOf": "0", "name": "Core/echo", "path": ""}
    answer = await jmap.request(("Core/echo", {}), ("Core/echo", {"a": 1, "#a": twice}))
    assert answer["methodResponses"][1][1]["type"] == "invalidArguments"


@pytest.mark.rfc("8620", "3.6.2")
async def test_errors_of_methods(jmap: Jmap) -> None:
    assert (await jmap.refused("Mailbox/get", accountId="A999"))["type"] == "accountNotFound"
    assert (await jmap.refused("Mailbox/get", accountId=7))["type"] == "invalidArguments"
    assert (await jmap.refused("Mailbox/get", ids="x"))["type"] == "invalidArguments"
    assert (await jmap.refused("Mailbox/get", ids=["a b"]))["type"] == "invalidArguments"
    assert (await jmap.refused("Mailbox/get", unheard=1))["type"] == "invalidArguments"
    assert (await jmap.refused("Mailbox/get", properties=["none"]))["type"] == "invalidArguments"
    assert (await jmap.refused("Email/get", ids=[f"M{number}" for number in range(1, 1002)]))[
        "type"
    ] == "requestTooLarge"


async def test_a_store_that_is_away_fails_the_call_and_not_the_request(jmap: Jmap, store: StoreFixture) -> None:
    configuration = store.configuration
    store.reconfigure(storewait=0)
    store.client.reconfigure(store.configuration)
    await store.stop()
    answer = await jmap.request(("Mailbox/get", {}), ("Core/echo", {}))
    assert [response[0] for response in answer["methodResponses"]] == ["error", "Core/echo"]
    assert answer["methodResponses"][0][1] == {"type": "serverUnavailable"}
    await store.start()
    store.client.reconfigure(configuration)
    assert await jmap.mailboxes()


# ---- blobs ----------------------------------------------------------------------------------------------------------
@pytest.mark.rfc("8620", "6.1")
async def test_uploads_and_downloads(jmap: Jmap) -> None:
    data = bytes(range(256)) * 5_000
    told = await jmap.upload(data, "image/png")
    assert told == {"accountId": jmap.account, "blobId": told["blobId"], "type": "image/png", "size": len(data)}
    reply = await jmap.download(told["blobId"], "a%22%2F%C3%A9.png", "?accept=image/png")
    assert reply.body == data
    assert reply.headers["Content-Type"] == "image/png"
    assert reply.headers["Content-Disposition"] == "attachment; filename=\"a__.png\"; filename*=UTF-8''a%22%C3%A9.png"
    assert reply.headers["Cache-Control"] == "private, immutable, max-age=31536000"
    assert "sandbox" in reply.headers["Content-Security-Policy"]
    assert (await jmap.upload(b""))["size"] == 0
    assert (await jmap.upload(data))["blobId"] == told["blobId"]


@pytest.mark.rfc("9110", "14")
@pytest.mark.parametrize(
    ("asked", "first", "last"),
    [("bytes=0-0", 0, 0), ("bytes=10-19", 10, 19), ("bytes=990-2000", 990, 999), ("bytes=-5", 995, 999),
     ("bytes=0-", 0, 999), ("bytes=-2000", 0, 999)],
)  # fmt: skip
async def test_ranges(jmap: Jmap, asked: str, first: int, last: int) -> None:
    data = bytes(number % 251 for number in range(1000))
    blob = (await jmap.upload(data))["blobId"]
    reply = await jmap.download(blob, Range=asked)
    assert (reply.status, reply.body) == (206, data[first : last + 1])
    assert reply.headers["Content-Range"] == f"bytes {first}-{last}/1000"


async def test_ranges_that_are_none(jmap: Jmap) -> None:
    blob = (await jmap.upload(b"abc"))["blobId"]
    for asked in ("bytes=3-", "bytes=9-10", "bytes=2-1", "bytes=-0"):
        reply = await jmap.download(blob, Range=asked)
        assert (reply.status, reply.headers["Content-Range"]) == (416, "bytes */3"), asked
    for asked in ("lines=1-2", "bytes=0-0,2-2", "bytes=", "bytes=-", "x"):
        reply = await jmap.download(blob, Range=asked)
        assert (reply.status, reply.body) == (200, b"abc"), asked


async def test_downloads_that_are_none(jmap: Jmap, http: HttpFixture, store: StoreFixture) -> None:
    blob = (await jmap.upload(b"abc"))["blobId"]
    tag = (await jmap.download(blob)).headers["ETag"]
    assert (await jmap.download(blob, **{"If-None-Match": tag})).status == 304
    for unknown in ("U" + "0" * 64, "B999", "B0", "X1", "B1-0", "U1"):
        assert (await jmap.download(unknown)).status == 404, unknown
    assert (await jmap.download(blob, query="?accept=text/html%0d%0aX:y")).status == 400
    async with jmap_client(http, OTHER) as other:
        assert (await other.download(blob)).status == 404, "it is anna's"
        other.account = jmap.account
        assert (await other.download(blob)).status == 404
        reply = await other.browser.ask("POST", f"/jmap/upload/{jmap.account}/", headers=other.headers, data=b"x")
        assert reply.status == 404


async def test_uploads_are_bounded(jmap: Jmap) -> None:
    most = jmap.session["capabilities"][CORE]["maxSizeUpload"]
    assert json.loads(await _announce(jmap, f"/jmap/upload/{jmap.account}/", most + 1))["limit"] == "maxSizeUpload"


async def _announce(jmap: Jmap, path: str, size: int) -> str:
    """A request of that size of which nothing is sent."""
    host, port = jmap.browser.base.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {size}\r\nConnection: close\r\n"
    head += "Content-Type: application/json\r\n"
    writer.write(f"{head}Authorization: {jmap.headers['Authorization']}\r\n\r\n".encode())
    async with asyncio.timeout(30):
        answer = (await reader.read()).decode()
    writer.close()
    return answer.partition("\r\n\r\n")[2]


@pytest.mark.rfc("8620", "6.3")
async def test_blob_copy_knows_one_account(jmap: Jmap) -> None:
    copy = {"blobIds": ["U1"]}
    assert (await jmap.refused("Blob/copy", fromAccountId="A999", **copy))["type"] == "fromAccountNotFound"
    assert (await jmap.refused("Blob/copy", fromAccountId=jmap.account, **copy))["type"] == "invalidArguments"


# ---- push -----------------------------------------------------------------------------------------------------------
class Events:
    """A stream of events on a connection of its own."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def next(self) -> dict[str, str]:
        """The next event."""
        async with asyncio.timeout(30):
            block = ""
            while not block.strip():
                await self.reader.readline()  # the size of the chunk
                block = (await self.reader.readuntil(b"\n\n")).decode()
                await self.reader.readline()
        return dict(line.split(": ", 1) for line in block.strip().splitlines())


async def listen(jmap: Jmap, query: str, last: str = "") -> Events:
    """Open a stream."""
    host, port = jmap.browser.base.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    more = f"Last-Event-ID: {last}\r\n" if last else ""
    writer.write(
        f"GET /jmap/eventsource?{query} HTTP/1.1\r\nHost: x\r\n{more}"
        f"Authorization: {jmap.headers['Authorization']}\r\n\r\n".encode()
    )
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    assert head.startswith("HTTP/1.1 200 "), head
    assert "Content-Type: text/event-stream" in head
    return Events(reader, writer)


@pytest.mark.rfc("8620", "7.3")
async def test_a_delivery_is_told_at_once(jmap: Jmap, store: StoreFixture) -> None:
    stream = await listen(jmap, "types=*&closeafter=no&ping=0")
    await store.account(USER, mail())
    told = await stream.next()
    assert told["event"] == "state"
    changed = json.loads(told["data"])
    assert changed["@type"] == "StateChange"
    assert set(changed["changed"][jmap.account]) == {"Email", "Mailbox", "Thread"}
    state = changed["changed"][jmap.account]["Email"]
    assert state == (await jmap.call("Email/get", ids=[]))["state"] == told["id"]
    await store.account(OTHER, mail())
    await store.store.create_mailbox((await store.store.open_account(USER)).account_id, "New")
    assert set(json.loads((await stream.next())["data"])["changed"][jmap.account]) == {"Mailbox"}
    stream.writer.close()


async def test_only_the_types_that_are_asked_for(jmap: Jmap, store: StoreFixture) -> None:
    stream = await listen(jmap, "types=Email,Calendar&closeafter=state&ping=0")
    await store.store.create_mailbox((await store.store.open_account(USER)).account_id, "New")
    await store.account(USER, mail())
    assert set(json.loads((await stream.next())["data"])["changed"][jmap.account]) == {"Email"}
    async with asyncio.timeout(30):
        assert (await stream.reader.read()).endswith(b"0\r\n\r\n"), "it is closed after the first"
    stream.writer.close()


async def test_who_comes_back_is_told_what_was_missed(jmap: Jmap, store: StoreFixture) -> None:
    state = (await jmap.call("Email/get", ids=[]))["state"]
    await store.account(USER, mail())
    stream = await listen(jmap, "types=Email&closeafter=no&ping=0", last=state)
    told = await stream.next()
    assert json.loads(told["data"])["changed"][jmap.account]["Email"] == told["id"] != state
    stream.writer.close()


async def test_pings(jmap: Jmap, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events, "MIN_PING", 0.05)
    monkeypatch.setattr(events, "MAX_PING", 0.05)
    stream = await listen(jmap, "types=*&closeafter=no&ping=1")
    for _ in range(2):
        assert (await stream.next())["event"] == "ping"
    stream.writer.close()


async def test_streams_end_with_the_service_and_hold_no_slot(jmap: Jmap, http: HttpFixture) -> None:
    stream = await listen(jmap, "types=*&closeafter=no&ping=0")
    assert http.server.slots.running == 0
    async with asyncio.timeout(30):
        await http.server.drain(5)
        await stream.reader.read()
    stream.writer.close()


async def test_the_head_of_a_stream_alone(jmap: Jmap) -> None:
    reply = await jmap.browser.ask("HEAD", "/jmap/eventsource?types=*&closeafter=no&ping=0", headers=jmap.headers)
    assert (reply.status, reply.body) == (200, b"")


@pytest.mark.parametrize("query", ["types=a b", "types=*&closeafter=x", "types=*&ping=x", "types=&ping=-1"])
async def test_streams_that_are_none(jmap: Jmap, query: str) -> None:
    reply = await jmap.browser.get(f"/jmap/eventsource?{query}", headers=jmap.headers)
    assert reply.status == 400
