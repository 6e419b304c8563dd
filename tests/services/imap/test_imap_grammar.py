"""Commands as clients write them, and the values they become."""

from __future__ import annotations

import pytest

from services.common.domain import DELETED, FLAGGED, SEEN, AppendItem, FlagChange, FlagOperation
from services.imap import commands
from services.imap.commands.mailbox import ListReturn, ListSelection, StatusItem
from services.imap.commands.sequence import SAVED, STAR, SequenceSet
from services.imap.events import ProtocolError
from tests.support.imapwire import parse, refusal

ONE_TO_THREE = SequenceSet(((1, 3),))

PLAIN = [
    ("CAPABILITY", commands.Capability()),
    ("noop", commands.Noop()),
    ("Logout", commands.Logout()),
    ("STARTTLS", commands.StartTls()),
    ("IDLE", commands.Idle()),
    ("NAMESPACE", commands.Namespace()),
    ("CHECK", commands.Check()),
    ("CLOSE", commands.Close()),
    ("UNSELECT", commands.Unselect()),
    ("EXPUNGE", commands.Expunge()),
    ("UID EXPUNGE 1:3", commands.Expunge(ONE_TO_THREE)),
    ("uid expunge $", commands.Expunge(SAVED)),
    ("LOGIN smith sesame", commands.Login("smith", "sesame")),
    ('LOGIN "smi\\"th" "ses\\\\ame"', commands.Login('smi"th', "ses\\ame")),
    ('LOGIN smith ""', commands.Login("smith", "")),
    ("LOGIN a]b ]", commands.Login("a]b", "]")),
    ("AUTHENTICATE plain", commands.Authenticate("PLAIN")),
    ("AUTHENTICATE PLAIN =", commands.Authenticate("PLAIN", b"=")),
    ("AUTHENTICATE PLAIN AGEAYg==", commands.Authenticate("PLAIN", b"AGEAYg==")),
    ("ENABLE imap4rev2 CONDSTORE IMAP4REV2", commands.Enable(("IMAP4REV2", "CONDSTORE"))),
    ("ID NIL", commands.Id()),
    ("ID ()", commands.Id(())),
    ('ID ("Name" "mutt" "version" NIL)', commands.Id((("name", "mutt"), ("version", None)))),
    ("SELECT inbox", commands.Select("INBOX")),
    ('EXAMINE "Sent Items"', commands.Select("Sent Items", read_only=True)),
    ("CREATE owatagusiam/", commands.Create("owatagusiam")),
    ("CREATE MySent (USE (\\Sent))", commands.Create("MySent", "\\Sent")),
    ("DELETE blurdybloop", commands.Delete("blurdybloop")),
    ("RENAME foo zowie", commands.Rename("foo", "zowie")),
    ("SUBSCRIBE #news.comp.mail.mime", commands.Subscribe("#news.comp.mail.mime")),
    ("UNSUBSCRIBE foo", commands.Unsubscribe("foo")),
    (
        "STATUS blurdybloop (UIDNEXT MESSAGES)",
        commands.Status("blurdybloop", (StatusItem.UIDNEXT, StatusItem.MESSAGES)),
    ),
    ("COPY 2:4 MEETING", commands.Copy(SequenceSet(((2, 4),)), "MEETING")),
    ("UID COPY $ INBOX/x", commands.Copy(SAVED, "INBOX/x", uid=True)),
    ("MOVE 1:3 foo", commands.Move(ONE_TO_THREE, "foo")),
    ("UID MOVE 1:3 inbox/x", commands.Move(ONE_TO_THREE, "INBOX/x", uid=True)),
]


@pytest.mark.rfc("9051", "9")
@pytest.mark.parametrize(("text", "command"), PLAIN)
def test_a_command_becomes_its_value(text: str, command: commands.Command) -> None:
    assert parse(text) == command


@pytest.mark.rfc("9051", "9")
@pytest.mark.parametrize(
    ("text", "sequence_set"),
    [
        ("2", SequenceSet(((2, 2),))),
        ("2,4:7,9,12:*", SequenceSet(((2, 2), (4, 7), (9, 9), (12, STAR)))),
        ("*:4,5:7", SequenceSet(((4, STAR), (5, 7)))),
        ("7:5", SequenceSet(((5, 7),))),
        ("*", SequenceSet(((STAR, STAR),))),
        ("4294967295", SequenceSet(((4294967295, 4294967295),))),
        ("$", SAVED),
    ],
)
def test_sequence_sets(text: str, sequence_set: SequenceSet) -> None:
    assert parse(f"COPY {text} x") == commands.Copy(sequence_set, "x")


@pytest.mark.rfc("9051", "9")
def test_a_star_is_resolved_to_the_largest_number() -> None:
    assert list(SequenceSet(((2, 2), (4, STAR), (9, STAR), (STAR, STAR))).resolve(6)) == [
        (2, 2),
        (4, 6),
        (6, 9),
        (6, 6),
    ]


STORES = [
    ("STORE 2:4 +FLAGS (\\Deleted)", FlagOperation.ADD, DELETED, (), False),
    ("STORE 2:4 FLAGS ()", FlagOperation.REPLACE, 0, (), False),
    ("STORE 2:4 -flags.silent \\Seen \\FLAGGED", FlagOperation.REMOVE, SEEN | FLAGGED, (), True),
    ("STORE 2:4 +FLAGS ($Junk a A \\Seen)", FlagOperation.ADD, SEEN, ("$Junk", "a"), False),
]


@pytest.mark.rfc("9051", "6.4.6")
@pytest.mark.parametrize(("text", "operation", "system", "keywords", "silent"), STORES)
def test_store(text: str, operation: FlagOperation, system: int, keywords: tuple[str, ...], silent: bool) -> None:
    change = FlagChange(operation, system, keywords)
    wanted = commands.Store(SequenceSet(((2, 4),)), change, silent)
    assert parse(text) == wanted
    assert parse(text) == wanted, "from the cache"
    assert parse("UID " + text) == commands.Store(SequenceSet(((2, 4),)), change, silent, uid=True)


LISTS = [
    ('LIST "" ""', commands.List("", ("",))),
    ("LIST ~/Mail/ %", commands.List("~/Mail/", ("%",))),
    ('LIST "" INBOX/*', commands.List("", ("INBOX/*",))),
    (
        'LIST (SUBSCRIBED RECURSIVEMATCH) "" "*"',
        commands.List(
            "", ("*",), ListSelection.SUBSCRIBED | ListSelection.RECURSIVEMATCH, ListReturn.SUBSCRIBED, extended=True
        ),
    ),
    ('LIST () "" (INBOX "Drafts" Sent/%)', commands.List("", ("INBOX", "Drafts", "Sent/%"), extended=True)),
    (
        'LIST "" "%" RETURN (CHILDREN STATUS (MESSAGES UNSEEN) SPECIAL-USE)',
        commands.List(
            "",
            ("%",),
            returns=ListReturn.CHILDREN | ListReturn.SPECIAL_USE,
            status=(StatusItem.MESSAGES, StatusItem.UNSEEN),
            extended=True,
        ),
    ),
    ('LIST (REMOTE) "" *', commands.List("", ("*",), ListSelection.REMOTE, extended=True)),
    (
        'LIST (SPECIAL-USE) "" *',
        commands.List("", ("*",), ListSelection.SPECIAL_USE, ListReturn.SPECIAL_USE, extended=True),
    ),
    ('LIST "" * RETURN ()', commands.List("", ("*",), extended=True)),
]


@pytest.mark.rfc("9051", "6.3.9")
@pytest.mark.parametrize(("text", "command"), LISTS)
def test_list(text: str, command: commands.List) -> None:
    assert parse(text) == command


@pytest.mark.rfc("3501", "6.3.9")
def test_lsub() -> None:
    assert parse('LSUB "#news." "comp.mail.*"') == commands.Lsub("#news.", "comp.mail.*")


@pytest.mark.rfc("9051", "6.3.12")
@pytest.mark.parametrize(
    ("head", "item"),
    [
        (b"APPEND saved-messages (\\Seen) {5}", AppendItem(b"12345", SEEN)),
        (b"APPEND saved-messages {5}", AppendItem(b"12345")),
        (
            b'APPEND saved-messages (a) " 7-Feb-1994 21:52:25 -0800" {5}',
            AppendItem(b"12345", 0, ("a",), 760686745),
        ),
        (b'APPEND saved-messages "17-Jul-1996 02:44:25 +0130" ~{5}', AppendItem(b"12345", 0, (), 837566065)),
    ],
)
def test_append(head: bytes, item: AppendItem) -> None:
    assert parse(head, b"12345") == commands.Append("saved-messages", (item,))


@pytest.mark.rfc("9051", "5.1")
def test_mailbox_names_are_utf8_or_modified_utf7_by_what_was_enabled() -> None:
    assert parse("SELECT ~peter/mail/&U,BTFw-/&ZeVnLIqe-") == commands.Select("~peter/mail/台北/日本語")
    assert parse("SELECT a&-b") == commands.Select("a&b")
    assert parse('SELECT "a & b"', utf8=True) == commands.Select("a & b")
    assert parse('SELECT "台北"', utf8=True) == commands.Select("台北")
    assert parse('LIST "" &U,BTFw-/%') == commands.List("", ("台北/%",))


REFUSED = [
    "LOGIN a",
    "LOGIN a b c",
    "NOOP x",
    "noop ",
    'SELECT "a',
    'SELECT "a\\n"',
    'SELECT "é"',
    "SELECT a(b",
    "SELECT  a",
    "SELECT",
    "COPY 0 x",
    "COPY 01 x",
    "COPY 1:0 x",
    "COPY 4294967296 x",
    "COPY 1,,2 x",
    "COPY 1:2:3 x",
    "COPY 1, x",
    "COPY $,1 x",
    "UID",
    "UID NOOP",
    "STORE 1 +FLAGS (\\Recent)",
    "STORE 1 +FLAGS (\\*)",
    "STORE 1 +FLAGS (\\Foo)",
    "STORE 1 *FLAGS (\\Seen)",
    "STORE 1 FLAGS (\\Seen",
    "STORE 1 FLAGS",
    "STATUS x ()",
    "STATUS x (FOO)",
    "STATUS x MESSAGES",
    'LIST (RECURSIVEMATCH) "" *',
    'LIST (REMOTE RECURSIVEMATCH) "" *',
    'LIST (FOO) "" *',
    'LIST "" * RETURN (FOO)',
    'LIST "" * FOO',
    'LIST "" ()',
    'LIST ""',
    "ENABLE",
    "ID (name)",
    'ID ("name")',
    "AUTHENTICATE",
    "AUTHENTICATE PLAIN !",
    "CREATE x (FOO)",
    "APPEND x (\\Seen) text",
    'APPEND x "32-Jan-2020 00:00:00 +0000" text',
    "FOO",
]


@pytest.mark.rfc("9051", "2.2.1")
@pytest.mark.parametrize("text", REFUSED)
def test_what_is_no_command_is_bad(text: str) -> None:
    assert refusal(text).condition == "BAD"


@pytest.mark.rfc("9051", "6.3.12")
@pytest.mark.parametrize(
    "head",
    [
        b"APPEND x (\\Recent) {5}",
        b'APPEND x "31-Feb-2020 00:00:00 +0000" {5}',
        b'APPEND x "01-Jan-2020 24:00:00 +0000" {5}',
        b'APPEND x "01-Jan-2020 00:00:00 0000" {5}',
        b"APPEND x y {5}",
        b"APPEND (\\Seen) {5}",
    ],
)
def test_a_bad_append_is_refused_before_its_message(head: bytes) -> None:
    assert refusal(head).condition == "BAD"


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("SELECT a&b", "CANNOT"),
        ("SELECT &AGEA-", "CANNOT"),
        ("SELECT &U,BTFw", "CANNOT"),
        ("CREATE x (USE (\\Sent \\Trash))", "USEATTR"),
        ("STORE 1 FLAGS (" + "k" * 300 + ")", "LIMIT"),
        ("SEARCH CHARSET klingon TEXT x", "BADCHARSET"),
    ],
)
def test_what_cannot_be_done_is_no(text: str, code: str) -> None:
    error = refusal(text)
    assert (error.condition, error.code.split()[0]) == ("NO", code)


@pytest.mark.rfc("9051", "9")
def test_a_nul_is_taken_in_a_message_only() -> None:
    assert isinstance(refusal(b"LOGIN {3}", b"a\0b", b" x"), ProtocolError)
    assert parse(b"APPEND x ~{3}", b"a\0b") == commands.Append("x", (AppendItem(b"a\0b"),))


@pytest.mark.rfc("9051", "4.3")
def test_literals_stand_for_strings() -> None:
    assert parse(b"LOGIN {5}", b"smith", b" {6}", b"ses\r\nx") == commands.Login("smith", "ses\r\nx")
    assert parse(b"LOGIN {0}", b"", b' "a {3}"') == commands.Login("", "a {3}")
    assert isinstance(refusal(b'LOGIN x "{3}', b"abc", b'"'), ProtocolError)


def test_secrets_are_not_shown() -> None:
    assert "sesame" not in repr(parse("LOGIN smith sesame"))
    assert "AGEA" not in repr(parse("AUTHENTICATE PLAIN AGEAYg=="))
