"""Values in filters and distinguished names, quotas, policy answers: any text is a value and never syntax."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ldap3.operation.search import parse_filter
from ldap3.utils.dn import parse_dn

from services.common.directory.ldap.answers import policy_error
from services.common.directory.ldap.filters import Typed, check_template, escape_dn, escape_filter, expand
from services.common.directory.ldap.places import parse_place
from services.common.directory.ldap.quotas import MAX_BYTES, parse_bytes, parse_messages

HOSTILE = st.text(st.one_of(st.sampled_from('()*\\|&!=<>~\0 ,+"#;%UVos@.'), st.characters(codec="utf-8")), max_size=30)
TEMPLATES = (
    "(&(objectclass=inetOrgPerson)(uid=%U))",
    "(|(uid=%U_%V)(mail=%o)(!(cn=%s)))",
    "(uid=100%%%U)",
)


def parsed(text: str) -> Any:
    """The filter as ldap3 reads it."""
    return parse_filter(text, None, False, False, None, False)  # type: ignore[no-untyped-call]


def parts(text: str) -> list[tuple[str, bytes]]:
    """Attribute and value of each comparison, as ldap3 reads the filter."""
    found = []

    def walk(node: object) -> None:
        assertion = getattr(node, "assertion", None)
        if assertion and "value" in assertion:
            # ldap3 takes the numbers for octets where it encodes the request.
            value = re.sub(rb"\\([0-9a-f]{2})", lambda match: bytes([int(match[1], 16)]), bytes(assertion["value"]))
            found.append((assertion["attr"], value))
        for child in getattr(node, "elements", ()):
            walk(child)

    walk(parsed(text))
    return found


@given(HOSTILE.filter(bool))
def test_a_filter_compares_with_the_value_and_nothing_else(value: str) -> None:
    assert parts(f"(&(objectclass=person)(uid={escape_filter(value)}))") == [
        ("objectclass", b"person"),
        ("uid", value.encode()),
    ]


@given(HOSTILE, HOSTILE, HOSTILE, st.sampled_from(TEMPLATES))
def test_whatever_is_typed_a_template_stays_the_filter_it_was(user: str, domain: str, text: str, template: str) -> None:
    made = expand(template, Typed(user, domain, text))
    plain = expand(template, Typed("x", "x", "x"))
    assert [name for name, _ in parts(made)] == [name for name, _ in parts(plain)]


@pytest.mark.parametrize(
    ("template", "made"),
    [
        ("(uid=%U)", "(uid=anna)"),
        ("(uid=%U_%V)", "(uid=anna_example.com)"),
        ("(mail=%s)", "(mail=anna@example.com)"),
        ("(mail=%o)", "(mail=Anna+example.com)"),
        ("(cn=50%% of %U)", "(cn=50% of anna)"),
        ("(cn=%x%)", "(cn=%x%)"),
    ],
)
def test_the_codes_of_a_template(template: str, made: str) -> None:
    assert expand(template, Typed("anna", "example.com", "Anna+example.com")) == made


def test_a_name_without_a_domain_stands_alone() -> None:
    assert expand("(|(uid=%s)(mail=%U@%V))", Typed("anna", "", "anna")) == "(|(uid=anna)(mail=anna@))"


@pytest.mark.parametrize(
    "text", ["(uid=%U)", "(&(a=b)(c=d))", "(!(a=b))", "(a=*)", "(cn:dn:2.5.13.2:=x)", "(:2.5.13.2:=x)", "(2.5.4.3=x)"]
)
def test_filters(text: str) -> None:
    assert check_template(text)


@pytest.mark.parametrize(
    "text",
    ["", "uid=%U", "(uid=%U", "(uid=%U))", "(&)", "(!(a=b)(c=d))", "(=x)", "()", "(a=\\zz)", "(" * 50, "(a=b)(c=d)"],
)
def test_what_is_no_filter(text: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        check_template(text)


@given(st.text(max_size=60))
def test_any_text_is_a_filter_or_is_refused(text: str) -> None:
    try:
        check_template(text)
    except ValueError:
        return
    parsed(text.replace("%U", "x"))


@given(HOSTILE.filter(bool))
def test_a_name_has_the_value_and_no_more_parts(value: str) -> None:
    found = parse_dn(f"uid={escape_dn(value)},ou=people,o=example")
    assert [attribute for attribute, _, _ in found] == ["uid", "ou", "o"]
    assert re.sub(r"\\([0-9a-f]{2})", lambda match: chr(int(match[1], 16)), found[0][1]) == value


@pytest.mark.parametrize(
    ("text", "count"),
    [
        # Schema reference 5, mailQuota: bytes, or K, M, G; 0 none, -1 no limit, -2 and no value the default.
        ("", None),
        ("-1", None),
        ("-2", None),
        ("0", 0),
        ("100", 100),
        ("20M", 20 << 20),
        ("20m", 20 << 20),
        (" 5G ", 5 << 30),
        ("7K", 7 << 10),
        ("4294966272", 4294966272),
        ("5000G", MAX_BYTES),
    ],
)
def test_quotas(text: str, count: int | None) -> None:
    assert parse_bytes(text) == count


@pytest.mark.parametrize(("text", "count"), [("", None), ("-1", None), ("-2", None), ("0", 0), ("2000", 2000)])
def test_quotas_of_messages(text: str, count: int | None) -> None:
    assert parse_messages(text) == count


@given(st.text(max_size=12))
def test_any_text_is_a_quota_or_is_refused(text: str) -> None:
    for parse in (parse_bytes, parse_messages):
        try:
            found = parse(text)
        except ValueError:
            continue
        assert found is None or 0 <= found <= MAX_BYTES


@given(st.binary(max_size=20))
def test_any_bytes_are_a_policy_answer_or_none(value: bytes) -> None:
    error = policy_error(value)
    assert error is None or 0 <= error < 256


@pytest.mark.parametrize(
    ("value", "error"),
    [
        (b"\x30\x00", None),
        (b"\x30\x03\x81\x01\x00", 0),
        (b"\x30\x03\x81\x01\x01", 1),
        (b"\x30\x08\xa0\x03\x81\x01\x05\x81\x01\x02", 2),
        (b"\x30\x05\xa0\x03\x80\x01\x3c", None),
        (b"", None),
        (b"\x30\x84\x00\x00\x00\x03", None),
    ],
)
def test_policy_answers(value: bytes, error: int | None) -> None:
    assert policy_error(value) == error


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("ldap.example.com", "ldap://ldap.example.com:389"),
        ("ldap.example.com:1389", "ldap://ldap.example.com:1389"),
        ("ldaps://ldap.example.com", "ldaps://ldap.example.com:636"),
        ("LDAP://192.0.2.1:389/", "ldap://192.0.2.1:389"),
        ("ldap://[2001:db8::1]:389", "ldap://[2001:db8::1]:389"),
    ],
)
def test_places(text: str, written: str) -> None:
    assert str(parse_place(text)) == written


@pytest.mark.parametrize("text", ["", "http://x", "ldap://", "ldap://a:0", "ldap://a:70000", "ldap://a/o=x", "a b"])
def test_what_is_no_place(text: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        parse_place(text)
