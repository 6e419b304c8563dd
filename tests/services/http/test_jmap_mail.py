"""JMAP Mail over a real socket (RFC 8621)."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest

from services.common.domain import DELETED, FLAGGED, SEEN, AppendItem, FlagChange, FlagOperation, Quota
from tests.support.http import USER, HttpFixture, Jmap, jmap_client
from tests.support.store import StoreFixture
from tests.support.stores import mail

MIXED = (
    b"Received: from x by y; Mon, 2 Jan 2006 15:04:05 -0700\r\n"
    b'From: =?utf-8?q?J=C3=BCrgen?= <j@example.org>, Team: a@x.org, "B, C" <b@x.org>;\r\n'
    b"To: Anna <anna@example.com>\r\nSubject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\n from afar\r\n"
    b"Date: Mon, 2 Jan 2006 15:04:05 -0700\r\nMessage-ID: <one@example.org>\r\n"
    b"References: <zero@example.org>\r\n <half@example.org>\r\nList-Post: <mailto:list@example.org>\r\n"
    b"X-Twice: one\r\nX-Twice: =?utf-8?q?zw=C3=B6lf?=\r\nMIME-Version: 1.0\r\n"
    b"Content-Type: multipart/mixed; boundary=m\r\n\r\n--m\r\nContent-Type: multipart/alternative; boundary=a\r\n\r\n"
    b"--a\r\nContent-Type: text/plain; charset=iso-8859-1\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n"
    b"Gr=FC=DFe\r\n--a\r\nContent-Type: text/html; charset=utf-8\r\n\r\n<p>Gr\xc3\xbc\xc3\x9fe</p>\r\n--a--\r\n"
    b'--m\r\nContent-Type: application/pdf; name="a b.pdf"\r\nContent-Disposition: attachment\r\n'
    b"Content-Transfer-Encoding: base64\r\nContent-ID: <c1@x>\r\n\r\nYWJj\r\n--m--\r\n"
)


async def filled(store: StoreFixture, *bodies: bytes, mailbox: str = "INBOX", **what: Any) -> None:
    """Messages for anna, one after the other."""
    account = await store.store.open_account(USER)
    for number, body in enumerate(bodies):
        item = AppendItem(body, **{"internaldate": 1_700_000_000 + number, **what})
        await store.store.append(account.account_id, mailbox, [item], Quota(), request_id=str(uuid4()))


async def ids(jmap: Jmap, **what: Any) -> list[str]:
    """What a query finds."""
    found: list[str] = (await jmap.call("Email/query", **what))["ids"]
    return found


async def subjects(jmap: Jmap, **what: Any) -> list[str]:
    """The subjects of what a query finds, in its order."""
    answer = await jmap.call("Email/get", ids=await ids(jmap, **what), properties=["subject"])
    return [email["subject"] for email in answer["list"]]


# ---- Mailbox --------------------------------------------------------------------------------------------------------
@pytest.mark.rfc("8621", "2")
async def test_mailboxes_with_their_properties(jmap: Jmap, store: StoreFixture) -> None:
    await filled(store, mail(), mail("Re: Hello"))
    answer = await jmap.call("Mailbox/get")
    by_role = {box["role"]: box for box in answer["list"]}
    assert set(by_role) == {"inbox", "archive", "drafts", "junk", "sent", "trash"}
    inbox = by_role["inbox"]
    assert inbox == {
        "id": inbox["id"], "name": "INBOX", "parentId": None, "role": "inbox", "sortOrder": 0, "totalEmails": 2,
        "unreadEmails": 2, "totalThreads": 2, "unreadThreads": 2, "myRights": inbox["myRights"], "isSubscribed": True,
    }  # fmt: skip
    assert inbox["myRights"]["mayReadItems"] is True
    assert inbox["myRights"]["mayDelete"] is False
    some = await jmap.call("Mailbox/get", ids=[inbox["id"], "F999", "x"], properties=["name"])
    assert some["list"] == [{"id": inbox["id"], "name": "INBOX"}]
    assert some["notFound"] == ["F999", "x"]


@pytest.mark.rfc("8621", "2.5")
async def test_mailboxes_are_made_changed_and_destroyed(jmap: Jmap) -> None:
    state = (await jmap.call("Mailbox/get", ids=[]))["state"]
    made = await jmap.call("Mailbox/set", create={
        "b": {"name": "Below", "parentId": "#a"}, "a": {"name": "Above", "isSubscribed": True},
        "c": {"name": "Above"}, "d": {"name": ""}, "e": {"name": "x", "parentId": "F999"},
        "f": {"name": "x/y"}, "g": {"name": "x", "nothing": 1}, "h": {"name": "x", "sortOrder": 5},
        "i": {"name": "Other", "role": "inbox"},
    })  # fmt: skip
    assert set(made["created"]) == {"a", "b"}
    assert made["created"]["a"]["totalEmails"] == 0
    wrong = {key: value["properties"][0] for key, value in made["notCreated"].items()}
    assert wrong == {
        "c": "name", "d": "name", "e": "parentId", "f": "name", "g": "nothing", "h": "sortOrder", "i": "role",
    }  # fmt: skip
    assert made["oldState"] == state
    above, below = made["created"]["a"]["id"], made["created"]["b"]["id"]
    changes = await jmap.call("Mailbox/changes", sinceState=state)
    assert (set(changes["created"]), changes["updated"], changes["hasMoreChanges"]) == ({above, below}, [], False)
    moved = await jmap.call("Mailbox/set", update={
        below: {"parentId": None, "name": "Free"}, above: {"isSubscribed": False}, "F999": {"name": "x"},
    })  # fmt: skip
    assert set(moved["updated"]) == {above, below}
    assert moved["notUpdated"] == {"F999": {"type": "notFound"}}
    boxes = {box["id"]: box for box in (await jmap.call("Mailbox/get"))["list"]}
    assert (boxes[below]["name"], boxes[below]["parentId"], boxes[above]["isSubscribed"]) == ("Free", None, False)
    back = await jmap.call("Mailbox/set", update={below: {"parentId": above}})
    assert back["updated"] == {below: None}
    refused = await jmap.call("Mailbox/set", destroy=[above, "F999"])
    assert refused["notDestroyed"] == {above: {"type": "mailboxHasChild"}, "F999": {"type": "notFound"}}
    gone = await jmap.call("Mailbox/set", destroy=[above, below])
    assert set(gone["destroyed"]) == {above, below}
    changes = await jmap.call("Mailbox/changes", sinceState=moved["newState"])
    assert set(changes["destroyed"]) == {above, below}


async def test_subscriptions_follow_a_rename(jmap: Jmap) -> None:
    made = await jmap.call("Mailbox/set", create={
        "a": {"name": "Above", "isSubscribed": True}, "b": {"name": "Below", "parentId": "#a", "isSubscribed": True},
        "c": {"name": "Other", "parentId": "#a"},
    })  # fmt: skip
    a, b, c = (made["created"][key]["id"] for key in "abc")
    await jmap.call("Mailbox/set", update={a: {"name": "Renamed"}})
    boxes = {box["id"]: box for box in (await jmap.call("Mailbox/get", ids=[a, b, c]))["list"]}
    assert [boxes[each]["isSubscribed"] for each in (a, b, c)] == [True, True, False]
    assert boxes[a]["name"] == "Renamed"


async def test_a_mailbox_with_mail_goes_only_when_asked_twice(jmap: Jmap, store: StoreFixture) -> None:
    box = (await jmap.call("Mailbox/set", create={"a": {"name": "Full"}}))["created"]["a"]["id"]
    await filled(store, mail(), mail(), mailbox="Full")
    inbox = (await jmap.mailboxes())["INBOX"]
    [kept, _] = await ids(jmap, filter={"inMailbox": box})
    await jmap.call("Email/set", update={kept: {f"mailboxIds/{inbox}": True}})
    state = (await jmap.call("Email/get", ids=[]))["state"]
    assert (await jmap.call("Mailbox/set", destroy=[box]))["notDestroyed"][box]["type"] == "mailboxHasEmail"
    assert (await jmap.call("Mailbox/set", destroy=[box], onDestroyRemoveEmails=True))["destroyed"] == [box]
    assert await ids(jmap) == [kept], "it is elsewhere too"
    changes = await jmap.call("Email/changes", sinceState=state)
    assert (changes["updated"], len(changes["destroyed"])) == ([kept], 1)
    assert (await jmap.call("Mailbox/set", destroy=[inbox], onDestroyRemoveEmails=True))["notDestroyed"][inbox] == {
        "type": "forbidden", "description": "INBOX stays",
    }  # fmt: skip


@pytest.mark.rfc("8621", "2.3")
async def test_queries_of_mailboxes(jmap: Jmap) -> None:
    made = await jmap.call("Mailbox/set", create={
        "a": {"name": "aaa"}, "b": {"name": "zzz", "parentId": "#a"}, "c": {"name": "bbb"},
    })  # fmt: skip
    a, b, c = (made["created"][key]["id"] for key in "abc")

    async def found(**what: Any) -> list[str]:
        return list((await jmap.call("Mailbox/query", **what))["ids"])

    assert await found(filter={"hasAnyRole": False}, sort=[{"property": "name"}]) == [a, c, b]
    assert await found(filter={"hasAnyRole": False}, sort=[{"property": "name"}], sortAsTree=True) == [a, b, c]
    assert await found(filter={"parentId": a}) == [b]
    assert await found(filter={"parentId": a}, filterAsTree=True) == []
    assert await found(filter={"name": "BB"}) == [c]
    assert len(await found(filter={"role": "trash"})) == 1
    operator = {"operator": "NOT", "conditions": [{"isSubscribed": True}, {"name": "aaa"}]}
    assert set(await found(filter=operator)) == {b, c}
    assert (await jmap.refused("Mailbox/query", filter={"colour": "red"}))["type"] == "unsupportedFilter"
    assert (await jmap.refused("Mailbox/query", sort=[{"property": "colour"}]))["type"] == "unsupportedSort"
    state = (await jmap.call("Mailbox/query", filter={"name": "zzz"}))["queryState"]
    await jmap.call("Mailbox/set", update={c: {"name": "zzzz"}})
    changes = await jmap.call("Mailbox/queryChanges", filter={"name": "zzz"}, sinceQueryState=state)
    assert {"id": c, "index": (await found(filter={"name": "zzz"})).index(c)} in changes["added"]


# ---- Email/get ------------------------------------------------------------------------------------------------------
@pytest.mark.rfc("8621", "4.1")
async def test_an_email_with_all_its_properties(jmap: Jmap, store: StoreFixture) -> None:
    await filled(store, MIXED, system=SEEN | FLAGGED, keywords=("$Forwarded",))
    [email_id] = await ids(jmap)
    [email] = (await jmap.call(
        "Email/get", ids=[email_id], fetchAllBodyValues=True,
        properties=[
            "threadId", "mailboxIds", "keywords", "size", "receivedAt", "from", "to", "cc", "subject", "sentAt",
            "messageId", "references", "inReplyTo", "hasAttachment", "preview", "bodyStructure", "bodyValues",
            "textBody", "htmlBody", "attachments", "headers", "header:From:asGroupedAddresses", "header:Subject",
            "header:X-Twice:asText:all", "header:x-twice", "header:List-Post:asURLs", "header:X-None:asDate",
        ],
    ))["list"]  # fmt: skip
    assert email["keywords"] == {"$flagged": True, "$forwarded": True, "$seen": True}
    assert (email["size"], email["receivedAt"]) == (len(MIXED), "2023-11-14T22:13:20Z")
    assert email["from"] == [
        {"name": "Jürgen", "email": "j@example.org"}, {"name": None, "email": "a@x.org"},
        {"name": "B, C", "email": "b@x.org"},
    ]  # fmt: skip
    assert email["header:From:asGroupedAddresses"][1]["name"] == "Team"
    assert (email["subject"], email["cc"], email["inReplyTo"]) == ("Grüße from afar", None, None)
    assert email["sentAt"] == "2006-01-02T15:04:05-07:00"
    assert (email["messageId"], email["references"]) == (["one@example.org"], ["zero@example.org", "half@example.org"])
    assert email["header:X-Twice:asText:all"] == ["one", "zwölf"]
    assert email["header:x-twice"] == " =?utf-8?q?zw=C3=B6lf?="
    assert email["header:List-Post:asURLs"] == ["mailto:list@example.org"]
    assert email["header:X-None:asDate"] is None
    assert email["headers"][0]["name"] == "Received"
    assert email["hasAttachment"] is True
    assert email["preview"] == "Grüße"
    [text], [html], [attached] = email["textBody"], email["htmlBody"], email["attachments"]
    assert email["bodyValues"][text["partId"]] == {"value": "Grüße", "isEncodingProblem": False, "isTruncated": False}
    assert email["bodyValues"][html["partId"]]["value"] == "<p>Grüße</p>"
    assert (attached["name"], attached["type"], attached["size"], attached["cid"]) == (
        "a b.pdf",
        "application/pdf",
        3,
        "c1@x",
    )
    assert (await jmap.download(attached["blobId"])).body == b"abc"
    structure = email["bodyStructure"]
    assert (structure["type"], structure["partId"]) == ("multipart/mixed", None)
    assert [part["type"] for part in structure["subParts"]] == ["multipart/alternative", "application/pdf"]
    raw = (await jmap.call("Email/get", ids=[email_id], properties=["blobId"]))["list"][0]["blobId"]
    assert (await jmap.download(raw)).body == MIXED
    assert (await jmap.download(raw, Range="bytes=0-8")).body == MIXED[:9]


async def test_usual_properties_and_cut_texts(jmap: Jmap, store: StoreFixture) -> None:
    await filled(store, mail("Hello", "äöü" * 50, extra="Content-Type: text/plain; charset=utf-8"))
    [email_id] = await ids(jmap)
    [email] = (await jmap.call("Email/get", ids=[email_id], fetchTextBodyValues=True, maxBodyValueBytes=9))["list"]
    assert email["bodyValues"]["1"] == {"value": "äöüä", "isEncodingProblem": False, "isTruncated": True}
    assert "bodyStructure" not in email
    assert email["from"] == [{"name": "Ada", "email": "ada@example.org"}]
    answer = await jmap.call("Email/get", ids=[email_id, "M999", "T1", email_id], properties=["id"])
    assert (answer["list"], answer["notFound"]) == ([{"id": email_id}], ["M999", "T1"])
    assert (await jmap.call("Email/get", ids=None, properties=["id"]))["list"] == [{"id": email_id}]
    [thread] = (await jmap.call("Thread/get", ids=None))["list"]
    assert thread["emailIds"] == [email_id]


@pytest.mark.parametrize(
    "name", ["nothing", "header:", "header:A B", "header:X:asNothing", "header:Subject:asDate", "header:From:asText",
             "header:X:all:asText", "header:Date:asAddresses"]
)  # fmt: skip
async def test_properties_that_are_none(jmap: Jmap, name: str) -> None:
    assert (await jmap.refused("Email/get", ids=[], properties=[name]))["type"] == "invalidArguments"


async def test_a_deleted_message_is_not_there(jmap: Jmap, store: StoreFixture) -> None:
    await filled(store, mail("one"), mail("two"))
    account = await store.store.open_account(USER)
    inbox = await store.store.get_mailbox(account.account_id, "INBOX")
    gone = (await ids(jmap))[1]
    state = (await jmap.call("Email/get", ids=[]))["state"]
    await store.store.modify_flags(account.account_id, inbox.mailbox_id, [1], FlagChange(FlagOperation.ADD, DELETED))
    assert await subjects(jmap) == ["two"]
    assert (await jmap.call("Email/changes", sinceState=state))["destroyed"] == [gone]
    assert [box["totalEmails"] for box in (await jmap.call("Mailbox/get"))["list"] if box["role"] == "inbox"] == [1]


# ---- Email/query ----------------------------------------------------------------------------------------------------
@pytest.mark.rfc("8621", "4.4.1")
async def test_filters(jmap: Jmap, store: StoreFixture) -> None:
    await filled(store, mail("apple pie", "sweet"), mail("pear", "sour " * 300), MIXED, system=SEEN)
    await filled(store, mail("banana", "yellow", extra="Cc: carl@example.net"), mailbox="Archive")
    boxes = await jmap.mailboxes()

    async def found(**condition: Any) -> set[str]:
        return set(await subjects(jmap, filter=condition))

    everything = {"apple pie", "pear", "Grüße from afar", "banana"}
    assert await found() == everything
    assert await found(inMailbox=boxes["Archive"]) == {"banana"}
    assert await found(inMailbox="F999") == set()
    assert await found(inMailboxOtherThan=[boxes["Archive"]]) == everything - {"banana"}
    assert await found(before="2023-11-14T22:13:21Z") == {"apple pie", "banana"}
    assert await found(after="2023-11-14T22:13:22Z") == {"Grüße from afar"}
    assert await found(minSize=len(MIXED)) == {"pear", "Grüße from afar"}
    assert await found(maxSize=len(MIXED)) == {"apple pie", "banana"}
    assert await found(hasKeyword="$Seen") == everything - {"banana"}
    assert await found(notKeyword="$seen") == {"banana"}
    assert await found(hasAttachment=True) == {"Grüße from afar"}
    assert await found(hasAttachment=False) == everything - {"Grüße from afar"}
    assert await found(text="sweet") == {"apple pie"}
    assert await found(text="apple sweet") == {"apple pie"}
    assert await found(text='"apple pie"') == {"apple pie"}
    assert await found(text='"pie apple"') == set()
    assert await found(**{"from": "jürgen"}) == {"Grüße from afar"}
    assert await found(to="anna") == {"Grüße from afar"}
    assert await found(cc="carl") == {"banana"}
    assert await found(bcc="x") == set()
    assert await found(subject="GRÜSSE") == {"Grüße from afar"}
    assert await found(body="yellow") == {"banana"}
    assert await found(header=["X-Twice"]) == {"Grüße from afar"}
    assert await found(header=["X-Twice", "one"]) == {"Grüße from afar"}
    assert await found(header=["X-Twice", "two"]) == set()
    assert await found(allInThreadHaveKeyword="$seen") == everything - {"banana"}
    assert await found(someInThreadHaveKeyword="$seen") == everything - {"banana"}
    assert await found(noneInThreadHaveKeyword="$seen") == {"banana"}
    either = {"operator": "OR", "conditions": [{"subject": "pear"}, {"body": "yellow", "inMailbox": boxes["Archive"]}]}
    assert await found(**either) == {"pear", "banana"}
    assert await found(operator="NOT", conditions=[either]) == {"apple pie", "Grüße from afar"}
    for wrong in ({"colour": 1}, {"operator": "AND", "conditions": [{"x": 1}]}):
        assert (await jmap.refused("Email/query", filter=wrong))["type"] == "unsupportedFilter"
    wrongs: tuple[dict[str, Any], ...] = (
        {"before": "x"},
        {"minSize": -1},
        {"operator": "XOR", "conditions": []},
        {"header": []},
        {"text": 1},
    )
    for bad in wrongs:
        assert (await jmap.refused("Email/query", filter=bad))["type"] == "invalidArguments", bad


@pytest.mark.rfc("8621", "4.4.2")
async def test_sorts(jmap: Jmap, store: StoreFixture) -> None:
    def message(subject: str, sender: str, to: str, date: str, size: int) -> bytes:
        return f"Subject: {subject}\r\nFrom: {sender}\r\nTo: {to}\r\nDate: {date}\r\n\r\n{'x' * size}\r\n".encode()

    await filled(
        store,
        message("Re: beta", "Zed <a@x.org>", "m@x.org", "Tue, 3 Jan 2006 00:00:00 +0000", 50),
        message("alpha", "adam@x.org", "n@x.org", "Mon, 2 Jan 2006 00:00:00 +0000", 10),
        message("[list] Gamma", "Mia <c@x.org>", "l@x.org", "Wed, 4 Jan 2006 00:00:00 +0000", 30),
    )
    orders = {
        "receivedAt": ["Re: beta", "alpha", "[list] Gamma"],
        "size": ["alpha", "[list] Gamma", "Re: beta"],
        "from": ["alpha", "[list] Gamma", "Re: beta"],
        "to": ["[list] Gamma", "Re: beta", "alpha"],
        "subject": ["alpha", "Re: beta", "[list] Gamma"],
        "sentAt": ["alpha", "Re: beta", "[list] Gamma"],
    }
    for name, order in orders.items():
        assert await subjects(jmap, sort=[{"property": name}]) == order, name
        assert await subjects(jmap, sort=[{"property": name, "isAscending": False}]) == order[::-1], name
    assert await subjects(jmap) == orders["receivedAt"][::-1]
    [first, *_] = await ids(jmap, filter={"subject": "alpha"})
    await jmap.call("Email/set", update={first: {"keywords/$flagged": True}})
    for name in ("hasKeyword", "allInThreadHaveKeyword", "someInThreadHaveKeyword"):
        flagged = [{"property": name, "keyword": "$flagged", "isAscending": False}, {"property": "size"}]
        assert await subjects(jmap, sort=flagged) == ["alpha", "[list] Gamma", "Re: beta"]
    for wrong in ([{"property": "colour"}], [{"property": "size", "collation": "x"}]):
        assert (await jmap.refused("Email/query", sort=wrong))["type"] == "unsupportedSort"
    assert (await jmap.refused("Email/query", sort=[{"property": "hasKeyword"}]))["type"] == "invalidArguments"


@pytest.mark.rfc("8620", "5.5")
async def test_windows(jmap: Jmap, store: StoreFixture) -> None:
    await filled(store, *(mail(f"number {number}") for number in range(7)))
    everything = await ids(jmap)

    async def window(**what: Any) -> tuple[int, list[str]]:
        answer = await jmap.call("Email/query", **what)
        return answer["position"], answer["ids"]

    assert await window(position=2, limit=3) == (2, everything[2:5])
    assert await window(position=-2) == (5, everything[5:])
    assert await window(position=-20, limit=1) == (0, everything[:1])
    assert await window(position=20) == (20, [])
    assert await window(anchor=everything[3], anchorOffset=-1, limit=2) == (2, everything[2:4])
    assert await window(anchor=everything[0], anchorOffset=-5, limit=2) == (0, everything[:2])
    assert await window(limit=0) == (0, [])
    assert (await jmap.refused("Email/query", anchor="M999"))["type"] == "anchorNotFound"
    assert (await jmap.refused("Email/query", limit=-1))["type"] == "invalidArguments"
    assert (await jmap.call("Email/query", calculateTotal=True, limit=1))["total"] == 7
    assert "total" not in await jmap.call("Email/query")


@pytest.mark.rfc("8621", "4.4.3")
async def test_threads_are_shown_once(jmap: Jmap, store: StoreFixture) -> None:
    await filled(
        store, mail("one", message_id="<1@x>"), mail("two", message_id="<2@x>"),
        mail("Re: one", message_id="<3@x>", references="<1@x>"),
    )  # fmt: skip
    assert await subjects(jmap, collapseThreads=True) == ["Re: one", "two"]
    emails = (await jmap.call("Email/get", ids=await ids(jmap), properties=["threadId"]))["list"]
    thread = emails[0]["threadId"]
    assert thread == emails[2]["threadId"] != emails[1]["threadId"]
    answer = await jmap.call("Thread/get", ids=[thread, "T999"])
    assert answer["list"] == [{"id": thread, "emailIds": [emails[2]["id"], emails[0]["id"]]}]
    assert answer["notFound"] == ["T999"]


@pytest.mark.rfc("8620", "3.7")
async def test_the_first_page_in_one_request(jmap: Jmap, store: StoreFixture) -> None:
    await filled(store, mail("one", message_id="<1@x>"), mail("Re: one", references="<1@x>"))
    inbox = (await jmap.mailboxes())["INBOX"]
    answer = await jmap.request(
        ("Email/query", {"filter": {"inMailbox": inbox}, "collapseThreads": True, "limit": 10}),
        ("Email/get", {"#ids": {"resultOf": "0", "name": "Email/query", "path": "/ids"}, "properties": ["threadId"]}),
        ("Thread/get", {"#ids": {"resultOf": "1", "name": "Email/get", "path": "/list/*/threadId"}}),
        ("Email/get", {"#ids": {"resultOf": "2", "name": "Thread/get", "path": "/list/*/emailIds"},
                       "properties": ["subject", "from", "keywords", "preview", "hasAttachment", "receivedAt"]}),
    )  # fmt: skip
    assert [email["subject"] for email in answer["methodResponses"][3][1]["list"]] == ["one", "Re: one"]


# ---- Email/changes, queryChanges ------------------------------------------------------------------------------------
@pytest.mark.rfc("8621", "4.3")
async def test_changes_in_parts(jmap: Jmap, store: StoreFixture) -> None:
    await filled(store, *(mail(f"old {number}") for number in range(4)))
    old = await ids(jmap)
    state = (await jmap.call("Email/get", ids=[]))["state"]
    await filled(store, *(mail(f"new {number}") for number in range(4)))
    await jmap.call("Email/set", update={old[0]: {"keywords/$seen": True}}, destroy=[old[1]])
    told: dict[str, list[str]] = {"created": [], "updated": [], "destroyed": []}
    since, more = state, True
    while more:
        answer = await jmap.call("Email/changes", sinceState=since, maxChanges=2)
        assert sum(len(answer[name]) for name in told) <= 2
        for name in told:
            told[name] += answer[name]
        assert answer["oldState"] == since
        since, more = answer["newState"], answer["hasMoreChanges"]
    assert set(told["created"]) == set(await ids(jmap, filter={"subject": "new"}))
    assert (told["updated"], told["destroyed"]) == ([old[0]], [old[1]])
    assert since == (await jmap.call("Email/get", ids=[]))["state"]
    whole = await jmap.call("Email/changes", sinceState=state)
    assert {name: set(whole[name]) for name in told} == {name: set(found) for name, found in told.items()}
    threads = await jmap.call("Thread/changes", sinceState=state)
    assert (len(threads["created"]), threads["updated"], len(threads["destroyed"])) == (4, [], 1)
    for wrong in ("x", "", "9", "1.2.3"):
        refused = await jmap.refused("Email/changes", sinceState=wrong)
        assert refused["type"] == "cannotCalculateChanges"
    assert (await jmap.refused("Email/changes", sinceState=state, maxChanges=0))["type"] == "invalidArguments"


@pytest.mark.rfc("8621", "4.5")
async def test_query_changes_lead_from_old_results_to_new_ones(jmap: Jmap, store: StoreFixture) -> None:
    await filled(store, *(mail(f"number {number}", message_id=f"<{number}@x>") for number in range(6)))
    inbox = (await jmap.mailboxes())["INBOX"]
    for collapse in (False, True):
        what: dict[str, Any] = {
            "filter": {"inMailbox": inbox, "notKeyword": "$junk"}, "collapseThreads": collapse,
            "sort": [{"property": "hasKeyword", "keyword": "$flagged"}, {"property": "subject"}],
        }  # fmt: skip
        before = await jmap.call("Email/query", **what)
        known = before["ids"]
        number = "2" if collapse else "1"
        await jmap.call(
            "Email/set", destroy=[known[0]],
            update={known[1]: {"keywords/$flagged": True}, known[2]: {"keywords/$junk": True}},
        )  # fmt: skip
        await filled(store, mail(f"Re: number {number}", references=f"<{number}@x>"), mail(f"another {collapse}"))
        changes = await jmap.call(
            "Email/queryChanges", sinceQueryState=before["queryState"], calculateTotal=True, **what
        )
        followed = [each for each in known if each not in set(changes["removed"])]
        for added in changes["added"]:
            followed.insert(added["index"], added["id"])
        now = await jmap.call("Email/query", **what)
        assert followed == now["ids"]
        assert (changes["newQueryState"], changes["total"]) == (now["queryState"], len(now["ids"]))
        few = await jmap.refused("Email/queryChanges", sinceQueryState=before["queryState"], maxChanges=1, **what)
        assert few["type"] == "tooManyChanges"


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
    from tests.support.http import http_service, people

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
