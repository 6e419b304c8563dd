"""Searches for a header field: the right lines, and no more time than the header is long."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.common.domain import TextField
from services.store.mailstore.search import Probe

HEADER = "subject: one two\nx-subject: three\nsubject: four\nto: subject: five"


@pytest.mark.rfc("9051", "6.4.4")
@pytest.mark.parametrize(
    ("name", "needle", "found"),
    [
        ("subject", "one", True),
        ("subject", "four", True),
        ("subject", "", True),
        ("subject", "three", False),
        ("subject", "five", False),
        ("x-subject", "three", True),
        ("to", "subject: five", True),
        ("cc", "", False),
        ("subject", "two\nx-", False),
    ],
)
def test_lines_of_a_field(name: str, needle: str, found: bool) -> None:
    assert Probe(TextField.HEADER, needle, name).in_header(HEADER) is found


@given(st.text("ab: \n", max_size=30), st.text("ab", min_size=1, max_size=2), st.text("ab: ", max_size=3))
def test_as_a_regular_expression_has_it(header: str, name: str, needle: str) -> None:
    expected = re.search(rf"^{name}: [^\n]*{re.escape(needle)}", header, re.MULTILINE) is not None
    assert Probe(TextField.HEADER, needle, name).in_header(header) is expected


def test_long_needles_in_long_lines() -> None:
    """A search by trying each place would take minutes."""
    assert not Probe(TextField.HEADER, "a" * 60_000 + "b", "subject").in_header("subject: " + "a" * 1_000_000)
    assert not Probe(TextField.HEADER, "b", "a").in_header("a: a\n" * 200_000)
