"""What a rule hands back: the caller's answer, and what followers of the mailboxes must hear."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from services.common.domain import AccountId, MailboxId, Rows
from services.store.changes import Change
from services.store.mailstore.box import Box

T = TypeVar("T")

Watched = Callable[[AccountId, MailboxId], bool]
"""Whether anybody follows a mailbox; a rule builds nothing for followers that are not there."""


@dataclass(frozen=True, slots=True)
class Outcome(Generic[T]):
    """A rule may run more than once (an engine may retry it), so it touches nothing outside but hands this back."""

    result: T
    changes: Sequence[Change] = ()


def rows_of(rows: Iterable[tuple[int, int, int]]) -> Rows:
    """(uid, flags, modseq) tuples as columns."""
    columns = tuple(zip(*rows, strict=True))
    if not columns:
        return Rows()
    uids, flags, modseqs = columns
    return Rows(array("I", uids), array("Q", flags), array("Q", modseqs))


def change(
    account_id: AccountId,
    box: Box,
    previous: int,
    *,
    changed: Sequence[tuple[int, int]] = (),
    expunged: Sequence[int] = (),
    gone: bool = False,
) -> Change:
    """A change of a mailbox from its modification sequence `previous` to `box.modseq`; `changed` is (uid, flags)."""
    return Change(account_id, box.mailbox_id, box.modseq, previous, box.snapshot(), changed, expunged, gone)
