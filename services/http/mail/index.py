"""An account as JMAP sees it, in memory: emails with their places, threads, counts. Follows the store's deltas. No I/O.

An email is visible while one of its places does not carry \\Deleted (RFC 8621 section 4.1.1). Counts of mailboxes are
kept by threads: a thread that is touched is taken out of them and put in again.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from services.common.domain import (
    ANSWERED,
    DELETED,
    DRAFT,
    FLAGGED,
    KEYWORD_SHIFT,
    SEEN,
    EmailDelta,
    MailboxId,
    MailboxStatus,
    Places,
)

Place = tuple[int, int, int]
"""Mailbox, UID, flags."""
SYSTEM_KEYWORDS: Final[dict[str, int]] = {
    "$seen": SEEN,
    "$answered": ANSWERED,
    "$flagged": FLAGGED,
    "$draft": DRAFT,
}
KEPT_RESULTS: Final = 8
"""Results of queries that are kept while nothing changes."""
_TRASH: Final = "\\Trash"


class Email:
    """One email. `places` are those where it is visible, `hidden` those with \\Deleted."""

    __slots__ = ("hidden", "number", "places", "received", "size", "thread")

    def __init__(self, number: int, thread: int, received: int, size: int) -> None:
        self.number = number
        self.thread = thread
        self.received = received
        self.size = size
        self.places: tuple[Place, ...] = ()
        self.hidden: tuple[Place, ...] = ()

    @property
    def unread(self) -> bool:
        """Neither $seen nor $draft (RFC 8621 section 2)."""
        seen = draft = True
        for _, _, flags in self.places:
            seen = seen and bool(flags & SEEN)
            draft = draft and bool(flags & DRAFT)
        return not seen and not draft

    def put(self, place: Place) -> None:
        """It is filed there now, or its flags there are others."""
        self.drop(place[0], place[1])
        if place[2] & DELETED:
            self.hidden = (*self.hidden, place)
        else:
            self.places = (*self.places, place)

    def drop(self, mailbox: int, uid: int) -> None:
        """It is not filed there any more."""
        self.places = tuple([each for each in self.places if each[0] != mailbox or each[1] != uid])
        if self.hidden:
            self.hidden = tuple([each for each in self.hidden if each[0] != mailbox or each[1] != uid])


class Counts:
    """What a mailbox holds (RFC 8621 section 2)."""

    __slots__ = ("emails", "threads", "unread_emails", "unread_threads")

    def __init__(self) -> None:
        self.emails = 0
        self.unread_emails = 0
        self.threads = 0
        self.unread_threads = 0


class Index:
    """One account. `emails` are the visible ones by number."""

    def __init__(self) -> None:
        self.modseq = 0
        self.next_id = 0
        self.emails: dict[int, Email] = {}
        self.boxes: dict[int, MailboxStatus] = {}
        self.threads: dict[int, list[int]] = {}
        self.counts: dict[int, Counts] = {}
        self.order: list[tuple[int, int]] = []
        """(received, number) of every visible email, ascending."""
        self.attachments: dict[int, bool] = {}
        """hasAttachment, as far as it was asked for; it never changes."""
        self.sort_keys: dict[int, tuple[str, str, str, int]] = {}
        """from, to, subject and sentAt as they are sorted by, as far as that was asked for."""
        self.results: dict[str, Sequence[int]] = {}
        """Results of queries that were asked in the present state."""
        self._buried: dict[int, Email] = {}
        self._keywords: dict[tuple[int, int], frozenset[str]] = {}
        self._trash = 0

    def apply(self, delta: EmailDelta) -> None:
        """Follow what happened, at once."""
        for _ in self.applying(delta, 1 << 62):
            pass

    def applying(self, delta: EmailDelta, step: int) -> Iterator[None]:
        """Follow what happened, with a pause after each `step` places; nobody may look before the end."""
        self.results.clear()
        self._take_boxes(delta)
        touched = self._touched(delta)
        for number in touched:
            self._tally(number, -1)
        self._drop(delta.gone)
        for start in range(0, len(delta.places), step):
            self._put(delta.places, start, start + step)
            yield
        for count, number in enumerate(touched, 1):
            self._tally(number, 1)
            if count % step == 0:
                yield
        self.modseq, self.next_id = delta.modseq, delta.next_id

    # ---- what is asked ----------------------------------------------------------------------------------------------
    def keywords(self, email: Email) -> set[str]:
        """Keywords in small letters. A copy that is marked marks the email, but it is read when all copies are."""
        first, *rest = email.places
        found = set(self.names(first[0], first[2]))
        for mailbox, _, flags in rest:
            names = self.names(mailbox, flags)
            if "$seen" not in names or "$seen" not in found:
                found.discard("$seen")
                names = names - {"$seen"}
            found |= names
        return found

    def names(self, mailbox: int, flags: int) -> frozenset[str]:
        """The keywords that a mask of a mailbox means."""
        known = self._keywords.get((mailbox, flags))
        if known is None:
            words = self.boxes[mailbox].keywords if mailbox in self.boxes else ()
            system = [name for name, bit in SYSTEM_KEYWORDS.items() if flags & bit]
            own = [word.lower() for place, word in enumerate(words) if flags >> (KEYWORD_SHIFT + place) & 1]
            known = self._keywords[mailbox, flags] = frozenset([*system, *own])
        return known

    def in_thread(self, number: int) -> list[int]:
        """The emails of a thread, the first received first."""
        return sorted(self.threads.get(number, ()), key=lambda each: (self.emails[each].received, each))

    def count(self, mailbox: int) -> Counts:
        """What a mailbox holds."""
        return self.counts.get(mailbox) or Counts()

    def keep(self, key: str, results: Sequence[int]) -> None:
        """Keep the results of a query until something changes."""
        while len(self.results) >= KEPT_RESULTS:
            del self.results[next(iter(self.results))]
        self.results[key] = results

    # ---- inside -----------------------------------------------------------------------------------------------------
    def _take_boxes(self, delta: EmailDelta) -> None:
        for number in delta.gone_mailboxes:
            self.boxes.pop(number, None)
            self.counts.pop(number, None)
        for box in delta.mailboxes:
            old = self.boxes.get(box.mailbox_id)
            if old is None or old.keywords != box.keywords:
                stale = [key for key in self._keywords if key[0] == box.mailbox_id]
                for key in stale:
                    del self._keywords[key]
            self.boxes[box.mailbox_id] = box
            if box.special_use == _TRASH:
                self._trash = box.mailbox_id

    def _touched(self, delta: EmailDelta) -> dict[int, None]:
        """The threads in which something happens."""
        return dict.fromkeys([*delta.places.thread_ids, *delta.gone.thread_ids])

    def _drop(self, gone: Places) -> None:
        for number, mailbox, uid in zip(gone.content_ids, gone.mailbox_ids, gone.uids, strict=True):
            email = self.emails.get(number) or self._buried.get(number)
            if email is not None:
                email.drop(mailbox, uid)
                self._settle(email)

    def _put(self, places: Places, start: int, stop: int) -> None:
        rows = zip(
            places.content_ids[start:stop], places.thread_ids[start:stop], places.mailbox_ids[start:stop],
            places.uids[start:stop], places.flags[start:stop], places.internaldates[start:stop],
            places.sizes[start:stop], strict=True,
        )  # fmt: skip
        for number, thread, mailbox, uid, flags, received, size in rows:
            email = self.emails.get(number) or self._buried.get(number) or Email(number, thread, received, size)
            email.put((mailbox, uid, flags))
            self._settle(email)

    def _settle(self, email: Email) -> None:
        """Put it where it belongs: among the visible, the hidden, or nowhere."""
        number, key = email.number, (email.received, email.number)
        was, now = number in self.emails, bool(email.places)
        if now and not was:
            self.emails[number] = email
            self.threads.setdefault(email.thread, []).append(number)
            if not self.order or key > self.order[-1]:
                self.order.append(key)
            else:
                insort(self.order, key)
        elif was and not now:
            del self.emails[number]
            self._leave_thread(email)
            del self.order[bisect_left(self.order, key)]
            self.attachments.pop(number, None)
            self.sort_keys.pop(number, None)
        self._buried.pop(number, None)
        if email.hidden and not now:
            self._buried[number] = email

    def _leave_thread(self, email: Email) -> None:
        members = self.threads[email.thread]
        members.remove(email.number)
        if not members:
            del self.threads[email.thread]

    def _tally(self, thread: int, sign: int) -> None:
        """Count a thread into its mailboxes, or out of them. What lies in Trash makes no other mailbox unread."""
        boxes: set[int] = set()
        in_trash = elsewhere = False
        for number in self.threads.get(thread, ()):
            email = self.emails[number]
            unread, own = email.unread, {place[0] for place in email.places}
            for mailbox in own:
                counts = self.counts.setdefault(mailbox, Counts())
                counts.emails += sign
                counts.unread_emails += sign * unread
            boxes |= own
            trashed = self._trash in own
            in_trash = in_trash or (unread and trashed)
            elsewhere = elsewhere or (unread and not trashed)
        for mailbox in boxes:
            counts = self.counts.setdefault(mailbox, Counts())
            counts.threads += sign
            counts.unread_threads += sign * (in_trash if mailbox == self._trash else elsewhere)


def in_mailbox(email: Email, mailbox: int) -> bool:
    """Whether it is visible there."""
    # Asked of every email of an account: a generator would cost ten times as much.
    for place in email.places:  # noqa: SIM110
        if place[0] == mailbox:
            return True
    return False


def mailboxes_of(email: Email) -> list[MailboxId]:
    """Where it is visible, each once."""
    return [MailboxId(number) for number in dict.fromkeys(place[0] for place in email.places)]


def uids_in(emails: Iterable[Email], mailbox: int) -> list[int]:
    """The UIDs of all visible places of these emails in a mailbox, ascending."""
    return sorted(uid for email in emails for box, uid, _ in email.places if box == mailbox)
