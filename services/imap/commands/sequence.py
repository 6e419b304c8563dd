"""Sequence sets: which messages a command is about (RFC 9051 section 9, `sequence-set`)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

STAR: Final = 1 << 32
"""Stands for `*`, the largest number in use: above every 32-bit number, so that ranges keep their order."""


@dataclass(frozen=True, slots=True)
class SequenceSet:
    """Ranges as they were sent, both ends included, low end first, `*` as `STAR`.

    `saved` is `$`, the result of the last SEARCH RETURN (SAVE) (RFC 5182); `ranges` is empty then.
    """

    ranges: tuple[tuple[int, int], ...]
    saved: bool = False

    def resolve(self, maximum: int) -> Iterator[tuple[int, int]]:
        """The ranges with `*` replaced by `maximum`, low end first.

        `*:4` with 2 messages is 2:4, and so asks for message 2 (RFC 9051 section 9, `seq-range`).
        """
        for first, last in self.ranges:
            if last != STAR:
                yield first, last
            elif first == STAR:
                yield maximum, maximum
            else:
                yield (first, maximum) if first <= maximum else (maximum, first)


SAVED: Final = SequenceSet((), saved=True)
ALL_MESSAGES: Final = SequenceSet(((1, STAR),))
