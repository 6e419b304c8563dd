"""JMAP Mail over a real socket: mailboxes, emails as they are, queries and changes (RFC 8621)."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from services.common.domain import DELETED, FLAGGED, SEEN, FlagChange, FlagOperation
from services.http.mail import querying
from tests.support.http import USER, HttpFixture, Jmap, jmap_client
from tests.support.jmapmail import MIXED, filled, ids, subjects
from tests.support.store import StoreFixture
from tests.support.stores import mail


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


async def test_long_queries_let_others_have_their_turn_and_miss_no_change(
    jmap: Jmap, http: HttpFixture, store: StoreFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(querying, "STEP", 2)
    await filled(store, *(mail(f"number {number}") for number in range(9)))
    sort = [{"property": "size"}, {"property": "subject"}]
    assert await subjects(jmap, sort=sort) == [f"number {number}" for number in range(9)]
    async with jmap_client(http) as other:
        waiting = [asyncio.create_task(ids(jmap, filter={"subject": "number"}, sort=sort)) for _ in range(3)]
        await filled(store, mail("number 9"))
        await other.mailboxes()
        found = await asyncio.gather(*waiting)
    assert all(len(each) in (9, 10) for each in found)
    assert len(await ids(jmap, filter={"subject": "number"}, sort=sort)) == 10


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
