"""What came after RFC 8621: WebSocket (RFC 8887), Blob management (RFC 9404), Quotas (RFC 9425)."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import aiohttp
import pytest

from services.common.domain import Quota
from tests.support.http import CORE, MAIL, USER, HttpFixture, Jmap, http_service, jmap_client, people
from tests.support.store import StoreFixture
from tests.support.stores import mail

BLOB = "urn:ietf:params:jmap:blob"
QUOTA = "urn:ietf:params:jmap:quota"
WEBSOCKET = "urn:ietf:params:jmap:websocket"


async def call(jmap: Jmap, capability: str, name: str, **arguments: Any) -> dict[str, Any]:
    """One call, with the capability that it wants; errors as they are."""
    body = {"using": [CORE, capability], "methodCalls": [[name, {"accountId": jmap.account, **arguments}, "a"]]}
    reply = await jmap.post(json.dumps(body).encode())
    [[said, answer, _]] = json.loads(reply.body)["methodResponses"]
    assert said in (name, "error")
    return dict(answer)


# ---- RFC 8887 -------------------------------------------------------------------------------------------------------
class Socket:
    """A WebSocket that says and hears JSON."""

    def __init__(self, ws: aiohttp.ClientWebSocketResponse) -> None:
        self.ws = ws

    async def ask(self, **value: Any) -> dict[str, Any]:
        """Say something, hear what comes next."""
        await self.ws.send_str(json.dumps(value))
        return await self.hear()

    async def hear(self) -> dict[str, Any]:
        """The next message."""
        return dict(json.loads(await self.ws.receive_str(timeout=30)))


@asynccontextmanager
async def socket(jmap: Jmap, **headers: str) -> AsyncIterator[Socket]:
    """A WebSocket as the session object names it."""
    url = jmap.session["capabilities"][WEBSOCKET]["url"]
    async with jmap.browser.session.ws_connect(url, protocols=("jmap",), headers={**jmap.headers, **headers}) as ws:
        assert ws.protocol == "jmap"
        yield Socket(ws)


@pytest.mark.rfc("8887", "4.3")
async def test_requests_over_a_websocket(jmap: Jmap) -> None:
    assert jmap.session["capabilities"][WEBSOCKET]["supportsPush"] is True
    async with socket(jmap) as client:
        echo = ["Core/echo", {"x": "é"}, "c"]
        answer = await client.ask(**{"@type": "Request", "id": "R1", "using": [CORE], "methodCalls": [echo]})
        assert answer == {
            "@type": "Response", "requestId": "R1", "methodResponses": [echo], "sessionState": jmap.session["state"],
        }  # fmt: skip
        answer = await client.ask(**{"@type": "Request", "using": [CORE], "methodCalls": []})
        assert "requestId" not in answer
        answer = await client.ask(**{"@type": "Request", "id": "R2", "using": ["urn:x"], "methodCalls": []})
        assert (answer["@type"], answer["requestId"]) == ("RequestError", "R2")
        assert answer["type"] == "urn:ietf:params:jmap:error:unknownCapability"
        assert (await client.ask(id="R3"))["type"] == "urn:ietf:params:jmap:error:notRequest"
        await client.ws.send_str("{")
        answer = await client.hear()
        assert (answer["type"], answer["requestId"]) == ("urn:ietf:params:jmap:error:notJSON", None)
        await client.ws.send_bytes(b"{}")
        assert (await client.ws.receive(timeout=30)).data == aiohttp.WSCloseCode.UNSUPPORTED_DATA


@pytest.mark.rfc("8887", "4.3.5")
async def test_push_over_a_websocket(jmap: Jmap, store: StoreFixture) -> None:
    async with socket(jmap) as client:
        await client.ws.send_str(json.dumps({"@type": "WebSocketPushEnable", "dataTypes": ["Email"]}))
        await client.ask(**{"@type": "Request", "id": "1", "using": [CORE], "methodCalls": []})
        await store.account(USER, mail())
        told = await client.hear()
        assert (told["@type"], set(told["changed"][jmap.account])) == ("StateChange", {"Email"})
        state = told["pushState"]
        await client.ws.send_str(json.dumps({"@type": "WebSocketPushDisable"}))
        await client.ask(**{"@type": "Request", "id": "2", "using": [CORE], "methodCalls": []})
        await store.account(USER, mail())
        answer = await client.ask(**{"@type": "Request", "id": "3", "using": [CORE], "methodCalls": []})
        assert answer["@type"] == "Response", "nothing is told any more"
    async with socket(jmap) as client:
        told = await client.ask(**{"@type": "WebSocketPushEnable", "dataTypes": None, "pushState": state})
        assert set(told["changed"][jmap.account]) == {"Email", "Mailbox", "Thread"}


async def test_sockets_are_bounded_and_end_with_the_service(jmap: Jmap, http: HttpFixture) -> None:
    async with socket(jmap) as client:
        await client.ask(**{"@type": "Request", "id": "1", "using": [CORE], "methodCalls": []})
        assert http.server.slots.running == 0
        with suppress(ConnectionError):  # it may be closed before all was sent
            await client.ws.send_str(" " * (jmap.session["capabilities"][CORE]["maxSizeRequest"] + 1))
        ends = (aiohttp.WSMsgType.CLOSE, aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.ERROR)
        assert (await client.ws.receive(timeout=30)).type in ends
    async with socket(jmap) as client:
        await client.ask(**{"@type": "Request", "id": "1", "using": [CORE], "methodCalls": []})
        drain = asyncio.create_task(http.server.drain(5))
        assert (await client.ws.receive(timeout=30)).data == aiohttp.WSCloseCode.GOING_AWAY
        await drain


async def test_sockets_that_are_none(jmap: Jmap, http: HttpFixture) -> None:
    reply = await jmap.browser.get("/jmap/ws", headers=jmap.headers)
    assert (reply.status, reply.headers["Upgrade"]) == (426, "websocket")
    async with http.browser() as browser:
        assert (await browser.get("/jmap/ws")).status == 401
        await browser.log_in()
        other = Jmap(browser, session=jmap.session)
        with pytest.raises(aiohttp.WSServerHandshakeError, match="403"):
            await browser.session.ws_connect(
                f"{browser.base}/jmap/ws", protocols=("jmap",),
                headers={"Cookie": f"mailkeep={browser.cookies['mailkeep']}", "Origin": "https://evil.example"},
            )  # fmt: skip
        assert other.session


# ---- RFC 9404 -------------------------------------------------------------------------------------------------------
@pytest.mark.rfc("9404", "4.1")
async def test_blobs_are_made_of_pieces(jmap: Jmap) -> None:
    known = (await jmap.upload(b"0123456789"))["blobId"]
    answer = await call(jmap, BLOB, "Blob/upload", create={
        "a": {"type": "text/plain", "data": [
            {"data:asText": "é-"}, {"data:asBase64": "/w=="}, {"blobId": known, "offset": 2, "length": 3},
        ]},
        "b": {"data": [{"blobId": "#a"}, {"blobId": known}]},
        "c": {"data": [{"blobId": "U" + "0" * 64}]}, "d": {"data": [{"data:asBase64": "!"}]},
        "e": {"data": [{"blobId": known, "offset": 8, "length": 3}]}, "f": {"data": [{}]}, "g": {"data": "x"},
        "h": {"data": [], "more": 1},
    })  # fmt: skip
    made = answer["created"]
    assert made["a"] == {"id": made["a"]["id"], "type": "text/plain", "size": 7}
    assert (await jmap.download(made["a"]["id"])).body == "é-".encode() + b"\xff234"
    assert (await jmap.download(made["b"]["id"])).body == "é-".encode() + b"\xff2340123456789"
    kinds = {key: value["type"] for key, value in answer["notCreated"].items()}
    assert kinds == {"c": "blobNotFound", **dict.fromkeys("defgh", "invalidProperties")}


@pytest.mark.rfc("9404", "4.2")
async def test_blobs_are_read_in_pieces(jmap: Jmap) -> None:
    text, octets = [(await jmap.upload(data))["blobId"] for data in ("grüße".encode(), b"\xff\xfe")]
    answer = await call(jmap, BLOB, "Blob/get", ids=[text, octets, "U" + "0" * 64])
    assert answer["list"] == [
        {"id": text, "data:asText": "grüße", "size": 7},
        {"id": octets, "data:asBase64": "//4=", "size": 2, "isEncodingProblem": True},
    ]
    assert answer["notFound"] == ["U" + "0" * 64]
    part = await call(jmap, BLOB, "Blob/get", ids=[text], offset=1, length=2, properties=[
        "data:asText", "data:asBase64", "digest:sha-256", "digest:sha",
    ])  # fmt: skip
    [found] = part["list"]
    assert found["data:asBase64"] == base64.b64encode("grüße".encode()[1:3]).decode()
    assert found["data:asText"] is None
    assert found["isEncodingProblem"] is True
    assert found["digest:sha-256"] == base64.b64encode(hashlib.sha256("grüße".encode()[1:3]).digest()).decode()
    [short] = (await call(jmap, BLOB, "Blob/get", ids=[text], offset=5, length=9))["list"]
    assert (short["isTruncated"], short["size"]) == (True, 7)
    assert (await call(jmap, BLOB, "Blob/get", ids=[text], properties=["digest:md5"]))["type"] == "invalidArguments"


@pytest.mark.rfc("9404", "4.3")
async def test_no_type_can_be_looked_up(jmap: Jmap) -> None:
    assert jmap.session["accounts"][jmap.account]["accountCapabilities"][BLOB]["supportedTypeNames"] == []
    answer = await call(jmap, BLOB, "Blob/lookup", typeNames=["Email"], ids=[])
    assert answer == {"type": "unknownDataType"}


# ---- RFC 9425 -------------------------------------------------------------------------------------------------------
@pytest.mark.rfc("9425", "4")
async def test_quotas(store: StoreFixture) -> None:
    directory = people()
    directory.quota = Quota(max_bytes=10_000, max_messages=5)
    async with http_service(store, directory=directory) as http, jmap_client(http) as jmap:
        answer = await call(jmap, QUOTA, "Quota/get")
        octets, count = answer["list"]
        assert (octets["resourceType"], octets["used"], octets["hardLimit"]) == ("octets", 0, 10_000)
        assert (count["resourceType"], count["used"], count["hardLimit"]) == ("count", 0, 5)
        assert octets["scope"] == "account"
        before = answer["state"]
        await store.account(USER, mail())
        changes = await call(jmap, QUOTA, "Quota/changes", sinceState=before)
        assert (set(changes["updated"]), changes["updatedProperties"]) == ({"Qoctets", "Qcount"}, ["used"])
        [count] = (await call(jmap, QUOTA, "Quota/get", ids=["Qcount"], properties=["used"]))["list"]
        assert count == {"id": "Qcount", "used": 1}
        query = {"filter": {"resourceType": "count"}}
        assert (await call(jmap, QUOTA, "Quota/query", **query))["ids"] == ["Qcount"]
        everything = (await call(jmap, QUOTA, "Quota/query", sort=[{"property": "used", "isAscending": False}]))["ids"]
        assert everything == ["Qoctets", "Qcount"]
        moved = await call(jmap, QUOTA, "Quota/queryChanges", sinceQueryState=before, **query)
        assert moved["added"] == [{"id": "Qcount", "index": 0}]
        for wrong, kind in (
            ({"filter": {"x": "y"}}, "unsupportedFilter"), ({"sort": [{"property": "x"}]}, "unsupportedSort"),
            ({"filter": {"name": 1}}, "invalidArguments"), ({"filter": {"operator": "X"}}, "invalidArguments"),
        ):  # fmt: skip
            assert (await call(jmap, QUOTA, "Quota/query", **wrong))["type"] == kind
        assert (await call(jmap, QUOTA, "Quota/changes", sinceState="x"))["type"] == "cannotCalculateChanges"
        async with socket(jmap) as client:
            await client.ws.send_str(json.dumps({"@type": "WebSocketPushEnable", "dataTypes": ["Quota"]}))
            await client.ask(**{"@type": "Request", "id": "1", "using": [CORE], "methodCalls": []})
            await store.account(USER, mail())
            told = (await client.hear())["changed"][jmap.account]
        assert told == {"Quota": (await call(jmap, QUOTA, "Quota/get"))["state"]}


async def test_without_limits_there_is_no_quota(jmap: Jmap) -> None:
    answer = await call(jmap, QUOTA, "Quota/get", ids=None)
    assert (answer["list"], answer["notFound"]) == ([], [])
    assert MAIL in jmap.session["capabilities"]
