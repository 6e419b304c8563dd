"""Whole FETCH answers, kept until something they depend on changes, for all sessions that would get the same."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final, TypeAlias

from services.imap.rendering import Plan
from services.imap.view import Spans, View

if TYPE_CHECKING:
    from services.imap.cache import Cache

FEWEST: Final = 32
"""Answers of fewer messages are made faster than they are looked up."""
Key: TypeAlias = tuple[bytes, bool, bool]


@dataclass(frozen=True, slots=True)
class Kept:
    """An answer in pieces, and what the mailbox was like when it was made."""

    stamp: tuple[int, int, int, int]
    pieces: list[bytes]
    size: int


class Answers:
    """Finds and keeps answers to FETCH of a whole mailbox."""

    def __init__(self, cache: Cache) -> None:
        self._cache = cache

    def concerns(self, view: View, plan: Plan, spans: Spans) -> bool:
        """Whether such an answer can be kept at all."""
        whole = len(spans) == 1 and spans[0] == (0, view.count)
        return whole and view.count >= FEWEST and view.current and not plan.bodies

    def find(self, view: View, plan: Plan) -> Kept | None:
        """The answer, if it is still true."""
        kept: Kept | None = view.shared.rendered.get(_key(view, plan))
        if kept is None or kept.stamp != stamp(view, plan):
            return None
        self._cache.touch((view.shared, _key(view, plan)))
        return kept

    def keep(self, view: View, plan: Plan, made_at: tuple[int, int, int, int], pieces: list[bytes]) -> None:
        """Keep an answer that was made while nothing changed after `made_at`."""
        shared, key = view.shared, _key(view, plan)
        size = sum(map(len, pieces))
        if made_at == stamp(view, plan) and self._cache.admits(size):
            shared.rendered[key] = Kept(made_at, pieces, size)
            self._cache.keep((shared, key), size, partial(shared.rendered.__delitem__, key))


def stamp(view: View, plan: Plan) -> tuple[int, int, int, int]:
    """What the answer depends on: which messages, their flags, and which of them are \\Recent to this session."""
    shared = view.shared
    if not plan.flags:
        return shared.generation, view.count, 0, 0
    recent = view.recent_from if not view.rev2 and view.recent else 0
    return shared.generation, view.count, shared.flags_version, recent


def _key(view: View, plan: Plan) -> Key:
    return plan.key, plan.uid, view.rev2
