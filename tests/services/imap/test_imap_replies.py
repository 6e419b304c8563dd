"""Responses, byte for byte."""

from __future__ import annotations

import pytest

from services.common.errors import Reason
from services.imap import replies
from services.imap.events import ProtocolError


def test_every_reason_of_the_store_has_an_answer() -> None:
    assert set(replies.REFUSALS) == set(Reason)
    assert not [reason for reason, refusal in replies.REFUSALS.items() if not refusal.text or not refusal.code]


@pytest.mark.rfc("5530", "3")
def test_a_reason_becomes_a_no_with_its_code() -> None:
    assert replies.refused(b"a1", Reason.MAILBOX_NOT_FOUND) == b"a1 NO [NONEXISTENT] No such mailbox\r\n"


@pytest.mark.rfc("9051", "7.1")
def test_status_lines() -> None:
    assert replies.tagged(b"a1", b"OK", b"Done") == b"a1 OK Done\r\n"
    assert replies.bye(b"Bye", b"UNAVAILABLE") == b"* BYE [UNAVAILABLE] Bye\r\n"
    assert replies.greeting("Mail\r\n* BYE é", ("IMAP4rev1",)) == b"* OK [CAPABILITY IMAP4rev1] Mail  * BYE ?\r\n"
    assert replies.protocol_error(ProtocolError(b"a1", "No", condition="NO", code="LIMIT")) == b"a1 NO [LIMIT] No\r\n"
    fatal = replies.protocol_error(ProtocolError(b"*", "Bad", fatal=True)).splitlines()
    assert fatal[0] == b"* BAD Bad"
    assert fatal[1].startswith(b"* BYE ")


@pytest.mark.rfc("9051", "4.3")
@pytest.mark.parametrize(
    ("data", "plain", "utf8"),
    [
        (b"atom", b"atom", b"atom"),
        (b"", b'""', b'""'),
        (b"nil", b'"nil"', b'"nil"'),
        (b"two words", b'"two words"', b'"two words"'),
        (b'a"b\\c', b'"a\\"b\\\\c"', b'"a\\"b\\\\c"'),
        (b"a]", b'"a]"', b'"a]"'),
        (b"a\r\nb", b"{4}\r\na\r\nb", b"{4}\r\na\r\nb"),
        ("é".encode(), b"{2}\r\n\xc3\xa9", b'"\xc3\xa9"'),
    ],
)
def test_astrings(data: bytes, plain: bytes, utf8: bytes) -> None:
    assert replies.astring(data) == plain
    assert replies.astring(data, utf8=True) == utf8


@pytest.mark.rfc("9051", "5.1")
def test_mailbox_names() -> None:
    assert replies.mailbox("台北", utf8=False) == b"&U,BTFw-"
    assert replies.mailbox("台北", utf8=True) == '"台北"'.encode()
    assert replies.mailbox("a&b", utf8=False) == b"a&-b"
    assert replies.mailbox("a&b", utf8=True) == b"a&b"


@pytest.mark.rfc("9051", "7.3.1")
def test_list() -> None:
    assert replies.listed(b"LIST", [b"\\Noselect"], "a b", utf8=False) == b'* LIST (\\Noselect) "/" "a b"\r\n'
    line = replies.listed(b"LIST", [], "foo", utf8=True, child_info=[b"SUBSCRIBED"], old_name="bar")
    assert line == b'* LIST () "/" foo ("CHILDINFO" ("SUBSCRIBED") "OLDNAME" (bar))\r\n'
    assert replies.hierarchy(b"LIST") == b'* LIST (\\Noselect) "/" ""\r\n'


@pytest.mark.rfc("9051", "7.3.4")
def test_mailbox_data() -> None:
    line = replies.status("blurdybloop", [("MESSAGES", 231), ("UIDNEXT", 44292)], utf8=False)
    assert line == b"* STATUS blurdybloop (MESSAGES 231 UIDNEXT 44292)\r\n"
    assert replies.namespace() == b'* NAMESPACE (("" "/")) NIL NIL\r\n'


@pytest.mark.rfc("9051", "7.3.4")
@pytest.mark.rfc("4731", "3.1")
def test_search() -> None:
    assert replies.search([2, 3, 6]) == b"* SEARCH 2 3 6\r\n"
    assert replies.search([]) == b"* SEARCH\r\n"
    assert replies.esearch(b"A1", uid=True, found=[2, 10, 11]) == b'* ESEARCH (TAG "A1") UID ALL 2,10:11\r\n'
    line = replies.esearch(b"A1", uid=False, minimum=2, maximum=9, count=3)
    assert line == b'* ESEARCH (TAG "A1") MIN 2 MAX 9 COUNT 3\r\n'
    assert replies.esearch(b"A1", uid=False, found=[], count=0) == b'* ESEARCH (TAG "A1") COUNT 0\r\n'


@pytest.mark.rfc("4315", "3")
def test_uid_codes() -> None:
    assert replies.append_uid(38505, [3955]) == b"APPENDUID 38505 3955"
    assert replies.copy_uid(38505, [304, 319, 320], [3956, 3957, 3958]) == b"COPYUID 38505 304,319:320 3956:3958"
    assert replies.copy_uid(38505, [], []) == b""


def test_the_rest() -> None:
    assert replies.enabled(["IMAP4rev2"]) == b"* ENABLED IMAP4rev2\r\n"
    assert replies.enabled([]) == b"* ENABLED\r\n"
    assert replies.identity([("name", "Mailkeep")]) == b'* ID ("name" "Mailkeep")\r\n'
    assert replies.capability(("IMAP4rev1", "ID")) == b"* CAPABILITY IMAP4rev1 ID\r\n"
