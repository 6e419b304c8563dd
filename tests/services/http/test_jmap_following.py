"""Whatever happens to an account, what is told of changes adds up to what there is (RFC 8620 sections 5.2, 5.6)."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.common.domain import SEEN, FlagChange, FlagOperation, Recipient
from tests.support.http import USER, Jmap, http_service, jmap_client
from tests.support.store import StoreFixture
from tests.support.stores import FREE, mail, request

BOXES = ("INBOX", "Archive", "Trash")
STEPS = st.lists(
    st.tuples(
        st.sampled_from(
            ["deliver", "reply", "flag", "unflag", "move", "copy", "destroy", "look", "imap move", "mailbox"]
        ),
        st.integers(0, 5),
        st.integers(0, 2),
    ),
    min_size=1,
    max_size=25,
)
QUERIES: list[dict[str, Any]] = [
    {},
    {"collapseThreads": True},
    {"filter": {"notKeyword": "$flagged"}, "sort": [{"property": "subject"}, {"property": "receivedAt"}]},
    {"filter": {"someInThreadHaveKeyword": "$flagged"}, "collapseThreads": True},
    {"sort": [{"property": "allInThreadHaveKeyword", "keyword": "$flagged"}, {"property": "size"}]},
]


class Client:
    """Keeps emails, threads, mailboxes and the results of queries by what it is told."""

    def __init__(self, jmap: Jmap, most: int | None) -> None:
        self.jmap, self.most = jmap, most
        self.known: dict[str, dict[str, Any]] = {}
        self.states: dict[str, str] = {}
        self.results: list[tuple[str, list[str]]] = []

    async def start(self) -> None:
        """Read everything."""
        ids = (await self.jmap.call("Email/query"))["ids"]
        threads = {one["threadId"] for one in await self.read("Email", ids)}
        for kind, wanted in (("Email", ids), ("Thread", sorted(threads)), ("Mailbox", None)):
            answer = await self.jmap.call(f"{kind}/get", ids=wanted, **self.shown(kind))
            self.known[kind] = {one["id"]: one for one in answer["list"]}
            self.states[kind] = answer["state"]
        for query in QUERIES:
            answer = await self.jmap.call("Email/query", **query)
            self.results.append((answer["queryState"], answer["ids"]))

    def shown(self, kind: str) -> dict[str, Any]:
        """Properties that are looked at."""
        return {"properties": ["threadId", "mailboxIds", "keywords", "subject"]} if kind == "Email" else {}

    async def read(self, kind: str, ids: list[str]) -> list[dict[str, Any]]:
        """Records."""
        found: list[dict[str, Any]] = (await self.jmap.call(f"{kind}/get", ids=ids, **self.shown(kind)))["list"]
        return found

    async def follow(self) -> None:
        """Take up what happened."""
        for kind in self.known:
            more = True
            while more:
                answer = await self.jmap.call(f"{kind}/changes", sinceState=self.states[kind], maxChanges=self.most)
                for gone in answer["destroyed"]:
                    self.known[kind].pop(gone, None)
                for one in await self.read(kind, answer["created"] + answer["updated"]):
                    self.known[kind][one["id"]] = one
                self.states[kind], more = answer["newState"], answer["hasMoreChanges"]
        for at, query in enumerate(QUERIES):
            state, ids = self.results[at]
            answer = await self.jmap.call("Email/queryChanges", sinceQueryState=state, **query)
            ids = [each for each in ids if each not in set(answer["removed"])]
            for added in answer["added"]:
                ids.insert(added["index"], added["id"])
            self.results[at] = (answer["newQueryState"], ids)


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(STEPS, st.sampled_from([None, 1, 3]))
@pytest.mark.rfc("8620", "5.6")
def test_following_leads_to_what_there_is(steps: list[tuple[str, int, int]], most: int | None) -> None:
    asyncio.run(play(steps, most))


async def play(steps: list[tuple[str, int, int]], most: int | None) -> None:
    """Do these things; look now and then."""
    async with StoreFixture() as store, http_service(store) as http, jmap_client(http) as jmap:
        for number in range(3):
            await deliver(store, f"first {number}", number, "INBOX")
        client = Client(jmap, most)
        await client.start()
        for name, number, which in steps:
            if name == "look":
                await client.follow()
            else:
                await step(store, jmap, name, number, BOXES[which])
        await client.follow()
        fresh = Client(jmap, None)
        await fresh.start()
        assert client.known == fresh.known
        assert [ids for _, ids in client.results] == [ids for _, ids in fresh.results]


async def deliver(store: StoreFixture, subject: str, number: int, mailbox: str, references: str = "") -> None:
    """A message."""
    body = mail(subject, message_id=f"<{number}@x>", references=references)
    await store.client.deliver([Recipient(USER, mailbox)], body, request_id=request())


async def step(store: StoreFixture, jmap: Jmap, name: str, number: int, mailbox: str) -> None:
    """One thing that happens, by JMAP or in another way."""
    if name in ("deliver", "reply"):
        await deliver(store, f"{name} {number}", number, mailbox, f"<{number}@x>" if name == "reply" else "")
        return
    if name == "mailbox":
        boxes = await jmap.mailboxes()
        made = f"Made{number}"
        change = {"destroy": [boxes[made]]} if made in boxes else {"create": {"a": {"name": made}}}
        await jmap.call("Mailbox/set", onDestroyRemoveEmails=True, **change)
        return
    if name == "imap move":
        account = await store.client.open_account(USER)
        box = await store.client.get_mailbox(account.account_id, mailbox)
        uids = list((await store.client.sync_mailbox(account.account_id, box.mailbox_id)).changed.uids)[: number + 1]
        where = (account.account_id, box.mailbox_id, uids)
        await store.client.modify_flags(*where, FlagChange(FlagOperation.ADD, SEEN))
        await store.client.copy_messages(*where, "Archive", FREE, move=True, request_id=request())
        return
    ids = (await jmap.call("Email/query"))["ids"]
    if not ids:
        return
    chosen, target = ids[number % len(ids)], (await jmap.mailboxes())[mailbox]
    patches: dict[str, dict[str, Any]] = {
        "flag": {"keywords/$flagged": True},
        "unflag": {"keywords/$flagged": None},
        "move": {"mailboxIds": {target: True}},
        "copy": {f"mailboxIds/{target}": True},
    }
    if name == "destroy":
        await jmap.call("Email/set", destroy=[chosen])
    else:
        await jmap.call("Email/set", update={chosen: patches[name]})
