"""Answers to LIST and UIDL, kept until the maildrop changes: most sessions ask for what the last one was told."""

from __future__ import annotations

from array import array
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from services.common.domain import AccountId

KEPT_BYTES: Final = 32 << 20
"""Of one process."""

Key = tuple[str, AccountId]


class Rendered:
    """One answer for each command and account; the longest unused ones go.

    An answer is that of a column: maildrops that were opened with nothing changed in between share theirs.
    """

    __slots__ = ("_answers", "_held", "_limit")

    def __init__(self, limit: int = KEPT_BYTES) -> None:
        self._limit = limit
        self._held = 0
        self._answers: OrderedDict[Key, tuple[array[int], bytes]] = OrderedDict()

    def get(self, key: Key, column: array[int], make: Callable[[], bytes]) -> bytes:
        """The answer, made where it is not kept."""
        found = self._answers.get(key)
        if found is not None:
            if found[0] is column:
                self._answers.move_to_end(key)
                return found[1]
            del self._answers[key]
            self._held -= len(found[1])
        answer = make()
        self._answers[key] = (column, answer)
        self._held += len(answer)
        while self._held > self._limit:
            self._held -= len(self._answers.popitem(last=False)[1][1])
        return answer
