"""UIDs as ranges."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from services.store.mailstore.uidranges import MAX_UID, ordered, ranges


@given(st.lists(st.integers(min_value=-5, max_value=200)))
def test_ranges_hold_exactly_the_uids(uids: list[int]) -> None:
    wanted = ordered(uids)
    found = ranges(wanted)
    assert [uid for low, high in found for uid in range(low, high + 1)] == wanted
    assert all(after[0] > before[1] + 1 for before, after in pairwise(found))


@given(st.lists(st.integers(min_value=1, max_value=500), min_size=1), st.integers(min_value=0, max_value=20))
def test_gaps_that_are_taken_in_are_small(uids: list[int], gap: int) -> None:
    wanted = ordered(uids)
    found = ranges(wanted, gap)
    assert {uid for low, high in found for uid in range(low, high + 1)} >= {*wanted}
    assert sum(high - low + 1 for low, high in found) <= len(wanted) * (gap + 1)


def test_what_cannot_be_a_uid_is_left_out() -> None:
    assert ordered([0, -1, MAX_UID + 1, 1 << 70, MAX_UID, 3, 3]) == [3, MAX_UID]
