"""LIST patterns against names."""

from __future__ import annotations

import pytest

from services.imap.patterns import matcher


@pytest.mark.rfc("9051", "6.3.9")
@pytest.mark.parametrize(
    ("reference", "pattern", "names", "others"),
    [
        ("", "*", ["INBOX", "a/b/c"], [""]),
        ("", "%", ["INBOX", "a"], ["a/b", "a/b/c"]),
        ("", "a/%", ["a/b", "a/"], ["a", "a/b/c", "b/c"]),
        ("a/", "%", ["a/b"], ["a", "a/b/c"]),
        ("", "a*c", ["abc", "ac", "a/b/c"], ["abcd", "xabc"]),
        ("", "%/%", ["a/b", "c/d"], ["a", "a/b/c"]),
        ("", "%b%/*d", ["abc/d", "b/x/yd"], ["ac/d", "abc/de", "abc"]),
        ("", "*a%b", ["a/ab", "x/axxb", "ab"], ["a/b", "ab/c"]),
        ("", "*%", ["a/b"], []),
        ("", "%*%a", ["x/y/a"], ["x/y/b"]),
        ("", "inbox", ["INBOX"], ["inbox", "Inbox"]),
        ("", "InB%", ["INBOX"], ["INBOX/a", "inbo"]),
        ("", "inbox/*", ["INBOX/a"], ["INBOX"]),
        ("", "a.b", ["a.b"], ["axb"]),
        ("", "[a]*(", ["[a]x("], ["ax("]),
        ("", "", [""], ["a"]),
        ("", "日%", ["日本"], ["本"]),
    ],
)
def test_patterns(reference: str, pattern: str, names: list[str], others: list[str]) -> None:
    match = matcher(reference, pattern)
    assert [name for name in [*names, *others] if match(name)] == names


def test_patterns_that_would_never_end_by_trial_and_error() -> None:
    assert not matcher("", "*a" * 400 + "*b")("a" * 1000)
