"""A long FETCH answer in portions: what is made, and in memory, at one time. No I/O."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from services.imap.rendering import PIECE_BYTES, Plan

if TYPE_CHECKING:
    from services.imap.chunk import Chunk
    from services.imap.view import Spans


def by_size(sizes: Sequence[int], *, alone: int | None = None) -> Iterator[tuple[int, int]]:
    """Runs of messages that make about one piece; what is larger than `alone` is by itself."""
    start = total = 0
    for place, size in enumerate(sizes):
        if total and (total + size > PIECE_BYTES or (alone is not None and size > alone)):
            yield start, place
            start, total = place, 0
        total += size
    if start < len(sizes):
        yield start, len(sizes)


def portions(plan: Plan, chunk: Chunk) -> Iterator[Chunk]:
    """The chunk, cut further where its messages have far larger texts than most have."""
    if not len(chunk):
        return
    if not plan.texts or plan.size(chunk) <= 4 * PIECE_BYTES:
        yield chunk
        return
    for start, stop in by_size([plan.size(chunk.part(place, place + 1)) for place in range(len(chunk))]):
        yield chunk.part(start, stop)


def batches(spans: Spans, rows: int) -> Iterator[range | list[int]]:
    """The places in runs of at most `rows`; ranges where messages follow one another, else small spans together."""
    scattered: list[int] = []
    for first, last in spans:
        if len(spans) > 1 and last - first < rows // 2:
            scattered.extend(range(first, last))
            if len(scattered) >= rows // 2:
                yield scattered
                scattered = []
            continue
        if scattered:
            yield scattered
            scattered = []
        for start in range(first, last, rows):
            yield range(start, min(last, start + rows))
    if scattered:
        yield scattered
