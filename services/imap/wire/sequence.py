"""Sequence sets and UID sets, both ways (RFC 9051 section 9: `sequence-set`, `uid-set`)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import pairwise
from typing import Final

from services.imap.commands.sequence import SAVED, STAR, SequenceSet
from services.imap.wire.cache import Cache
from services.imap.wire.lexer import NUMBER_MAX, BadSyntax, Lexer

_SET: Final = re.compile(rb"[0-9*][0-9:*,]*")
_SHORT: Final = 24
_known: Final[Cache[bytes, SequenceSet]] = Cache(16_384)


def read_set(lexer: Lexer) -> SequenceSet:
    """`sequence-set`, `$` included (RFC 5182 section 4)."""
    if lexer.skip(b"$"):
        return SAVED
    return parse_set(lexer.pattern(_SET, "Expected a sequence set").group())


def parse_set(text: bytes) -> SequenceSet:
    """The set that `text` is, and nothing else. Raises BadSyntax. Short ones are kept and shared."""
    found = _known.get(text)
    if found is not None:
        return found
    if text == b"$":
        return SAVED
    parsed = SequenceSet(tuple([_range(part) for part in text.split(b",")]))
    if len(text) <= _SHORT:
        _known.keep(text, parsed)
    return parsed


def _range(part: bytes) -> tuple[int, int]:
    first, colon, last = part.partition(b":")
    low = _number(first)
    high = _number(last) if colon else low
    return (low, high) if low <= high else (high, low)


def _number(text: bytes) -> int:
    if text == b"*":
        return STAR
    if not text.isdigit() or text[0] == 0x30 or len(text) > 10 or (value := int(text)) > NUMBER_MAX:
        raise BadSyntax("Invalid sequence set")
    return value


def format_set(sequence_set: SequenceSet) -> bytes:
    """The set as text; reading it again gives an equal one."""
    if sequence_set.saved:
        return b"$"
    return b",".join(
        [_end(first) if first == last else _end(first) + b":" + _end(last) for first, last in sequence_set.ranges]
    )


def _end(number: int) -> bytes:
    return b"*" if number == STAR else b"%d" % number


def format_numbers(numbers: Iterable[int]) -> bytes:
    """`uid-set` of numbers in the order given, runs that ascend by one as ranges; b"" for none.

    The order stays because COPYUID pairs two sets by place (RFC 4315 section 3).
    """
    values = numbers if isinstance(numbers, (list, tuple)) else list(numbers)
    if not values:
        return b""
    breaks = [index for index, (before, after) in enumerate(pairwise(values), 1) if after != before + 1]
    starts = [0, *breaks]
    ends = [*breaks, len(values)]
    return b",".join(
        [
            b"%d" % values[start] if end - start == 1 else b"%d:%d" % (values[start], values[end - 1])
            for start, end in zip(starts, ends, strict=True)
        ]
    )
