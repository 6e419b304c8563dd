"""SEARCH (RFC 9051 section 6.4.4, RFC 3501 section 6.4.4): the program as a tree.

Keys that are made of others are turned into them: UNSEEN is Not(Flag(SEEN)), NEW is And(Recent, Not(Flag(SEEN))),
UNKEYWORD is Not(Keyword), and several keys in a row are one And.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, IntFlag

from services.common.domain import TextKey
from services.imap.commands.sequence import SequenceSet


class SearchReturn(IntFlag):
    """Result options of RFC 9051 section 6.4.4."""

    MIN = 1
    MAX = 2
    ALL = 4
    COUNT = 8
    SAVE = 16


@dataclass(frozen=True, slots=True)
class All:
    """Every message."""


@dataclass(frozen=True, slots=True)
class And:
    """All of `keys` hold."""

    keys: tuple[SearchKey, ...]


@dataclass(frozen=True, slots=True)
class Or:
    """One of `keys` holds; `OR a OR b c` is one Or of three."""

    keys: tuple[SearchKey, ...]


@dataclass(frozen=True, slots=True)
class Not:
    """`key` does not hold."""

    key: SearchKey


@dataclass(frozen=True, slots=True)
class Messages:
    """The message is in the set: of sequence numbers, or with `uid` of UIDs."""

    messages: SequenceSet
    uid: bool = False


@dataclass(frozen=True, slots=True)
class Flag:
    """The system flag is set (one bit of `services.common.domain`)."""

    bit: int


@dataclass(frozen=True, slots=True)
class Keyword:
    """The keyword is set; keywords are compared without regard to case."""

    keyword: str


@dataclass(frozen=True, slots=True)
class Recent:
    """\\Recent is set (RFC 3501)."""


class DateField(Enum):
    """Which date a `Date` key looks at."""

    INTERNAL = 1
    SENT = 2


class DateOrder(Enum):
    """How it compares. SINCE includes the day."""

    BEFORE = 1
    ON = 2
    SINCE = 3


@dataclass(frozen=True, slots=True)
class Date:
    """BEFORE, ON, SINCE, SENTBEFORE, SENTON, SENTSINCE; `day` in days since 1970, disregarding time and zone."""

    field: DateField
    order: DateOrder
    day: int


@dataclass(frozen=True, slots=True)
class Larger:
    """RFC822.SIZE above `size`."""

    size: int


@dataclass(frozen=True, slots=True)
class Smaller:
    """RFC822.SIZE below `size`."""

    size: int


@dataclass(frozen=True, slots=True)
class Text:
    """BCC, BODY, CC, FROM, HEADER, SUBJECT, TEXT, TO: for the store; the needle is decoded by the command's CHARSET."""

    key: TextKey


SearchKey = All | And | Or | Not | Messages | Flag | Keyword | Recent | Date | Larger | Smaller | Text


@dataclass(frozen=True, slots=True)
class Search:
    """SEARCH and UID SEARCH. `returns` is None without RETURN; `RETURN ()` is ALL.

    `refusal` is text and code of the NO for a program that is well formed and cannot be run (its charset, its size):
    with SAVE that, too, changes the session. `key` has no meaning then.
    """

    key: SearchKey
    uid: bool = False
    returns: SearchReturn | None = None
    refusal: tuple[str, str] | None = None
