"""The forms in which options are written down in Messaging Server's world."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.cli.dump import parse_lines


@pytest.mark.parametrize(
    ("line", "name", "value"),
    [
        ("service.imap.maxsessions = 4000", "service.imap.maxsessions", "4000"),
        ("service.imap.maxsessions=4000", "service.imap.maxsessions", "4000"),
        ("service.pop.enable = yes [NOT REFRESHABLE]", "service.pop.enable", "yes"),
        ('service.pop.banner = "%h %p service (%P %V)" [REFRESHABLE]', "service.pop.banner", "%h %p service (%P %V)"),
        ("service.imap.domainallowed =", "service.imap.domainallowed", ""),
        ("service.imap.banner;lang-de = Hallo", "service.imap.banner;lang-de", "Hallo"),
        ("role.imap.maxsessions = 4000", "imap.maxsessions", "4000"),
        ("instance.imap.enable = 1", "imap.enable", "1"),
        ("set imap.maxsessions 4000", "imap.maxsessions", "4000"),
        ('set_option("imap.maxsessions", "4000");', "imap.maxsessions", "4000"),
        ("a line that sets nothing", "", ""),
        ("= 5", "", ""),
    ],
)
def test_each_form_gives_name_and_value(line: str, name: str, value: str) -> None:
    [found] = parse_lines(f"# a comment\n\n{line}\n! another\n")
    assert (found.number, found.name, found.value) == (3, name, value)


@given(st.text())
def test_any_text_gives_a_line_for_each_line_at_most(text: str) -> None:
    found = list(parse_lines(text))
    assert len(found) <= len(text.splitlines())
    assert all(line.name or not line.value for line in found)
