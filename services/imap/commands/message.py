"""Commands on messages of the selected mailbox, FETCH and SEARCH apart (RFC 9051 section 6.4)."""

from __future__ import annotations

from dataclasses import dataclass

from services.common.domain import FlagChange
from services.imap.commands.sequence import SequenceSet


@dataclass(frozen=True, slots=True)
class Check:
    """CHECK, RFC 3501 section 6.4.1."""


@dataclass(frozen=True, slots=True)
class Close:
    """CLOSE, RFC 9051 section 6.4.1."""


@dataclass(frozen=True, slots=True)
class Unselect:
    """UNSELECT, RFC 9051 section 6.4.2."""


@dataclass(frozen=True, slots=True)
class Expunge:
    """EXPUNGE, and with `uids` UID EXPUNGE (RFC 9051 sections 6.4.3 and 6.4.9)."""

    uids: SequenceSet | None = None


@dataclass(frozen=True, slots=True)
class Store:
    """STORE and UID STORE, RFC 9051 section 6.4.6. `unchanged_since` is RFC 7162's modifier."""

    messages: SequenceSet
    change: FlagChange
    silent: bool = False
    uid: bool = False
    unchanged_since: int | None = None


@dataclass(frozen=True, slots=True)
class Copy:
    """COPY and UID COPY, RFC 9051 section 6.4.7."""

    messages: SequenceSet
    mailbox: str
    uid: bool = False


@dataclass(frozen=True, slots=True)
class Move:
    """MOVE and UID MOVE, RFC 9051 section 6.4.8."""

    messages: SequenceSet
    mailbox: str
    uid: bool = False
