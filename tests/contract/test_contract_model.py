"""Random operations against a model that is too simple to be wrong.

The model knows names, UIDs, flags and sizes only; after every few steps the store's counters, quota, flags and expunge
history must agree with it. Old copies brought up to date by `sync_mailbox` must equal fresh ones.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import cast

import pytest

from services.common.domain import (
    DELETED,
    FLAGGED,
    SEEN,
    SYSTEM_FLAGS,
    Account,
    AppendItem,
    Column,
    FlagChange,
    FlagEdit,
    FlagEdited,
    FlagOperation,
    MailboxDelta,
    MailboxId,
    Recipient,
)
from services.common.errors import Reason, StoreError
from services.common.store import Store
from services.store.backends import Transaction
from tests.support.stores import FREE, OpenStore, mail, request

STEPS = 120
NAMES = ["INBOX", "Sent", "a", "a/b", "a/b/c", "d"]
KEYWORDS = ["$Work", "later", "Junk", "x"]


@dataclass(slots=True)
class Message:
    """One message of the model."""

    flags: int
    keywords: frozenset[str]
    size: int


@dataclass(slots=True)
class Box:
    """One mailbox of the model; `next` is UIDNEXT."""

    messages: dict[int, Message] = field(default_factory=dict)
    next: int = 1


@dataclass(slots=True)
class Copy:
    """A client's copy of a mailbox, as of `modseq`."""

    modseq: int
    flags: dict[int, int]

    def apply(self, delta: MailboxDelta) -> None:
        """Bring it up to date."""
        assert delta.since in (0, self.modseq)
        for uid in delta.expunged:
            self.flags.pop(uid, None)
        self.flags.update(zip(delta.changed.uids, delta.changed.flags, strict=True))
        self.modseq = delta.status.modseq


class World:
    """The store and the model beside it."""

    def __init__(self, store: Store, account: Account, chance: random.Random) -> None:
        self.store = store
        self.account = account.account_id
        self.name = account.name
        self.chance = chance
        self.boxes: dict[str, Box] = {name: Box() for name in ("INBOX", "Archive", "Drafts", "Junk", "Sent", "Trash")}
        self.copies: dict[MailboxId, list[Copy]] = {}

    def some(self, box: Box) -> list[int]:
        """UIDs, of which some do not exist."""
        span = range(1, box.next + 2)
        first = self.chance.choice(span)
        if self.chance.random() < 0.5:
            return list(range(first, min(first + self.chance.randrange(8), box.next + 2)))
        return [self.chance.choice(span) for _ in range(self.chance.randrange(1, 6))]

    def flags(self) -> tuple[int, tuple[str, ...]]:
        """System flags and keywords."""
        bits = sum(bit for bit in SYSTEM_FLAGS if self.chance.random() < 0.4)
        return bits, tuple(name for name in KEYWORDS if self.chance.random() < 0.3)

    async def id_of(self, name: str) -> MailboxId:
        """The mailbox's id."""
        return (await self.store.get_mailbox(self.account, name)).mailbox_id

    async def append(self, name: str) -> None:
        """APPEND one to three."""
        box, items = self.boxes[name], []
        for _ in range(self.chance.randrange(1, 4)):
            system, keywords = self.flags()
            items.append(AppendItem(mail("x" * self.chance.randrange(30)), system, keywords))
        result = await self.store.append(self.account, name, items, FREE, request_id=request())
        for uid, item in zip(result.uids, items, strict=True):
            assert uid == box.next
            box.messages[uid] = Message(item.system, frozenset(item.keywords), len(item.body))
            box.next += 1

    async def deliver(self, name: str) -> None:
        """Deliver twice over."""
        body = mail()
        recipients = [Recipient(self.name, name, b"A: b\r\n"), Recipient(self.name, "no/such/folder")]
        results = await self.store.deliver(recipients, body, request_id=request())
        for target, recipient, result in zip((name, "INBOX"), recipients, results, strict=True):
            assert result.uid == self.boxes[target].next
            self.boxes[target].messages[result.uid] = Message(0, frozenset(), len(body) + len(recipient.prefix))
            self.boxes[target].next += 1

    async def store_flags(self, name: str) -> None:
        """STORE."""
        box, uids, (system, keywords) = self.boxes[name], self.some(self.boxes[name]), self.flags()
        operation = self.chance.choice([*FlagOperation])
        change = FlagChange(operation, system, keywords)
        mailbox_id = await self.id_of(name)
        touched = sorted(set(uids) & box.messages.keys())
        if not keywords and self.chance.random() < 0.5:
            edits = [FlagEdit(self.account, mailbox_id, uid, operation, system) for uid in uids]
            outcomes = await self.store.modify_each(edits) if edits else []
            living = {
                e.uid for e, one in zip(edits, outcomes, strict=True) if isinstance(one, FlagEdited) and one.modseq
            }
            assert sorted(living) == touched
        else:
            result = await self.store.modify_flags(self.account, mailbox_id, uids, change)
            assert list(result.rows.uids) == touched
        for uid in touched:
            message = box.messages[uid]
            if operation is FlagOperation.REPLACE:
                message.flags, message.keywords = system, frozenset(keywords)
            elif operation is FlagOperation.ADD:
                message.flags, message.keywords = message.flags | system, message.keywords | {*keywords}
            else:
                message.flags, message.keywords = message.flags & ~system, message.keywords - {*keywords}

    async def expunge(self, name: str) -> None:
        """EXPUNGE or UID EXPUNGE."""
        box = self.boxes[name]
        uids = self.some(box) if self.chance.random() < 0.6 else None
        result = await self.store.expunge(self.account, await self.id_of(name), uids)
        wanted = box.messages.keys() if uids is None else box.messages.keys() & set(uids)
        gone = sorted(uid for uid in wanted if box.messages[uid].flags & DELETED)
        assert list(result.uids) == gone
        for uid in gone:
            del box.messages[uid]

    async def copy(self, name: str) -> None:
        """COPY or MOVE."""
        target = self.chance.choice([*self.boxes])
        move = self.chance.random() < 0.5
        source, into, uids = self.boxes[name], self.boxes[target], self.some(self.boxes[name])
        result = await self.store.copy_messages(
            self.account, await self.id_of(name), uids, target, FREE, move=move, request_id=request()
        )
        assert list(result.source_uids) == sorted(set(uids) & source.messages.keys())
        for old, new in zip(result.source_uids, result.target_uids, strict=True):
            assert new == into.next
            message = source.messages[old]
            into.messages[new] = Message(message.flags, message.keywords, message.size)
            into.next += 1
            if move:
                del source.messages[old]

    async def create(self, _: str) -> None:
        """CREATE, with the levels above."""
        name = self.chance.choice(NAMES)
        if name in self.boxes:
            return
        await self.store.create_mailbox(self.account, name)
        levels = name.split("/")
        for count in range(1, len(levels) + 1):
            self.boxes.setdefault("/".join(levels[:count]), Box())

    async def delete(self, name: str) -> None:
        """DELETE where that may be."""
        children = any(other.startswith(name + "/") for other in self.boxes)
        if name != "INBOX" and not children:
            await self.store.delete_mailbox(self.account, name)
            del self.boxes[name]
            return
        with pytest.raises(StoreError) as caught:
            await self.store.delete_mailbox(self.account, name)
        assert caught.value.reason is (Reason.MAILBOX_PROTECTED if name == "INBOX" else Reason.MAILBOX_HAS_CHILDREN)

    async def rename(self, name: str) -> None:
        """RENAME to a free name at the top."""
        new = f"r{self.chance.randrange(1000)}"
        if new in self.boxes or len(self.boxes) > 15:
            return
        await self.store.rename_mailbox(self.account, name, new)
        if name == "INBOX":
            old = self.boxes["INBOX"]
            self.boxes[new] = Box(dict(old.messages), old.next if old.messages else 1)
            old.messages.clear()
            return
        for other in [other for other in self.boxes if other == name or other.startswith(name + "/")]:
            self.boxes[new + other[len(name) :]] = self.boxes.pop(other)

    async def quit_pop(self, _: str) -> None:
        """A POP3 session."""
        inbox = self.boxes["INBOX"]
        drop = await self.store.open_maildrop(self.account)
        assert list(drop.uids) == sorted(inbox.messages)
        assert list(drop.sizes) == [inbox.messages[uid].size for uid in drop.uids]
        deleted, seen = self.some(inbox), self.some(inbox)
        await self.store.commit_maildrop(self.account, drop.lock, deleted, seen)
        for uid in seen:
            if uid in inbox.messages:
                inbox.messages[uid].flags |= SEEN
        for uid in deleted:
            inbox.messages.pop(uid, None)

    async def step(self) -> None:
        """One operation, the usual ones more often."""
        often = [self.append, self.append, self.deliver, self.store_flags, self.store_flags, self.store_flags]
        seldom = [self.expunge, self.copy, self.copy, self.create, self.delete, self.rename, self.quit_pop]
        operation = self.chance.choice(often + seldom)
        await operation(self.chance.choice([*self.boxes]))

    async def check(self) -> None:
        """The store agrees with the model, and old copies with the store."""
        listed = {each.name: each for each in await self.store.list_mailboxes(self.account)}
        assert sorted(listed) == sorted(self.boxes)
        for name, box in self.boxes.items():
            status = listed[name]
            messages = box.messages.values()
            assert status.uidnext == box.next
            assert status.messages == len(messages)
            assert status.unseen == sum(not message.flags & SEEN for message in messages)
            assert status.deleted == sum(bool(message.flags & DELETED) for message in messages)
            assert status.size == sum(message.size for message in messages)
            await self.check_copies(name, box)
        account = await self.store.open_account(self.name, create=False)
        everything = [message for box in self.boxes.values() for message in box.messages.values()]
        assert account.used_messages == len(everything)
        assert account.used_bytes == sum(message.size for message in everything)
        assert account.modseq >= max(each.modseq for each in listed.values())

    async def check_copies(self, name: str, box: Box) -> None:
        """Flags by name, sizes, and history."""
        fresh = await self.store.sync_mailbox(self.account, name)
        flags = dict(zip(fresh.changed.uids, fresh.changed.flags, strict=True))
        assert list(fresh.changed.uids) == sorted(box.messages)
        bits = {keyword: 1 << (8 + place) for place, keyword in enumerate(fresh.status.keywords)}
        for uid, message in box.messages.items():
            assert flags[uid] == message.flags | sum(bits[keyword] for keyword in message.keywords)
        columns = await self.store.fetch_columns(self.account, fresh.status.mailbox_id, Column.SIZE)
        assert list(columns.sizes) == [box.messages[uid].size for uid in columns.uids]
        copies = self.copies.setdefault(fresh.status.mailbox_id, [])
        for copy in copies:
            copy.apply(await self.store.sync_mailbox(self.account, fresh.status.mailbox_id, copy.modseq))
            assert copy.flags == flags
        copies[:] = [copy for copy in copies if self.chance.random() < 0.5]
        copies.append(Copy(fresh.status.modseq, flags))


async def rows_left(opened: OpenStore) -> dict[str, int]:
    """Rows of the account that was deleted, by table."""
    tables = (
        "mailboxes gone_mailboxes subscriptions keywords messages expunged contents threads texts text_queue requests"
    )

    async def rule(tx: Transaction) -> dict[str, int]:
        counts = {table: (await tx.fetch(f"SELECT count(*) FROM {table}"))[0][0] for table in tables.split()}
        return {table: cast("int", count) for table, count in counts.items() if count}

    return await opened.database.read(rule)


@pytest.mark.parametrize("seed", range(6))
async def test_random_operations(opened: OpenStore, account: Account, seed: int) -> None:
    world = World(opened.store, account, random.Random(seed))
    for number in range(STEPS):
        await world.step()
        if number % 12 == 0 or number == STEPS - 1:
            await world.check()
            assert await opened.findings() == []
        if number % 30 == 0:
            await opened.rules.sweep()
            await opened.rules.index()
    await opened.store.delete_account(account.name)
    assert await opened.findings() == []
    await opened.rules.sweep()
    await opened.rules.index()
    assert await opened.findings() == []
    assert await rows_left(opened) == {}


@pytest.mark.rfc("7162", "3.2.5")
async def test_history_from_every_moment(store: Store, account: Account) -> None:
    """A copy of each moment, brought up to date in one step, equals the mailbox."""
    chance = random.Random(7)
    inbox = await store.get_mailbox(account.account_id, "INBOX")
    copies = [Copy(inbox.modseq, {})]
    for _ in range(40):
        uids = [chance.randrange(1, 25) for _ in range(4)]
        change = FlagChange(chance.choice([*FlagOperation]), chance.choice([DELETED, SEEN | DELETED, FLAGGED]))
        await store.append(account.account_id, "INBOX", [AppendItem(mail())], FREE, request_id=request())
        await store.modify_flags(account.account_id, inbox.mailbox_id, uids, change)
        await store.expunge(account.account_id, inbox.mailbox_id)
        fresh = await store.sync_mailbox(account.account_id, "INBOX")
        flags = dict(zip(fresh.changed.uids, fresh.changed.flags, strict=True))
        copies.append(Copy(fresh.status.modseq, flags))
    for copy in copies:
        copy.apply(await store.sync_mailbox(account.account_id, inbox.mailbox_id, copy.modseq))
        assert copy.flags == flags
