"""Search programs against a naive evaluation of the same, message by message."""

from __future__ import annotations

from array import array
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from services.common.domain import (
    AccountId,
    Column,
    MailboxDelta,
    MailboxId,
    MailboxStatus,
    Rows,
    TextField,
    TextKey,
)
from services.imap.chunk import Chunk
from services.imap.commands import SequenceSet
from services.imap.commands.search import (
    All,
    And,
    Date,
    DateField,
    DateOrder,
    Flag,
    Keyword,
    Larger,
    Messages,
    Not,
    Or,
    Recent,
    SearchKey,
    Smaller,
    Text,
)
from services.imap.searching import Evaluation, Hits, needs_of
from services.imap.sharedmailbox import SharedMailbox
from services.imap.view import View
from tests.support.imap import local_imap

DAY = 86_400
KEYWORDS = ("$Work", "later")
NEEDLE = TextKey(TextField.SUBJECT, "x")
Message = tuple[int, int, int, int, bool]
"""Flags, date, size, day sent, and whether the text is in it."""


def mailbox(messages: list[Message], recent_from: int) -> View:
    """A view of messages with UIDs 2, 4, 6, ..."""
    uids = array("I", range(2, 2 * len(messages) + 2, 2))
    flags = array("Q", [message[0] for message in messages])
    status = MailboxStatus(
        MailboxId(1), "INBOX", 1, 2 * len(messages) + 2, 9, len(messages), 0, 0, 0, recent_from, keywords=KEYWORDS
    )
    rows = Rows(uids, flags, array("Q", [1] * len(messages)))
    shared = SharedMailbox(MailboxDelta(AccountId(1), 0, status, rows, array("I")))
    shared.columns[Column.INTERNALDATE] = [message[1] for message in messages]
    shared.columns[Column.SIZE] = [message[2] for message in messages]
    shared.columns[Column.SENTDATE] = [message[3] for message in messages]
    return View(shared, read_only=False, recent_from=recent_from, rev2=False, on_close=lambda _: None)


MESSAGES = st.lists(
    st.tuples(
        st.sampled_from((0, 1, 4, 5, 8, 1 << 8, 1 << 9, 3 << 8 | 1)),
        st.integers(0, 5 * DAY),
        st.integers(1, 20),
        st.integers(-1, 4),
        st.booleans(),
    ),
    max_size=12,
)
LEAVES: st.SearchStrategy[SearchKey] = st.one_of(
    st.just(All()),
    st.just(Recent()),
    st.sampled_from((Flag(1), Flag(4), Flag(8))),
    st.sampled_from((Keyword("$work"), Keyword("LATER"), Keyword("none"))),
    st.integers(0, 20).map(Larger),
    st.integers(0, 20).map(Smaller),
    st.builds(Date, st.sampled_from(DateField), st.sampled_from(DateOrder), st.integers(0, 5)),
    st.tuples(st.integers(1, 15), st.integers(0, 6)).map(lambda r: Messages(SequenceSet(((r[0], r[0] + r[1]),)), True)),
    st.just(Text(NEEDLE)),
)
PROGRAMS: st.SearchStrategy[SearchKey] = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=3).map(lambda keys: And(tuple(keys))),
        st.lists(inner, min_size=2, max_size=3).map(lambda keys: Or(tuple(keys))),
        inner.map(Not),
    ),
    max_leaves=8,
)


def holds(key: Any, number: int, message: Message, recent_from: int) -> bool:  # noqa: C901 - one line a key
    """What the RFC says of one message."""
    flags, date, size, sent, text = message
    uid = 2 * number
    match key:
        case All():
            return True
        case And():
            return all(holds(part, number, message, recent_from) for part in key.keys)
        case Or():
            return any(holds(part, number, message, recent_from) for part in key.keys)
        case Not():
            return not holds(key.key, number, message, recent_from)
        case Flag():
            return bool(flags & key.bit)
        case Keyword():
            names = [name.lower() for name in KEYWORDS]
            return key.keyword.lower() in names and bool(flags >> 8 + names.index(key.keyword.lower()) & 1)
        case Recent():
            return uid >= recent_from
        case Larger():
            return size > key.size
        case Smaller():
            return size < key.size
        case Messages():
            return any(first <= uid <= last for first, last in key.messages.ranges)
        case Text():
            return text
    day = date // DAY if key.field is DateField.INTERNAL else sent
    if day < 0:
        return False
    orders = {DateOrder.BEFORE: day < key.day, DateOrder.ON: day == key.day, DateOrder.SINCE: day >= key.day}
    return bool(orders[key.order])


@given(messages=MESSAGES, key=PROGRAMS, recent_from=st.integers(1, 26))
def test_programs_mean_what_they_say(messages: list[Message], key: SearchKey, recent_from: int) -> None:
    view = mailbox(messages, recent_from)
    everything = Chunk(view, range(view.count))
    everything.take(Column.INTERNALDATE | Column.SIZE | Column.SENTDATE)
    matching = array("I", [2 * number for number, message in enumerate(messages, 1) if message[4]])
    found = Evaluation(view, everything, {NEEDLE: Hits(99, matching)}, needs_of(key)).places(key)
    wanted = [n - 1 for n, message in enumerate(messages, 1) if holds(key, n, message, recent_from)]
    assert found == wanted


async def test_long_program_is_run_beside_the_others() -> None:
    async with local_imap([b"Subject: %d\r\n\r\n" % number for number in range(1, 301)]) as running:
        client, other = await running.client(select="INBOX"), await running.client()
        tag = client.send("SEARCH DELETED " + " ".join(f"SMALLER {1000 + number}" for number in range(1900)))
        assert await other.ok("NOOP") == []
        assert (await client.answer(tag))[0] == b"* SEARCH"
        tag = client.send("SEARCH UNDELETED 5:7 " + " ".join(f"SMALLER {1000 + number}" for number in range(1900)))
        assert (await client.answer(tag))[0] == b"* SEARCH 5 6 7"
        lines = await client.do("SEARCH 1:301 " + " ".join(f"LARGER {number}" for number in range(1900)))
        assert lines == [b"BAD No such message"]
