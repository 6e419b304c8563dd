"""Body references as they came over the wire, made into values when they are asked for.

A maildrop is opened with a reference for each of its messages, ten thousand perhaps, and read for a few of them.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Sequence
from typing import overload

from mailproto.store.v1 import messages_pb2
from services.common.domain import BodyRef
from services.common.errors import Reason, StoreError
from services.common.storeclient.values import DIGEST_SIZE, read_numbers


class _Part:
    """The columns of one message; prefixes stay in it until they are wanted."""

    __slots__ = ("_digests", "_lengths", "_offsets", "_prefixes", "_segments", "size")

    def __init__(self, message: messages_pb2.BodyRefs) -> None:
        self._digests = message.digests
        self._lengths: array[int] = read_numbers(message.lengths)
        self._segments: array[int] = read_numbers(message.segments)
        self._offsets: array[int] = read_numbers(message.offsets)
        self._prefixes = message.prefixes if len(message.prefixes) else None
        self.size = size = len(self._lengths)
        if not (
            len(self._digests) == DIGEST_SIZE * size
            and len(self._segments) == len(self._offsets) == size
            and (self._prefixes is None or len(self._prefixes) == size)
        ):
            raise StoreError(Reason.INVALID_ARGUMENT)

    def ref(self, place: int) -> BodyRef:
        """One reference."""
        return BodyRef(
            self._digests[DIGEST_SIZE * place : DIGEST_SIZE * (place + 1)],
            self._lengths[place],
            self._segments[place],
            self._offsets[place],
            self._prefixes[place] if self._prefixes is not None else b"",
        )


class PackedRefs(Sequence[BodyRef]):
    """References in order, of one or more messages."""

    __slots__ = ("_parts", "_size", "_starts")

    def __init__(self) -> None:
        self._parts: list[_Part] = []
        self._starts: list[int] = []
        self._size = 0

    def add(self, message: messages_pb2.BodyRefs) -> None:
        """Put those of a further message behind. Raises INVALID_ARGUMENT where its columns do not fit together."""
        part = _Part(message)
        if part.size:
            self._parts.append(part)
            self._starts.append(self._size)
            self._size += part.size

    def __len__(self) -> int:
        return self._size

    @overload
    def __getitem__(self, place: int) -> BodyRef: ...
    @overload
    def __getitem__(self, place: slice) -> list[BodyRef]: ...
    def __getitem__(self, place: int | slice) -> BodyRef | list[BodyRef]:
        if isinstance(place, slice):
            return [self[at] for at in range(*place.indices(self._size))]
        if place < 0:
            place += self._size
        if not 0 <= place < self._size:
            raise IndexError(place)
        number = bisect_right(self._starts, place) - 1
        return self._parts[number].ref(place - self._starts[number])
