"""Packed body references are the sequence that was sent."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.common.domain import BodyRef
from services.common.errors import StoreError
from services.common.storeclient.packedrefs import PackedRefs
from services.common.storeclient.values import body_refs

NUMBERS = st.integers(0, 2**40)
REFS = st.builds(BodyRef, st.binary(min_size=32, max_size=32), NUMBERS, NUMBERS, NUMBERS, st.binary(max_size=4))


@given(parts=st.lists(st.lists(REFS, max_size=5), max_size=4), bounds=st.tuples(st.integers(-9, 9), st.integers(-9, 9)))
def test_packed_refs_are_what_was_sent(parts: list[list[BodyRef]], bounds: tuple[int, int]) -> None:
    packed, plain = PackedRefs(), [ref for part in parts for ref in part]
    for part in parts:
        packed.add(body_refs(part))
    assert list(packed) == plain
    assert packed[bounds[0] : bounds[1]] == plain[bounds[0] : bounds[1]]
    assert [packed[-place] for place in range(1, len(plain) + 1)] == plain[::-1]
    with pytest.raises(IndexError):
        packed[len(plain)]


def test_columns_that_do_not_fit_together_are_refused() -> None:
    message = body_refs([BodyRef(bytes(32), 1, 2, 3)])
    message.lengths = b""
    with pytest.raises(StoreError):
        PackedRefs().add(message)
