"""SEARCH programs (RFC 9051 section 6.4.4, RFC 3501 section 6.4.4, RFC 4731, RFC 5182)."""

from __future__ import annotations

import pytest

from services.common.domain import ANSWERED, DELETED, FLAGGED, SEEN, TextField, TextKey
from services.imap.commands.search import (
    All,
    And,
    Date,
    DateField,
    DateOrder,
    Flag,
    Keyword,
    Larger,
    Messages,
    Not,
    Or,
    Recent,
    Search,
    SearchKey,
    SearchReturn,
    Smaller,
    Text,
)
from services.imap.commands.sequence import SAVED, STAR, SequenceSet
from tests.support.imapwire import parse, refusal


def text(field: TextField, needle: str, header: str = "") -> Text:
    return Text(TextKey(field, needle, header))


FIRST_FEBRUARY_1994 = 8797

KEYS: list[tuple[str, SearchKey]] = [
    ("ALL", All()),
    ("unseen", Not(Flag(SEEN))),
    ("NEW", And((Recent(), Not(Flag(SEEN))))),
    ("OLD", Not(Recent())),
    ("NOT DELETED", Not(Flag(DELETED))),
    ("NOT NOT DELETED", Flag(DELETED)),
    ("KEYWORD $Junk", Keyword("$Junk")),
    ("UNKEYWORD a", Not(Keyword("a"))),
    ("1:3,5", Messages(SequenceSet(((1, 3), (5, 5))))),
    ("*", Messages(SequenceSet(((STAR, STAR),)))),
    ("$", Messages(SAVED)),
    ("UID 7:*", Messages(SequenceSet(((7, STAR),)), uid=True)),
    ("LARGER 0", Larger(0)),
    ("SMALLER 9223372036854775807", Smaller((1 << 63) - 1)),
    ('FROM "Smith"', text(TextField.FROM, "Smith")),
    ("BODY x", text(TextField.BODY, "x")),
    ('TEXT ""', text(TextField.TEXT, "")),
    ("HEADER Message-ID <a@b>", text(TextField.HEADER, "<a@b>", "Message-ID")),
    ("SINCE 1-Feb-1994", Date(DateField.INTERNAL, DateOrder.SINCE, FIRST_FEBRUARY_1994)),
    ('sentbefore "01-FEB-1994"', Date(DateField.SENT, DateOrder.BEFORE, FIRST_FEBRUARY_1994)),
    ("ON 1-Jan-1970", Date(DateField.INTERNAL, DateOrder.ON, 0)),
    ("OR SEEN FLAGGED", Or((Flag(SEEN), Flag(FLAGGED)))),
    ("OR SEEN OR FLAGGED ANSWERED", Or((Flag(SEEN), Flag(FLAGGED), Flag(ANSWERED)))),
    ("OR (OR SEEN FLAGGED) ANSWERED", Or((Or((Flag(SEEN), Flag(FLAGGED))), Flag(ANSWERED)))),
    ("(SEEN FLAGGED)", And((Flag(SEEN), Flag(FLAGGED)))),
    ("(SEEN)", Flag(SEEN)),
    (
        'FLAGGED SINCE 1-Feb-1994 NOT FROM "Smith"',
        And(
            (
                Flag(FLAGGED),
                Date(DateField.INTERNAL, DateOrder.SINCE, FIRST_FEBRUARY_1994),
                Not(text(TextField.FROM, "Smith")),
            )
        ),
    ),
]


@pytest.mark.rfc("9051", "6.4.4")
@pytest.mark.rfc("3501", "6.4.4")
@pytest.mark.parametrize(("program", "key"), KEYS)
def test_keys(program: str, key: SearchKey) -> None:
    assert parse("SEARCH " + program) == Search(key)
    assert parse("UID SEARCH " + program) == Search(key, uid=True)


@pytest.mark.rfc("9051", "6.4.4")
@pytest.mark.parametrize(
    ("options", "returns"),
    [
        ("RETURN (MIN COUNT)", SearchReturn.MIN | SearchReturn.COUNT),
        ("return ()", SearchReturn.ALL),
        ("RETURN (SAVE)", SearchReturn.SAVE),
        ("RETURN (ALL MAX)", SearchReturn.ALL | SearchReturn.MAX),
    ],
)
def test_result_options(options: str, returns: SearchReturn) -> None:
    assert parse(f"SEARCH {options} CHARSET UTF-8 SEEN") == Search(Flag(SEEN), returns=returns)


@pytest.mark.rfc("9051", "6.4.4")
def test_strings_are_in_the_charset_that_is_named() -> None:
    wanted = Search(text(TextField.SUBJECT, "тест"))
    assert parse(b"SEARCH CHARSET utf-8 SUBJECT {8}", "тест".encode()) == wanted
    assert parse(b'SEARCH CHARSET "KOI8-R" SUBJECT {4}', "тест".encode("koi8-r")) == wanted
    assert parse(b"SEARCH SUBJECT {8}", "тест".encode()) == wanted
    assert parse('SEARCH SUBJECT "тест"', utf8=True) == wanted


@pytest.mark.rfc("9051", "7.1")
def test_an_unknown_charset_or_one_that_does_not_fit_is_badcharset() -> None:
    unknown = refusal("SEARCH CHARSET UTF-7 TEXT x")
    assert (unknown.condition, unknown.code.startswith("BADCHARSET (UTF-8 ")) == ("NO", True)
    unfit = refusal(b"SEARCH CHARSET US-ASCII SUBJECT {8}", "тест".encode())
    assert (unfit.condition, unfit.code) == ("NO", "BADCHARSET")


BAD = [
    "",
    "FOO",
    "NOT",
    "OR SEEN",
    "(SEEN",
    "SEEN)",
    "()",
    "SINCE 30-Feb-2020",
    "SINCE 1-Foo-2020",
    "SINCE 2020-01-01",
    "SENTON 1-Jan-0000",
    "KEYWORD \\Seen",
    "LARGER x",
    "LARGER 9223372036854775808",
    "RETURN MIN ALL",
    "RETURN (FOO) ALL",
    "RETURN (MIN)",
    "UID SEEN",
    "HEADER x",
    "CHARSET UTF-8",
    'FROM "é"',
]


@pytest.mark.rfc("9051", "9")
@pytest.mark.parametrize("program", BAD)
def test_what_is_no_program_is_bad(program: str) -> None:
    assert refusal("SEARCH " + program).condition == "BAD"


def test_nesting_and_length_have_bounds() -> None:
    deep = "(" * 200 + "SEEN" + ")" * 200
    assert refusal("SEARCH " + deep).code == "LIMIT"
    assert refusal("SEARCH " + "NOT " * 200 + "SEEN").code == "LIMIT"
    assert refusal("SEARCH " + "OR (" * 200 + "SEEN").code == "LIMIT"
    assert refusal("SEARCH " + "SEEN " * 3000 + "SEEN").code == "LIMIT"


def test_long_rows_of_or_are_not_deep() -> None:
    keys = [f"HEADER Message-ID <{number}@example.com>" for number in range(500)]
    command = parse("SEARCH " + " OR ".join(["", *keys[:-1]]).strip() + " " + keys[-1])
    assert isinstance(command, Search)
    assert isinstance(command.key, Or)
    assert len(command.key.keys) == 500
