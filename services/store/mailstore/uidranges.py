"""Sets of UIDs as ranges, so that statements are few however many messages they touch."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from functools import cache
from operator import itemgetter
from typing import Any, Final

from services.store.backends import Transaction, Value

MAX_UID: Final = (1 << 32) - 1
_GAP: Final = 16
"""Rows that are cheaper to read over than a statement is to run."""
_FEW: Final = 8
_CHUNK: Final = 100

Range = tuple[int, int]


def ordered(uids: Iterable[int]) -> list[int]:
    """Ascending, each once, without what cannot be a UID."""
    return [uid for uid in sorted(set(uids)) if 0 < uid <= MAX_UID]


def ranges(uids: Sequence[int], gap: int = 0) -> list[Range]:
    """Ascending UIDs as closed ranges; up to `gap` missing ones are taken in between."""
    found: list[Range] = []
    if not uids:
        return found
    low = high = uids[0]
    for uid in uids:
        if uid - high > gap + 1:
            found.append((low, high))
            low = uid
        high = uid
    found.append((low, high))
    return found


async def select(tx: Transaction, sql: str, key: tuple[Value, ...], uids: Sequence[int] | None) -> list[Any]:
    """Rows of `sql` for the UIDs (None: all), ascending.

    `sql` ends in a WHERE clause over the parameters of `key` that restrictions can be appended to, names the messages
    `m` and selects `m.uid` first.
    """
    if uids is None:
        return list(await tx.fetch(f"{sql} ORDER BY m.uid", *key))
    if isinstance(uids, range) and uids.step == 1:
        return await _select_ranges(tx, sql, key, [(max(uids.start, 1), min(uids.stop - 1, MAX_UID))])
    if len(uids) == 1 and uids[0] <= MAX_UID:
        return list(await tx.fetch(_single(sql, len(key)), *key, uids[0]))
    wanted = ordered(uids)
    cover = ranges(wanted, _GAP)
    if len(cover) <= _FEW:
        rows = await _select_ranges(tx, sql, key, cover)
    else:
        rows = await _select_scattered(tx, sql, key, cover)
    if sum(high - low + 1 for low, high in cover) == len(wanted):
        return rows
    exact = set(wanted)
    return [row for row in rows if row[0] in exact]


@cache
def _single(sql: str, keys: int) -> str:
    """The query for one message: by far the most frequent one."""
    return f"{sql} AND m.uid = ${keys + 1}"


async def _select_ranges(tx: Transaction, sql: str, key: tuple[Value, ...], cover: Sequence[Range]) -> list[Any]:
    low, high = len(key) + 1, len(key) + 2
    query = f"{sql} AND m.uid BETWEEN ${low} AND ${high} ORDER BY m.uid"
    rows: list[Any] = []
    for bounds in cover:
        rows += await tx.fetch(query, *key, *bounds)
    return rows


async def _select_scattered(tx: Transaction, sql: str, key: tuple[Value, ...], cover: Sequence[Range]) -> list[Any]:
    """Ranges by BETWEEN, single UIDs by IN lists of one length (so that the statement is prepared once)."""
    rows = await _select_ranges(tx, sql, key, [bounds for bounds in cover if bounds[0] != bounds[1]])
    singles = [low for low, high in cover if low == high]
    places = ", ".join(f"${len(key) + 1 + place}" for place in range(_CHUNK))
    query = f"{sql} AND m.uid IN ({places})"
    for start in range(0, len(singles), _CHUNK):
        chunk = singles[start : start + _CHUNK]
        rows += await tx.fetch(query, *key, *chunk, *([0] * (_CHUNK - len(chunk))))
    rows.sort(key=itemgetter(0))
    return rows


def packed(uids: Iterable[int]) -> array[int]:
    """UIDs as they travel."""
    return array("I", uids)
