"""One mailbox as this process knows it, shared by every session that looks at it.

Rules that the views rely on:
- `uids` only grows at its end while it is the same array. An expunge makes a new array; views that have not told the
  expunge yet keep the old one, and find what the messages were in `ghosts`.
- `flags`, `modseqs` and the columns run parallel to the current `uids`.
- Every change comes from the store, by the change feed or as the result of an own write, and is applied once: a row is
  taken only if its modification sequence is above the one known. `known` is the sequence up to which nothing is
  missing; results of own writes beyond a gap are applied and leave `known` to the feed.
- `changes` moves with each change, so a view sees with one comparison that it has nothing to tell.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import compress
from typing import TYPE_CHECKING, Any, Final

from services.common.domain import (
    DELETED,
    SEEN,
    AccountId,
    Column,
    ExpungeResult,
    FlagEdited,
    FlagResult,
    MailboxDelta,
    MailboxId,
    MailboxStatus,
    Rows,
)
from services.imap.changelog import ChangeLog
from services.imap.flags import FlagTexts

if TYPE_CHECKING:
    from services.imap.view import View

FEW: Final = 8
"""Up to so many expunged messages are cut out one by one; more are filtered out in one pass."""
ROW_BYTES: Final = 20
MAX_DOOMED: Final = 4096


@dataclass(slots=True)
class Ghost:
    """A message that is gone but still in some session's view: as it last was."""

    flags: int
    modseq: int
    values: dict[Column, Any] = field(default_factory=dict)


class SharedMailbox:
    """See the module's rules."""

    __slots__ = (
        "_counts",
        "_status",
        "account_id",
        "ahead",
        "changes",
        "columns",
        "doomed",
        "expunges",
        "flag_changes",
        "flag_texts",
        "flags",
        "flags_version",
        "generation",
        "ghosts",
        "gone",
        "hits",
        "known",
        "loading",
        "modseqs",
        "recent_texts",
        "rendered",
        "searches",
        "top",
        "uids",
        "views",
        "watchers",
        "weights",
    )

    def __init__(self, delta: MailboxDelta) -> None:
        self.account_id: AccountId = delta.account_id
        self._counts: tuple[int, int, int] | None = None
        """Of `status`, where an own STORE has changed them since it was made: modseq, unseen, deleted."""
        self._status = delta.status
        self.known = delta.status.modseq
        self.uids = delta.changed.uids
        self.flags = delta.changed.flags
        self.modseqs = delta.changed.modseqs
        self.top = max(delta.status.uidnext - 1, self.uids[-1] if self.uids else 0)
        self.gone = delta.gone
        self.generation = 0
        self.flags_version = 0
        self.changes = 0
        self.columns: dict[Column, list[Any]] = {}
        self.weights: dict[Column, int] = {}
        self.ghosts: dict[int, Ghost] = {}
        self.doomed: list[int] = []
        """Messages that got \\Deleted while more than one session looks (see `ColumnReader.rescue`)."""
        self.flag_changes = ChangeLog()
        self.expunges = ChangeLog()
        self.views: set[View] = set()
        self.watchers: set[Callable[[], None]] = set()
        self.rendered: dict[Any, Any] = {}
        self.searches: dict[Any, Any] = {}
        self.hits: dict[Any, Any] = {}
        self.ahead = False
        """An own change is in the arrays and not yet in `status`."""
        self.loading: Any = None
        self._renew_flag_texts()

    @property
    def status(self) -> MailboxStatus:
        """The mailbox with its counters. Made when it is asked for: a STORE changes it, and asks only for its parts."""
        counts, self._counts = self._counts, None
        if counts is not None:
            modseq, unseen, deleted = counts
            self._status = replace(self._status, modseq=modseq, unseen=unseen, deleted=deleted)
        return self._status

    @status.setter
    def status(self, status: MailboxStatus) -> None:
        self._counts, self._status = None, status

    @property
    def keywords(self) -> tuple[str, ...]:
        """Its keywords in bit order."""
        return self._status.keywords

    @property
    def mailbox_id(self) -> MailboxId:
        """The store's id."""
        return self._status.mailbox_id

    @property
    def key(self) -> tuple[AccountId, MailboxId]:
        """Its key in `Mailboxes`."""
        return self.account_id, self._status.mailbox_id

    @property
    def size(self) -> int:
        """Bytes of memory, columns and rendered answers apart (the cache counts those by themselves)."""
        return 4096 + ROW_BYTES * len(self.uids)

    def index(self, uid: int) -> int:
        """Where the message is in the arrays, or -1."""
        uids = self.uids
        if not uids:
            return -1
        # Most mailboxes have long runs of consecutive UIDs, so the first guess is often right.
        guess = uid - uids[0]
        if 0 <= guess < len(uids) and uids[guess] == uid:
            return guess
        place = bisect_left(uids, uid)
        return place if place < len(uids) and uids[place] == uid else -1

    def first_unseen(self, count: int) -> int:
        """Sequence number of the first message without \\Seen, 0 without any (RFC 3501 section 7.1, UNSEEN)."""
        if not self.status.unseen:
            return 0
        return next((i + 1 for i, flags in enumerate(self.flags[:count]) if not flags & SEEN), 0)

    # changes
    def apply(self, delta: MailboxDelta) -> bool:
        """Take a delta of the feed or of a sync; False when something before it is missing. It may be `gone` then."""
        if delta.gone:
            self.vanish()
            return True
        if delta.since > self.known:
            return False
        if delta.status.modseq > self.known:
            if not delta.since and self._turned_back(delta.changed.uids):
                self.vanish()
                return True
            self._remove(delta.expunged if delta.since else self._missing(delta.changed.uids))
            self._merge(delta.changed)
            self._advance(delta.since, delta.status)
            self._announce()
        elif delta.status.recent_from > self.status.recent_from:
            self.status = replace(self.status, recent_from=delta.status.recent_from)
        return True

    def _missing(self, living: Sequence[int]) -> list[int]:
        """What we know of and the whole mailbox, told anew, does not have."""
        return sorted(set(self.uids).difference(living))

    def _turned_back(self, living: Sequence[int]) -> bool:
        """Whether messages are there again that went: the store was restored. No view can take them in."""
        return not set(self.uids).issuperset(uid for uid in living if uid <= self.top)

    def apply_flags(self, result: FlagResult) -> None:
        """Take the outcome of an own STORE."""
        self._merge(result.rows)
        self._advance(result.previous, result.status)
        self._announce()

    def apply_edit(self, uid: int, edited: FlagEdited) -> None:
        """Take the outcome of an own STORE of one message. Nothing but its counters came to the mailbox with it."""
        if edited.modseq:
            self._take_row(uid, edited.flags, edited.modseq)
        after = edited.mailbox_modseq
        if edited.previous <= self.known < after:
            self.known = after
            self.ahead = False
            self._counts = after, edited.unseen, edited.deleted
        elif after > self.known:
            self.ahead = True
        self._announce()

    def apply_expunge(self, result: ExpungeResult) -> None:
        """Take the outcome of an own EXPUNGE."""
        self._remove(result.uids)
        self._advance(result.previous, result.status)
        self._announce()

    def forget(self, uids: Iterable[int]) -> None:
        """Messages that an own MOVE took away; the counters follow with the feed."""
        self._remove(uids)
        self._announce()

    def claimed(self, recent_from: int) -> None:
        """Messages below are no longer recent for anybody else."""
        if recent_from > self.status.recent_from:
            self.status = replace(self.status, recent_from=recent_from)

    def release_ghosts(self) -> None:
        """Let go of expunged messages once no view has them any more."""
        if self.ghosts and all(view.uids is self.uids for view in self.views):
            self.ghosts = {}

    def _announce(self) -> None:
        self.changes += 1
        for wake in tuple(self.watchers):
            wake()

    def _advance(self, since: int, status: MailboxStatus) -> None:
        keywords = self.status.keywords
        if since <= self.known < status.modseq:
            self.known = status.modseq
            self.ahead = False
            recent_from = self.status.recent_from
            self.status = status if status.recent_from >= recent_from else replace(status, recent_from=recent_from)
        elif status.modseq > self.known:
            self.ahead = True
            if len(status.keywords) > len(keywords):
                self.status = replace(self.status, keywords=status.keywords)
        if self.status.keywords != keywords:
            self._renew_flag_texts()

    def _renew_flag_texts(self) -> None:
        self.flag_texts = FlagTexts(self.status.keywords)
        self.recent_texts = FlagTexts(self.status.keywords, recent=True)
        self.flags_version += 1

    def _merge(self, rows: Rows) -> None:
        for uid, flags, modseq in zip(rows.uids, rows.flags, rows.modseqs, strict=True):
            self._take_row(uid, flags, modseq)

    def _take_row(self, uid: int, flags: int, modseq: int) -> None:
        if uid > self.top:
            self._append(uid, flags, modseq)
        else:
            self._change(uid, flags, modseq)

    def _append(self, uid: int, flags: int, modseq: int) -> None:
        self.top = uid
        self.uids.append(uid)
        self.flags.append(flags)
        self.modseqs.append(modseq)
        for column in self.columns.values():
            column.append(None)

    def _change(self, uid: int, flags: int, modseq: int) -> None:
        place = self.index(uid)
        if place < 0 or modseq <= self.modseqs[place]:
            return
        if flags & DELETED and len(self.views) > 1 and len(self.doomed) < MAX_DOOMED:
            self.doomed.append(uid)
        self.flags[place] = flags
        self.modseqs[place] = modseq
        self.flags_version += 1
        self.flag_changes.add(uid, modseq)

    def _remove(self, uids: Iterable[int]) -> None:
        places = [place for place in map(self.index, uids) if place >= 0]
        if not places:
            return
        if self.views:
            told = max(view.last_uid for view in self.views)
            for place in places:
                if self.uids[place] <= told:
                    self._keep_ghost(place)
            self.uids = self.uids[:]
        self.generation += 1
        if len(places) <= FEW:
            self._cut(sorted(places, reverse=True))
        else:
            self._filter(places)

    def _keep_ghost(self, place: int) -> None:
        uid = self.uids[place]
        values = {kind: column[place] for kind, column in self.columns.items() if column[place] is not None}
        self.ghosts[uid] = Ghost(self.flags[place], self.modseqs[place], values)
        self.expunges.add(uid, 0)

    def _cut(self, places: list[int]) -> None:
        for place in places:
            del self.uids[place], self.flags[place], self.modseqs[place]
            for column in self.columns.values():
                del column[place]

    def _filter(self, places: list[int]) -> None:
        stays = bytearray(b"\1") * len(self.uids)
        for place in places:
            stays[place] = 0
        self.uids = array("I", compress(self.uids, stays))
        self.flags = array("Q", compress(self.flags, stays))
        self.modseqs = array("Q", compress(self.modseqs, stays))
        for column in self.columns.values():
            column[:] = compress(column, stays)

    def vanish(self) -> None:
        """The mailbox was deleted, or is another one now: to its sessions, every message is expunged."""
        if not self.gone:
            self.gone = True
            self._remove(tuple(self.uids))
            self._announce()
