"""LDAP's messages as bytes: the same as ldap3 makes, read whatever way they come, and nothing else is read."""

from __future__ import annotations

import string
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ldap3.operation.bind import bind_operation
from ldap3.operation.compare import compare_operation
from ldap3.operation.search import search_operation
from ldap3.protocol.rfc4511 import LDAPMessage, MessageID, ProtocolOp
from pyasn1.codec.ber import encoder

from services.common.directory.ldap import wire
from services.common.directory.ldap.filters import escape_filter

TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=200)
VALUE = TEXT.map(escape_filter)
NAME = st.sampled_from(["uid", "mail", "objectClass", "2.5.4.3", "cn;lang-de"])
ITEM = st.one_of(
    st.builds("({}={})".format, NAME, VALUE),
    st.builds("({}>={})".format, NAME, VALUE),
    st.builds("({}<={})".format, NAME, VALUE),
    st.builds("({}~={})".format, NAME, VALUE),
    st.builds("({}=*)".format, NAME),
    st.builds("({}={}*{}*{})".format, NAME, VALUE, VALUE, VALUE),
    st.builds("({}=*{})".format, NAME, VALUE),
    st.builds("({}={}*)".format, NAME, VALUE),
    st.builds("({}:caseExactMatch:={})".format, NAME, VALUE),
)
FILTER = st.recursive(
    ITEM,
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=3).map(lambda found: f"(&{''.join(found)})"),
        st.lists(inner, min_size=1, max_size=3).map(lambda found: f"(|{''.join(found)})"),
        inner.map("(!{})".format),
    ),
    max_leaves=5,
)


def by_ldap3(number: int, name: str, operation: Any) -> bytes:
    """The message as ldap3 makes it."""
    message: Any = LDAPMessage()
    message["messageID"] = MessageID(number)
    message["protocolOp"] = ProtocolOp().setComponentByName(name, operation)
    return bytes(encoder.encode(message))


@settings(max_examples=50)
@given(FILTER, TEXT, st.integers(1, 2**31 - 1), st.integers(0, 2**31 - 1))
def test_a_search_is_the_one_that_ldap3_makes(text: str, base: str, number: int, limit: int) -> None:
    names = ("uid", "mail")
    operation = search_operation(
        base, text, "SUBTREE", "NEVER", list(names), limit, 10, False, False, False, None, None, False
    )
    assert wire.search_request(number, base, 2, text, names, limit, 10) == by_ldap3(number, "searchRequest", operation)


@settings(max_examples=50)
@given(TEXT, st.text(string.ascii_letters + string.punctuation, min_size=1), st.integers(1, 2**31 - 1))
def test_a_bind_is_the_one_that_ldap3_makes(dn: str, password: str, number: int) -> None:
    # Only passwords that SASLprep leaves alone: ldap3 applies it here, we did where the name came in.
    operation = bind_operation(3, "SIMPLE", dn, password, None, False)
    assert wire.bind_request(number, dn, password) == by_ldap3(number, "bindRequest", operation)


def test_a_control_has_its_name_and_leaves_defaults_out() -> None:
    # RFC 4511 section 5.1: a value that is the default is not sent.
    made = wire.take_message(bytearray(wire.bind_request(1, "o=isp", "secret", ("1.2.3",))))
    assert made is not None
    assert made.controls == b"\x30\x07\x04\x051.2.3"


def test_true_is_all_ones() -> None:
    # RFC 4511 section 5.1. ldap3 sends 1, so this is not compared with its bytes.
    assert wire.filter_bytes("(ou:dn:=a)") == b"\xa9\x0a\x82\x02ou\x83\x01a\x84\x01\xff"


@settings(max_examples=50)
@given(TEXT, TEXT)
def test_a_comparison_is_the_one_that_ldap3_makes(dn: str, value: str) -> None:
    operation = compare_operation(dn, "userPassword", value, False, None, False)
    assert wire.compare_request(7, dn, "userPassword", value) == by_ldap3(7, "compareRequest", operation)


LONG = b"a@x" * 60
ENTRY = wire._message(
    5,
    wire._tlv(
        wire.SEARCH_ENTRY,
        wire._octets(b"uid=anna,o=isp")
        + wire._tlv(
            0x30,
            wire._tlv(0x30, wire._octets(b"UID") + wire._tlv(0x31, wire._octets(b"anna")))
            + wire._tlv(
                0x30, wire._octets(b"mail") + wire._tlv(0x31, wire._octets(b"a@x" * 60) + wire._octets(b"b@x"))
            ),
        ),
    ),
)
DONE = wire._message(5, wire._tlv(wire.SEARCH_DONE, wire._integer(0x0A, 4) + wire._octets(b"") + wire._octets(b"full")))


@given(st.lists(st.integers(1, len(ENTRY) + len(DONE) - 1), max_size=6))
def test_whatever_way_messages_come_they_are_the_same(cuts: list[int]) -> None:
    data, buffer, found = ENTRY + DONE, bytearray(), []
    places = [0, *sorted(cuts), len(data)]
    for start, end in pairwise(places):
        buffer += data[start:end]
        while (message := wire.take_message(buffer)) is not None:
            found.append(message)
    assert [(message.number, message.tag) for message in found] == [(5, wire.SEARCH_ENTRY), (5, wire.SEARCH_DONE)]
    assert wire.read_entry(found[0]) == ("uid=anna,o=isp", {"uid": (b"anna",), "mail": (LONG, b"b@x")})
    assert wire.read_result(found[1]) == wire.Result(4, "full")
    assert not buffer


@given(st.one_of(st.binary(max_size=60), st.binary(max_size=20).map(lambda data: b"\x30" + bytes([len(data)]) + data)))
def test_any_bytes_are_messages_or_one_error(data: bytes) -> None:
    buffer = bytearray(data)
    try:
        while (message := wire.take_message(buffer)) is not None:
            for read in (wire.read_result, wire.read_entry):
                try:
                    read(message)
                except wire.WireError:
                    continue
    except wire.WireError:
        return


def test_a_message_that_never_ends_is_refused_at_once() -> None:
    with pytest.raises(wire.WireError):
        wire.take_message(bytearray(b"\x30\x84\x7f\xff\xff\xff"))


@pytest.mark.parametrize(
    "text", ["", "(", "()", "(uid)", "(uid=a", "(&)", "(uid=a)(uid=b)", "uid=a", "(:=x)", "(&(a=b)"]
)
def test_what_is_no_filter_is_not_sent(text: str) -> None:
    with pytest.raises(wire.WireError):
        wire.filter_bytes(text)
