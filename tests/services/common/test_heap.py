"""Freed memory goes back to the system."""

from __future__ import annotations

import ctypes
import os
from pathlib import Path

import pytest

from services.common import heap
from services.common.heap import Heap

BLOCK = 4_096
BLOCKS = 16_384


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")


def test_memory_below_a_block_in_use_is_given_back() -> None:
    library = ctypes.CDLL(None)
    library.malloc.restype = ctypes.c_void_p
    library.free.argtypes = (ctypes.c_void_p,)
    blocks = [library.malloc(BLOCK) for _ in range(BLOCKS)]
    for block in blocks:
        ctypes.memset(block, 1, BLOCK)
    last = library.malloc(BLOCK)
    full = resident()
    for block in blocks:
        library.free(block)
    kept = Heap()
    assert kept.known
    assert kept.give_back()
    assert resident() < full - BLOCK * BLOCKS // 2
    library.free(last)


def test_little_is_left_where_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heap, "WORTH_BYTES", 1 << 50)
    assert not Heap().give_back()


def test_another_c_library_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ctypes.CDLL", lambda name: object())
    other = Heap()
    assert (other.known, other.idle_bytes(), other.give_back()) == (False, 0, False)
