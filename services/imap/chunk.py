"""Some messages of a view, as columns, at the moment one piece of a FETCH answer is made."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from services.common.domain import Column
from services.common.mime.structure import Part, parse

if TYPE_CHECKING:
    from services.imap.view import View


class Chunk:
    """Messages by their places in the view, a range or an ascending list.

    Columns never change, so they are taken once (`take`) and stay good over an await. Flags are read when rendered:
    where the view's array is the shared one they are a slice; where an expunge is not told yet, each message is looked
    up by its UID, in the arrays or among the ghosts.
    """

    __slots__ = ("_structures", "bodies", "places", "shared", "uids", "undecodable", "values", "view")

    def __init__(self, view: View, places: range | list[int]) -> None:
        self.view = view
        self.shared = view.shared
        self.places = places
        self.values: dict[Column, list[Any]] = {}
        self.bodies: list[bytes] = []
        """The messages themselves, where the plan asks for them."""
        self.undecodable = False
        """Of some message a part was asked for whose transfer encoding is not known."""
        self._structures: list[Part] | None = None
        uids = view.uids
        if isinstance(places, range):
            self.uids: Sequence[int] = uids[places.start : places.stop]
        else:
            self.uids = array("I", [uids[place] for place in places])

    def __len__(self) -> int:
        return len(self.places)

    @property
    def numbers(self) -> Sequence[int]:
        """Sequence numbers."""
        places = self.places
        if isinstance(places, range):
            return range(places.start + 1, places.stop + 1)
        return [place + 1 for place in places]

    @property
    def flags(self) -> Sequence[int]:
        """Flag masks, as they are now."""
        if isinstance(self.places, range) and self.view.current:
            return self.shared.flags[self.places.start : self.places.stop]
        return [self.view.flags_of(uid) for uid in self.uids]

    @property
    def flag_texts(self) -> list[bytes]:
        """The insides of FLAGS (..), with \\Recent where this session sees it (RFC 3501 section 2.3.2)."""
        flags, view, shared = self.flags, self.view, self.shared
        plain = len(flags) if view.rev2 else bisect_left(self.uids, view.recent_from)
        if plain == len(flags):
            return list(map(shared.flag_texts.__getitem__, flags))
        older = map(shared.flag_texts.__getitem__, flags[:plain])
        return [*older, *map(shared.recent_texts.__getitem__, flags[plain:])]

    @property
    def modseqs(self) -> Sequence[int]:
        """Modification sequences, as they are now."""
        if isinstance(self.places, range) and self.view.current:
            return self.shared.modseqs[self.places.start : self.places.stop]
        return [self.view.modseq_of(uid) for uid in self.uids]

    def take(self, kinds: Iterable[Column]) -> bool:
        """Take columns along; False when some value of them is not loaded."""
        complete = True
        for kind in kinds:
            values = self.values[kind] = self._column(kind)
            complete = complete and None not in values
        return complete

    @property
    def structures(self) -> list[Part]:
        """The parts of each of `bodies`, found once however many of them are asked for."""
        if self._structures is None:
            self._structures = list(map(parse, self.bodies))
        return self._structures

    def without_lost(self) -> Chunk:
        """The messages of which everything taken is here: the others were expunged before it could be loaded."""
        lost = {index for values in self.values.values() for index, value in enumerate(values) if value is None}
        if not lost:
            return self
        return self.only([index for index in range(len(self)) if index not in lost])

    def only(self, indexes: Sequence[int]) -> Chunk:
        """These of the messages, with what was taken."""
        return self._picked([self.places[index] for index in indexes], indexes)

    def part(self, start: int, stop: int) -> Chunk:
        """Some of the messages, with what was taken."""
        places = self.places[start:stop]
        return self._picked(places, range(start, stop))

    def _picked(self, places: range | list[int], indexes: Sequence[int]) -> Chunk:
        chunk = Chunk(self.view, places)
        chunk.values = {kind: [values[index] for index in indexes] for kind, values in self.values.items()}
        return chunk

    def _column(self, kind: Column) -> list[Any]:
        column = self.shared.columns.get(kind)
        if isinstance(self.places, range) and self.view.current:
            return [None] * len(self) if column is None else column[self.places.start : self.places.stop]
        return [self._value(column, kind, uid) for uid in self.uids]

    def _value(self, column: list[Any] | None, kind: Column, uid: int) -> Any:
        place = self.shared.index(uid)
        if place >= 0:
            return None if column is None else column[place]
        ghost = self.shared.ghosts.get(uid)
        return None if ghost is None else ghost.values.get(kind)
