"""Names of mailboxes, keywords and accounts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.common.errors import Reason, StoreError
from services.common.mailboxnames import canonical
from services.store.mailstore import names


@pytest.mark.rfc("5198", "3")
@given(st.text(max_size=40))
def test_a_checked_name_is_canonical(name: str) -> None:
    try:
        proper = names.checked(name)
    except StoreError:
        return
    assert canonical(proper) == proper
    assert names.checked(proper) == proper


def test_lone_surrogates_are_no_names() -> None:
    with pytest.raises(StoreError) as caught:
        names.checked("\ud800")
    assert caught.value.reason is Reason.MAILBOX_NAME_INVALID


@given(st.text(min_size=1, max_size=20), st.text(max_size=20))
def test_names_below_lie_within_bounds(name: str, rest: str) -> None:
    low, high = names.below(name)
    assert low <= f"{name}/{rest}" < high
    assert not low <= name < high
    assert not low <= f"{name}x{rest}" < high


def test_levels() -> None:
    assert names.levels_of("a/b/c") == ["a", "a/b", "a/b/c"]


@pytest.mark.rfc("9051", "9")
@pytest.mark.parametrize("keyword", ["$Forwarded", "a[b", "x:y", "~|}&'+-.,/<=>?@^_`!#"])
def test_keywords(keyword: str) -> None:
    assert names.checked_keyword(keyword) == keyword
