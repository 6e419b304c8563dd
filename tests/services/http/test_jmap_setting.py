"""JMAP Mail over a real socket: emails made, changed, imported, parsed, and snippets (RFC 8621)."""

from __future__ import annotations

from typing import Any

import pytest

from services.common.domain import Quota
from tests.support.http import HttpFixture, Jmap, http_service, jmap_client, people
from tests.support.jmapmail import MIXED, filled, ids
from tests.support.store import StoreFixture
from tests.support.stores import mail


# ---- Email/set ------------------------------------------------------------------------------------------------------
@pytest.mark.rfc("8621", "4.6")
async def test_an_email_is_composed(jmap: Jmap) -> None:
    boxes = await jmap.mailboxes()
    blob = (await jmap.upload(b"%PDF", "application/pdf"))["blobId"]
    picture = (await jmap.upload(b"\x89PNG", "image/png"))["blobId"]
    made = await jmap.call("Email/set", create={"k": {
        "mailboxIds": {boxes["Drafts"]: True}, "keywords": {"$draft": True, "$seen": True, "Mine": True},
        "receivedAt": "2020-02-03T04:05:06Z", "from": [{"name": "Änne", "email": "anna@example.com"}],
        "to": [{"name": "B, C", "email": "b@example.org"}, {"name": None, "email": "c@example.org"}],
        "subject": "Grüße " * 20, "sentAt": "2020-02-03T04:05:06+01:00", "messageId": ["own@example.com"],
        "references": ["a@x", "b@x"], "header:X-Note:asText": "ünlike", "header:X-Raw": " as it is",
        "textBody": [{"partId": "t", "type": "text/plain"}], "htmlBody": [{"partId": "h", "type": "text/html"}],
        "attachments": [
            {"blobId": blob, "type": "application/pdf", "name": "Büro.pdf", "disposition": "attachment"},
            {"blobId": picture, "type": "image/png", "cid": "pic@x", "disposition": "inline"},
        ],
        "bodyValues": {"t": {"value": "Hällo\n" + "x" * 2000}, "h": {"value": "<p>Hällo <img src='cid:pic@x'></p>"}},
    }})  # fmt: skip
    created = made["created"]["k"]
    assert set(created) == {"id", "blobId", "threadId", "size"}
    [email] = (await jmap.call("Email/get", ids=[created["id"]], fetchAllBodyValues=True, properties=[
        "keywords", "mailboxIds", "receivedAt", "from", "to", "subject", "sentAt", "messageId", "references", "size",
        "header:X-Note:asText", "header:X-Raw", "textBody", "htmlBody", "attachments", "bodyValues", "bodyStructure",
        "hasAttachment",
    ]))["list"]  # fmt: skip
    assert email["keywords"] == {"$draft": True, "$seen": True, "mine": True}
    assert email["mailboxIds"] == {boxes["Drafts"]: True}
    assert (email["receivedAt"], email["sentAt"]) == ("2020-02-03T04:05:06Z", "2020-02-03T04:05:06+01:00")
    assert email["from"] == [{"name": "Änne", "email": "anna@example.com"}]
    assert email["to"] == [{"name": "B, C", "email": "b@example.org"}, {"name": None, "email": "c@example.org"}]
    assert email["subject"] == ("Grüße " * 20).strip()
    assert (email["messageId"], email["references"]) == (["own@example.com"], ["a@x", "b@x"])
    assert (email["header:X-Note:asText"], email["header:X-Raw"]) == ("ünlike", " as it is")
    assert email["bodyValues"][email["textBody"][0]["partId"]]["value"] == "Hällo\n" + "x" * 2000
    assert "Hällo" in email["bodyValues"][email["htmlBody"][0]["partId"]]["value"]
    names = {part["name"]: part["cid"] for part in email["attachments"]}
    assert names == {"Büro.pdf": None, None: "pic@x"}
    assert [part["type"] for part in email["bodyStructure"]["subParts"]] == ["multipart/alternative", "application/pdf"]
    assert email["hasAttachment"] is True
    raw = (await jmap.download(created["blobId"])).body
    assert len(raw) == email["size"]
    assert max(map(len, raw.split(b"\r\n"))) <= 998
    assert b"\n" not in raw.replace(b"\r\n", b"")
    assert raw.isascii()


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        ({"mailboxIds": {}}, "invalidProperties"),
        ({"mailboxIds": {"F999": True}}, "invalidProperties"),
        ({"mailboxIds": None}, "invalidProperties"),
        ({"keywords": {"a b": True}}, "invalidProperties"),
        ({"keywords": {"a": False}}, "invalidProperties"),
        ({"threadId": "T1"}, "invalidProperties"),
        ({"subject": 7}, "invalidProperties"),
        ({"from": [{"email": "a b"}]}, "invalidProperties"),
        ({"from": [{"email": "a@b\r\nBcc: x@y"}]}, "invalidProperties"),
        ({"header:X": "a\r\nBcc: x@y"}, "invalidProperties"),
        ({"header:Subject": "x", "subject": "y"}, "invalidProperties"),
        ({"header:Content-Type": " text/plain"}, "invalidProperties"),
        ({"messageId": ["a b"]}, "invalidProperties"),
        ({"textBody": [{"partId": "x"}]}, "invalidProperties"),
        ({"textBody": [{"partId": "1"}, {"partId": "1"}]}, "invalidProperties"),
        ({"bodyValues": {"1": {"value": "x"}, "2": {"value": "y"}}}, "invalidProperties"),
        ({"bodyValues": {"1": {"value": "x", "isTruncated": True}}}, "invalidProperties"),
        ({"bodyStructure": {"partId": "1"}}, "invalidProperties"),
        ({"attachments": [{"blobId": "U" + "0" * 64, "type": "a/b"}]}, "blobNotFound"),
        ({"attachments": [{"blobId": "B1", "partId": "1"}]}, "invalidProperties"),
        ({"attachments": [{"blobId": "B1", "type": "a/b\r\nX: y"}]}, "invalidProperties"),
    ],
)
async def test_emails_that_cannot_be(jmap: Jmap, change: dict[str, Any], kind: str) -> None:
    inbox = (await jmap.mailboxes())["INBOX"]
    right: dict[str, Any] = {
        "mailboxIds": {inbox: True}, "textBody": [{"partId": "1"}], "bodyValues": {"1": {"value": "x"}},
    }  # fmt: skip
    answer = await jmap.call("Email/set", create={"right": right, "wrong": {**right, **change}})
    assert set(answer["created"]) == {"right"}
    assert answer["notCreated"]["wrong"]["type"] == kind
    if kind == "blobNotFound":
        assert answer["notCreated"]["wrong"]["notFound"] == ["U" + "0" * 64]


async def test_keywords_and_mailboxes_change(jmap: Jmap, store: StoreFixture) -> None:
    await filled(store, mail("one"), mail("two"))
    boxes = await jmap.mailboxes()
    second, first = await ids(jmap)
    inbox, archive, trash = boxes["INBOX"], boxes["Archive"], boxes["Trash"]

    async def state_of(email: str) -> tuple[set[str], set[str]]:
        [found] = (await jmap.call("Email/get", ids=[email], properties=["keywords", "mailboxIds"]))["list"]
        return set(found["keywords"]), set(found["mailboxIds"])

    await jmap.call("Email/set", update={first: {"keywords": {"$Seen": True, "x": True}}})
    assert await state_of(first) == ({"$seen", "x"}, {inbox})
    await jmap.call("Email/set", update={first: {"keywords/x": None, "keywords/$flagged": True}})
    assert await state_of(first) == ({"$seen", "$flagged"}, {inbox})
    await jmap.call("Email/set", update={first: {f"mailboxIds/{archive}": True}})
    assert await state_of(first) == ({"$seen", "$flagged"}, {inbox, archive})
    await jmap.call("Email/set", update={first: {"keywords/$seen": None}})
    assert await state_of(first) == ({"$flagged"}, {inbox, archive})
    await jmap.call("Email/set", update={first: {"mailboxIds": {trash: True}}})
    assert await state_of(first) == ({"$flagged"}, {trash})
    assert await ids(jmap, filter={"inMailbox": archive}) == []
    many = await jmap.call("Email/set", update={
        first: {f"mailboxIds/{trash}": None}, second: {"subject": "x"}, "M999": {}, "x": {}, "#none": {},
    })  # fmt: skip
    kinds = {key: value["type"] for key, value in many["notUpdated"].items()}
    assert kinds == {
        first: "invalidProperties", second: "invalidProperties",
        "M999": "notFound", "x": "notFound", "#none": "notFound",
    }  # fmt: skip
    same = (await jmap.call("Email/get", ids=[second], properties=["size", "receivedAt"]))["list"][0]
    assert (await jmap.call("Email/set", update={second: {"size": same["size"]}}))["updated"] == {second: None}


async def test_destroying_and_states(jmap: Jmap, store: StoreFixture) -> None:
    await filled(store, mail("one"), mail("two"))
    boxes = await jmap.mailboxes()
    second, first = await ids(jmap)
    await jmap.call("Email/set", update={first: {f"mailboxIds/{boxes['Archive']}": True}})
    state = (await jmap.call("Email/get", ids=[]))["state"]
    assert (await jmap.refused("Email/set", ifInState="1.1", destroy=[first]))["type"] == "stateMismatch"
    answer = await jmap.call("Email/set", ifInState=state, destroy=[first, "M999"], update={first: {"keywords": {}}})
    assert answer["notUpdated"] == {first: {"type": "willDestroy"}}
    assert (answer["destroyed"], answer["notDestroyed"]) == ([first], {"M999": {"type": "notFound"}})
    assert await ids(jmap) == [second]
    assert answer["oldState"] == state != answer["newState"]


async def test_a_creation_id_is_known_to_later_calls(jmap: Jmap) -> None:
    boxes = await jmap.mailboxes()
    answer = await jmap.request(
        ("Mailbox/set", {"create": {"box": {"name": "Made"}}}),
        ("Email/set", {"create": {"mail": {"mailboxIds": {"#box": True}, "subject": "x"}}}),
        ("Email/set", {"update": {"#mail": {f"mailboxIds/{boxes['Archive']}": True, "keywords/$seen": True}}}),
        ("Email/set", {"destroy": ["#mail"]}),
        createdIds={},
    )
    made = answer["createdIds"]
    assert set(made) == {"box", "mail"}
    assert answer["methodResponses"][2][1]["updated"] == {made["mail"]: None}
    assert answer["methodResponses"][3][1]["destroyed"] == [made["mail"]]


async def test_a_full_account_is_told(store: StoreFixture) -> None:
    directory = people()
    directory.quota = Quota(max_messages=1)
    async with http_service(store, directory=directory) as http, jmap_client(http) as jmap:
        inbox = (await jmap.mailboxes())["INBOX"]
        new = {"mailboxIds": {inbox: True}}
        answer = await jmap.call("Email/set", create={"a": new, "b": new})
        assert answer["notCreated"] == {"b": {"type": "overQuota"}}


# ---- import, copy, parse, snippets ----------------------------------------------------------------------------------
@pytest.mark.rfc("8621", "4.8")
async def test_import(jmap: Jmap) -> None:
    boxes = await jmap.mailboxes()
    blob = (await jmap.upload(MIXED, "message/rfc822"))["blobId"]
    noise = (await jmap.upload(b"no header at all"))["blobId"]
    where = {"mailboxIds": {boxes["INBOX"]: True, boxes["Archive"]: True}}
    answer = await jmap.call("Email/import", emails={
        "a": {"blobId": blob, "keywords": {"$seen": True}, "receivedAt": "2001-02-03T04:05:06Z", **where},
        "b": {"blobId": "U" + "0" * 64, **where}, "c": {"blobId": noise, **where}, "d": {"blobId": blob},
        "e": {"blobId": blob, "subject": "x", **where},
    })  # fmt: skip
    assert {key: value["type"] for key, value in answer["notCreated"].items()} == {
        "b": "blobNotFound", "c": "invalidEmail", "d": "invalidProperties", "e": "invalidProperties",
    }  # fmt: skip
    made = answer["created"]["a"]
    assert made["size"] == len(MIXED)
    [email] = (await jmap.call("Email/get", ids=[made["id"]], properties=["mailboxIds", "keywords", "receivedAt"]))[
        "list"
    ]
    assert set(email["mailboxIds"]) == {boxes["INBOX"], boxes["Archive"]}
    assert (email["keywords"], email["receivedAt"]) == ({"$seen": True}, "2001-02-03T04:05:06Z")
    assert (await jmap.download(made["blobId"])).body == MIXED


@pytest.mark.rfc("8621", "4.7")
async def test_copy_knows_one_account(jmap: Jmap) -> None:
    assert (await jmap.refused("Email/copy", fromAccountId="A9", create={}))["type"] == "fromAccountNotFound"
    assert (await jmap.refused("Email/copy", fromAccountId=jmap.account, create={}))["type"] == "invalidArguments"


@pytest.mark.rfc("8621", "4.9")
async def test_parse(jmap: Jmap, store: StoreFixture) -> None:
    outer = b"Subject: outer\r\nContent-Type: message/rfc822\r\n\r\n" + MIXED
    await filled(store, outer)
    [email_id] = await ids(jmap)
    [email] = (await jmap.call("Email/get", ids=[email_id], properties=["attachments"]))["list"]
    [attached] = email["attachments"]
    assert attached["type"] == "message/rfc822"
    noise = (await jmap.upload(b"\0\1\2"))["blobId"]
    answer = await jmap.call("Email/parse", blobIds=[attached["blobId"], noise, "U" + "0" * 64], properties=[
        "id", "threadId", "subject", "preview", "hasAttachment", "blobId", "attachments",
    ])  # fmt: skip
    parsed = answer["parsed"][attached["blobId"]]
    assert (parsed["id"], parsed["threadId"], parsed["subject"]) == (None, None, "Grüße from afar")
    assert (parsed["hasAttachment"], parsed["preview"]) == (True, "Grüße")
    assert answer["notParsable"] == [noise]
    assert answer["notFound"] == ["U" + "0" * 64]


@pytest.mark.rfc("8621", "5")
async def test_snippets(jmap: Jmap, store: StoreFixture) -> None:
    await filled(store, mail("Apples & <pears>", "much " * 100 + "about <b>apple</b> pie " + "more " * 100))
    [email_id] = await ids(jmap)
    answer = await jmap.call("SearchSnippet/get", filter={"text": "apple"}, emailIds=[email_id, "M999"])
    assert answer["notFound"] == ["M999"]
    [found] = answer["list"]
    assert found["subject"] == "<mark>Apple</mark>s &amp; &lt;pears&gt;"
    assert "about &lt;b&gt;<mark>apple</mark>&lt;/b&gt; pie" in found["preview"]
    assert len(found["preview"]) < 400
    [nothing] = (await jmap.call("SearchSnippet/get", filter={"from": "x"}, emailIds=[email_id]))["list"]
    assert (nothing["subject"], nothing["preview"]) == (None, None)


async def test_accounts_are_apart(jmap: Jmap, http: HttpFixture, store: StoreFixture) -> None:
    await filled(store, mail("secret"))
    [email_id] = await ids(jmap)
    async with jmap_client(http, "other@example.com") as other:
        assert await ids(other) == []
        assert (await other.call("Email/get", ids=[email_id]))["notFound"] == [email_id]
        assert (await other.refused("Email/get", accountId=jmap.account, ids=[]))["type"] == "accountNotFound"
