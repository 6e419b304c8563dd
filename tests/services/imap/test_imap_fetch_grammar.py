"""FETCH attributes (RFC 9051 section 6.4.5, RFC 3501 section 6.4.5, RFC 3516)."""

from __future__ import annotations

import pytest

from services.imap.commands.fetch import (
    Attribute,
    Attributes,
    Binary,
    BinarySize,
    Fetch,
    Item,
    Partial,
    Section,
    SectionText,
)
from services.imap.commands.sequence import ALL_MESSAGES, SequenceSet
from tests.support.imapwire import parse, refusal

FAST = (Item.FLAGS, Item.INTERNALDATE, Item.SIZE)
HEADER_FIELDS = SectionText.HEADER_FIELDS

ATTRIBUTES: list[tuple[str, tuple[Attribute, ...]]] = [
    ("FAST", FAST),
    ("all", (*FAST, Item.ENVELOPE)),
    ("FULL", (*FAST, Item.ENVELOPE, Item.BODY)),
    ("UID", (Item.UID,)),
    ("(UID flags)", (Item.UID, Item.FLAGS)),
    ("(BODY BODYSTRUCTURE)", (Item.BODY, Item.BODYSTRUCTURE)),
    ("(UID UID UID)", (Item.UID,)),
    ("BODY[]", (Section(b"BODY[]"),)),
    ("BODY.PEEK[]", (Section(b"BODY[]", peek=True),)),
    ("body.peek[header]", (Section(b"BODY[HEADER]", text=SectionText.HEADER, peek=True),)),
    ("BODY[TEXT]<0.2048>", (Section(b"BODY[TEXT]<0>", text=SectionText.TEXT, partial=Partial(0, 2048)),)),
    ("BODY[]<5.9223372036854775807>", (Section(b"BODY[]<5>", partial=Partial(5, (1 << 63) - 1)),)),
    ("BODY[1.2.HEADER]", (Section(b"BODY[1.2.HEADER]", (1, 2), SectionText.HEADER),)),
    ("BODY[3.MIME]", (Section(b"BODY[3.MIME]", (3,), SectionText.MIME),)),
    ("BODY[4.2.2.1]", (Section(b"BODY[4.2.2.1]", (4, 2, 2, 1)),)),
    (
        "BODY[HEADER.FIELDS (Date FROM date)]",
        (Section(b"BODY[HEADER.FIELDS (Date FROM date)]", (), HEADER_FIELDS, (b"date", b"from")),),
    ),
    (
        'BODY.PEEK[1.header.fields.not ("Subject" "a]b")]<1.2>',
        (
            Section(
                b'BODY[1.HEADER.FIELDS.NOT (Subject "a]b")]<1>',
                (1,),
                SectionText.HEADER_FIELDS_NOT,
                (b"subject", b"a]b"),
                Partial(1, 2),
                peek=True,
            ),
        ),
    ),
    ("RFC822", (Section(b"RFC822"),)),
    ("RFC822.HEADER", (Section(b"RFC822.HEADER", text=SectionText.HEADER, peek=True),)),
    ("RFC822.TEXT", (Section(b"RFC822.TEXT", text=SectionText.TEXT),)),
    ("RFC822.SIZE", (Item.SIZE,)),
    ("BINARY[1.2]<0.10>", (Binary(b"BINARY[1.2]<0>", (1, 2), Partial(0, 10)),)),
    ("BINARY.PEEK[]", (Binary(b"BINARY[]", peek=True),)),
    ("BINARY.SIZE[2]", (BinarySize(b"BINARY.SIZE[2]", (2,)),)),
]


def attributes(text: str) -> Attributes:
    command = parse("FETCH 1:* " + text)
    assert isinstance(command, Fetch)
    assert command.messages == ALL_MESSAGES
    return command.attributes


@pytest.mark.rfc("9051", "6.4.5")
@pytest.mark.rfc("3501", "6.4.5")
@pytest.mark.rfc("3516", "4")
@pytest.mark.parametrize(("text", "items"), ATTRIBUTES)
def test_attributes(text: str, items: tuple[Attribute, ...]) -> None:
    assert attributes(text).items == items


def test_what_was_seen_before_is_looked_up_and_is_the_same() -> None:
    first, again = attributes("(UID BODY.PEEK[TEXT])"), attributes("(UID BODY.PEEK[TEXT])")
    assert again is first
    command = parse("UID FETCH 7 (UID BODY.PEEK[TEXT])")
    assert command == Fetch(SequenceSet(((7, 7),)), first, uid=True)


@pytest.mark.rfc("9051", "6.4.5")
@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("BODY[]", True),
        ("BODY.PEEK[]", False),
        ("RFC822", True),
        ("RFC822.HEADER", False),
        ("RFC822.TEXT", True),
        ("BINARY[1]", True),
        ("BINARY.PEEK[1]", False),
        ("BINARY.SIZE[1]", False),
        ("(UID ENVELOPE)", False),
    ],
)
def test_items_without_peek_set_seen(text: str, seen: bool) -> None:
    assert attributes(text).sets_seen is seen


def test_keys_tell_different_lists_apart() -> None:
    texts = [text for text, _ in ATTRIBUTES if text not in ("FAST", "(UID UID UID)")]
    texts += ["BODY[]<0.1>", "BODY[]<0.2>", "BODY.PEEK[]<0.1>", "(FLAGS UID)"]
    assert len({attributes(text).key for text in texts}) == len(texts)
    assert attributes("(uid)").key == attributes("UID").key


def test_a_header_field_name_may_be_a_literal() -> None:
    command = parse(b"FETCH 1 BODY[HEADER.FIELDS ({4}", b"Date", b" X-A)]")
    assert isinstance(command, Fetch)
    assert command.attributes.items == (
        Section(b"BODY[HEADER.FIELDS (Date X-A)]", (), HEADER_FIELDS, (b"date", b"x-a")),
    )


@pytest.mark.rfc("9051", "6.4.5")
@pytest.mark.parametrize(
    "text",
    [
        "()",
        "(FAST)",
        "FAST UID",
        "UID FLAGS",
        "FOO",
        "BODY.PEEK",
        "BINARY",
        "BODY[",
        "BODY[0]",
        "BODY[1.]",
        "BODY[1.0]",
        "BODY[MIME]",
        "BODY[1.FOO]",
        "BODY[HEADER.FIELDS]",
        "BODY[HEADER.FIELDS ()]",
        'BODY[HEADER.FIELDS ("a b")]',
        'BODY[HEADER.FIELDS ("a:")]',
        "BODY[]<0>",
        "BODY[]<0.0>",
        "BODY[]<1.2",
        "BINARY[TEXT]",
        "BINARY.SIZE[1]<0.1>",
        "ENVELOPE[]",
        "(UID  FLAGS)",
        "(UID",
        "UID)",
    ],
)
def test_what_is_no_attribute_is_bad(text: str) -> None:
    assert refusal("FETCH 1 " + text).condition == "BAD"


def test_a_section_path_has_bounds() -> None:
    assert refusal("FETCH 1 BODY[" + ".".join(["1"] * 500) + "]").code == "LIMIT"
    assert refusal("FETCH 1 (" + " ".join(f"BODY[{part}]" for part in range(1, 500)) + ")").code == "LIMIT"
