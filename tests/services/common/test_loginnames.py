"""Login names: prepared by RFC 8265, and split where the separator says."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.common.directory import parse_name
from services.common.loginnames import prepare_name, split_at


@pytest.mark.rfc("8265", "3.3")
@pytest.mark.parametrize(
    ("typed", "prepared"),
    [
        ("Anna@Example.COM", "anna@example.com"),
        ("J\u00dcRGEN@example.com", "j\u00fcrgen@example.com"),
        ("ju\u0308rgen@example.com", "j\u00fcrgen@example.com"),
        ("\uff21\uff22", "ab"),
        ("\u03a3\u03a3", "\u03c3\u03c2"),
        ("\u05d0\u05d1@example.com", "\u05d0\u05d1@example.com"),
        ("", ""),
    ],
)
def test_names_are_prepared(typed: str, prepared: str) -> None:
    assert prepare_name(typed) == prepared


@pytest.mark.rfc("8264", "4.2.3")
@pytest.mark.parametrize("name", ["\ufb01ona", "a\u2603", "I\u00adX", "\u2168", "a\u00a0b", "a\u0007b", "\u0627a"])
def test_names_that_only_look_like_others_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        prepare_name(name)


@given(st.text(max_size=20))
def test_a_prepared_name_is_the_one_that_addresses_are_compared_as(text: str) -> None:
    try:
        prepared = prepare_name(text)
    except ValueError:
        return
    assert prepare_name(prepared) == prepared
    assert parse_name(prepared).local == parse_name(text).local


@pytest.mark.parametrize(
    ("name", "separators", "split"),
    [
        ("anna@example.com", "@", "anna@example.com"),
        ("anna+example.com", "@", "anna+example.com"),
        ("anna+example.com", "@+", "anna@example.com"),
        ("anna@example.com", "@+", "anna@example.com"),
        ("anna+folder@example.com", "@+", "anna+folder@example.com"),
        ("anna%example.com", "@+%", "anna@example.com"),
        ("anna", "@+", "anna"),
    ],
)
def test_the_last_separator_parts_name_and_domain(name: str, separators: str, split: str) -> None:
    assert split_at(name, separators) == split
