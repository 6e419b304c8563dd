"""What one session knows of its mailbox: sequence numbers, and which changes it has not been told yet.

Rules:
- A view is an array of UIDs (the shared one as long as nothing untold was expunged) and a count; message n is
  `uids[n - 1]`. So a sequence number costs nothing to resolve and sessions share the array.
- Sequence numbers change only in `updates`, never while a command runs. EXPUNGE is told only where the command allows
  (RFC 9051 section 7.5.1); EXISTS and FETCH may be told at the end of every command.
- Until the expunge is told, the message stays in the view and answers from `SharedMailbox.ghosts`.
- What the session changed itself is not told again: `own` holds the modification sequences of those changes.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Final

from services.common.domain import MAX_KEYWORDS
from services.imap.flags import flag_list, permanent_flags

if TYPE_CHECKING:
    from services.imap.commands.sequence import SequenceSet
    from services.imap.sharedmailbox import SharedMailbox

Spans = list[tuple[int, int]]
"""Messages as half-open ranges of places in the view, ascending, without overlaps."""
BEHIND: Final = -1


class OutOfRangeError(Exception):
    """A sequence number that no message has (RFC 9051 section 9, `seq-number`)."""


class View:
    """See the module's rules."""

    __slots__ = (
        "_expunges_at",
        "_flags_at",
        "_on_close",
        "_seen",
        "_told_keywords",
        "_told_modseq",
        "count",
        "own",
        "read_only",
        "recent_from",
        "rev2",
        "saved",
        "shared",
        "uids",
    )

    def __init__(
        self,
        shared: SharedMailbox,
        *,
        read_only: bool,
        recent_from: int,
        rev2: bool,
        on_close: Callable[[View], None],
    ) -> None:
        self.shared = shared
        self.uids = shared.uids
        self.count = len(shared.uids)
        self.read_only = read_only
        self.recent_from = recent_from
        self.rev2 = rev2
        """No \\Recent (RFC 9051 appendix E)."""
        self.saved: tuple[int, ...] = ()
        """UIDs of the last SEARCH RETURN (SAVE), for `$` (RFC 5182)."""
        self.own: dict[int, int] = {}
        self._on_close = on_close
        self._seen = shared.changes
        self._flags_at = shared.flag_changes.end
        self._expunges_at = shared.expunges.end
        self._told_modseq = shared.known
        self._told_keywords = shared.keywords
        shared.views.add(self)

    def close(self) -> None:
        """The session leaves the mailbox."""
        self.shared.views.discard(self)
        self.shared.release_ghosts()
        self._on_close(self)

    @property
    def current(self) -> bool:
        """Whether the view's places are the places in the shared arrays."""
        return self.uids is self.shared.uids

    @property
    def last_uid(self) -> int:
        """The UID of the last message that the client knows of, 0 without any."""
        return self.uids[self.count - 1] if self.count else 0

    @property
    def recent(self) -> int:
        """How many messages are \\Recent to this session (RFC 3501 section 2.3.2)."""
        return self.count - bisect_left(self.uids, self.recent_from, 0, self.count)

    # sequence numbers and UIDs
    def place(self, uid: int) -> int:
        """Where the message is in the view, or -1."""
        uids, count = self.uids, self.count
        if not count:
            return -1
        guess = uid - uids[0]
        if 0 <= guess < count and uids[guess] == uid:
            return guess
        place = bisect_left(uids, uid, 0, count)
        return place if place < count and uids[place] == uid else -1

    def spans(self, messages: SequenceSet, *, uid: bool) -> Spans:
        """The messages of a sequence set. Raises OutOfRangeError for a sequence number that is not in use."""
        if messages.saved:
            return merged((place, place + 1) for place in map(self.place, self.saved) if place >= 0)
        found = self._uid_spans(messages) if uid else self._number_spans(messages)
        return found if len(found) <= 1 else merged(found)

    def _number_spans(self, messages: SequenceSet) -> Spans:
        count = self.count
        spans = []
        for first, last in messages.resolve(count):
            if first < 1 or last > count:
                if count == 0 and first == 0:
                    continue  # `*` of an empty mailbox is no message, and no mistake either
                raise OutOfRangeError
            spans.append((first - 1, last))
        return spans

    def _uid_spans(self, messages: SequenceSet) -> Spans:
        uids, count = self.uids, self.count
        if not count:
            return []
        spans = []
        for first, last in messages.resolve(uids[count - 1]):
            if first == last:
                start = self.place(first)
                stop = start + 1
            else:
                start = bisect_left(uids, first, 0, count)
                stop = bisect_right(uids, last, start, count)
            if 0 <= start < stop:
                spans.append((start, stop))
        return spans

    def uids_of(self, spans: Spans) -> array[int]:
        """UIDs of the messages, ascending."""
        uids = array("I")
        for start, stop in spans:
            uids += self.uids[start:stop]
        return uids

    def flags_of(self, uid: int) -> int:
        """The flags as they are, or last were."""
        place = self.shared.index(uid)
        if place >= 0:
            return self.shared.flags[place]
        ghost = self.shared.ghosts.get(uid)
        return ghost.flags if ghost else 0

    def modseq_of(self, uid: int) -> int:
        """The modification sequence as it is, or last was."""
        place = self.shared.index(uid)
        if place >= 0:
            return self.shared.modseqs[place]
        ghost = self.shared.ghosts.get(uid)
        return ghost.modseq if ghost else 0

    def flag_text(self, uid: int) -> bytes:
        """The inside of FLAGS (..) as this session sees it."""
        shared = self.shared
        recent = uid >= self.recent_from and not self.rev2
        return (shared.recent_texts if recent else shared.flag_texts)[self.flags_of(uid)]

    # changes
    def updates(self, *, expunges: bool) -> bytes:
        """The untagged responses that bring the client up to date; only where allowed are expunges among them."""
        shared = self.shared
        if self._seen == shared.changes:
            return b""
        told = self.count
        parts: list[bytes] = []
        if not self.current and expunges:
            told -= self._tell_expunges(parts)
        self._tell_arrivals(parts)
        parts.append(self.new_keywords())
        self._tell_flags(parts, told)
        self._seen = shared.changes if self.current else BEHIND
        return b"".join(parts)

    def _tell_expunges(self, parts: list[bytes]) -> int:
        """Highest first, so that each number is right whatever the client makes of the others."""
        shared = self.shared
        gone = sorted(self._gone_places(), reverse=True)
        parts.extend(map(b"* %d EXPUNGE\r\n".__mod__, [place + 1 for place in gone]))
        self.count -= len(gone)
        self.uids = shared.uids
        self._expunges_at = shared.expunges.end
        if self.saved and gone:
            self.saved = tuple(uid for uid in self.saved if shared.index(uid) >= 0)
        shared.release_ghosts()
        return len(gone)

    def _gone_places(self) -> set[int]:
        entries = self.shared.expunges.since(self._expunges_at)
        if entries is None:
            lost = set(self.uids[: self.count]).difference(self.shared.uids)
            return {self.place(uid) for uid in lost}
        return {place for place in (self.place(uid) for uid, _ in entries) if place >= 0}

    def _tell_arrivals(self, parts: list[bytes]) -> None:
        if not self.current:
            self._extend_own_array()
        if len(self.uids) == self.count:
            return
        self.count = len(self.uids)
        parts.append(b"* %d EXISTS\r\n" % self.count)
        if not self.rev2:
            parts.append(b"* %d RECENT\r\n" % self.recent)

    def _extend_own_array(self) -> None:
        """New mail while an expunge may not be told: only now does the view need an array to itself."""
        uids, count = self.uids, self.count
        new = self.shared.uids[bisect_right(self.shared.uids, self.last_uid) :]
        if new or len(uids) > count:
            self.uids = uids[:count] + new

    def new_keywords(self) -> bytes:
        """FLAGS and PERMANENTFLAGS, when the mailbox has keywords that the client does not know."""
        keywords = self.shared.keywords
        if keywords == self._told_keywords:
            return b""
        self._told_keywords = keywords
        room = len(keywords) < MAX_KEYWORDS
        return flag_list(keywords) + permanent_flags(keywords, read_only=self.read_only, room=room)

    def _tell_flags(self, parts: list[bytes], told: int) -> None:
        """`told`: how many messages the client knew before; of newer ones it has asked nothing yet."""
        shared = self.shared
        entries = shared.flag_changes.since(self._flags_at)
        if entries is None:
            entries = self._changed_since(self._told_modseq)
        own = self.own
        for uid in dict.fromkeys(uid for uid, modseq in entries if own.get(uid) != modseq):
            place = self.place(uid)
            if 0 <= place < told:
                parts.append(b"* %d FETCH (UID %d FLAGS (%b))\r\n" % (place + 1, uid, self.flag_text(uid)))
        own.clear()
        self._flags_at = shared.flag_changes.end
        self._told_modseq = shared.known

    def _changed_since(self, modseq: int) -> list[tuple[int, int]]:
        shared = self.shared
        return [(uid, now) for uid, now in zip(shared.uids, shared.modseqs, strict=True) if now > modseq]


def merged(spans: Iterable[tuple[int, int]]) -> Spans:
    """Sorted, overlapping and touching spans made one."""
    result: Spans = []
    for start, stop in sorted(spans):
        if result and start <= result[-1][1]:
            if stop > result[-1][1]:
                result[-1] = (result[-1][0], stop)
        else:
            result.append((start, stop))
    return result
