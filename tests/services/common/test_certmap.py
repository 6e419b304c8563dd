"""certmap.conf: read, chosen by issuer, and what it asks of the directory; which account of the users file that is."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.common.certmap import CertificateQuery, CertmapError, Map, choose, parse_certmap
from services.common.clientcert import CertificateInvalid, ClientCertificate, parse_dn, read
from services.common.directory import Entry
from services.common.directory.matching import matches

TEXT = """
# Who logs in by certificate
certmap default default
default:FilterComps e

certmap staff CN=Staff CA,  O=Example, C=DE
staff:DNComps ou,o , c
staff:FilterComps uid, e
staff:verifycert on
staff:CmapLdapAttr certSubjectDN
"""
STAFF = parse_dn("CN=Staff CA,O=Example,C=DE")
ANNA = ClientCertificate(
    STAFF,
    parse_dn("uid=anna,cn=Anna Smith,ou=Sales,o=Example,c=DE"),
    ("anna@example.com", "a.smith@example.com"),
    b"der",
)
ENTRY = Entry("anna@example.com", aliases=("a.smith@example.com",), dn="uid=anna, ou=sales, o=example, c=de")


def test_the_file_is_read() -> None:
    default, staff = parse_certmap(TEXT)
    assert default == Map("default", None, None, ("mail",))
    assert staff == Map("staff", STAFF, ("ou", "o", "c"), ("uid", "mail"), True, "certSubjectDN")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "no certmap"),
        ("certmap staff", "line 1: certmap NAME ISSUER"),
        ("certmap a default\ncertmap a default", "line 2: certmap NAME ISSUER"),
        ("certmap a nonsense", "line 1: nonsense is no name"),
        ("staff:verifycert on", "line 1: NAME:PROPERTY"),
        ("certmap a default\na:verifycert maybe", "line 2: verifycert is on or off"),
        ("certmap a default\na:CmapLdapAttr x)(y", r"line 2: x\)\(y is no attribute"),
        ("certmap a default\na:library x.so", "line 2: library: there are"),
        ("certmap a default\na:FilterComps serial", "line 2: serial: the parts are"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(text: str, problem: str) -> None:
    with pytest.raises(CertmapError, match=problem):
        parse_certmap(text)


def test_the_issuer_chooses_however_blanks_and_case_are_written() -> None:
    default, staff = maps = parse_certmap(TEXT)
    assert choose(maps, ANNA) is staff
    other = ClientCertificate(parse_dn("CN=Other"), (), (), b"")
    assert choose(maps, other) is default
    assert choose([staff], other) is None


def query(lines: str) -> CertificateQuery | None:
    (only,) = parse_certmap("certmap x default\n" + lines)
    return only.query(ANNA)


def test_what_is_asked_of_the_directory() -> None:
    whole = query("")
    assert whole is not None
    assert (whole.base, whole.exact, whole.filters) == (ANNA.subject, True, ())
    tree = query("x:DNComps\nx:FilterComps e")
    assert tree is not None
    assert (tree.base, tree.exact, tree.filters) == (None, False, (("mail", ANNA.mails),))
    below = query("x:DNComps o,c\nx:FilterComps uid")
    assert below is not None
    assert (below.base, below.filters) == (parse_dn("o=Example,c=DE"), (("uid", ("anna",)),))
    assert query("x:DNComps l") is None
    by_subject = query("x:DNComps l\nx:CmapLdapAttr certSubjectDN")
    assert by_subject is not None
    assert (by_subject.base, by_subject.filters, by_subject.subject_attribute) == (None, (), "certSubjectDN")
    assert query("x:FilterComps l") is None


@pytest.mark.parametrize(
    ("lines", "found"),
    [
        ("", False),
        ("x:CmapLdapAttr dn", False),
        ("x:DNComps\nx:FilterComps e", True),
        ("x:DNComps\nx:FilterComps uid", True),
        ("x:DNComps ou,o,c\nx:FilterComps uid,e", True),
        ("x:DNComps ou,o,c\nx:FilterComps cn", False),
        ("x:DNComps cn\nx:FilterComps uid", False),
        ("x:DNComps", False),
        ("x:DNComps\nx:FilterComps uid\nx:verifycert on", False),
    ],
)
def test_which_account_of_the_users_file_is_meant(lines: str, found: bool) -> None:
    wanted = query(lines)
    assert wanted is not None
    assert matches(ENTRY, wanted) is found


def test_an_account_may_have_the_whole_subject_as_its_name() -> None:
    entry = Entry("x@example.com", dn="UID=anna,CN=Anna Smith,OU=Sales,O=Example,C=DE")
    for lines in ("", "x:DNComps\nx:CmapLdapAttr certSubjectDN\nx:FilterComps e"):
        wanted = query(lines)
        assert wanted is not None
        assert matches(entry, wanted)
        assert not matches(Entry("y", dn="not a name"), wanted)


def test_what_is_no_certificate_is_refused() -> None:
    for der in (b"", b"\0" * 100, b"0" * 100_000):
        with pytest.raises(CertificateInvalid):
            read(der)


@given(
    st.lists(
        st.sampled_from(["certmap ", "a ", "default", "\n", "a:DNComps ", "a:verifycert ", "o,", "CN=x", "+", "\\"])
    )
)
def test_any_text_is_a_map_or_the_one_error(parts: list[str]) -> None:
    with suppress(CertmapError):
        assert parse_certmap("".join(parts))


@given(
    st.text() | st.lists(st.sampled_from(["CN=", "a", ",", "+", "\\", " ", "#", '"', "=", "1.2=#0401"])).map("".join)
)
def test_any_text_is_a_name_or_no_value(text: str) -> None:
    with suppress(ValueError):
        assert isinstance(parse_dn(text), tuple)


@given(st.binary(max_size=400))
def test_any_bytes_are_a_certificate_or_the_one_error(der: bytes) -> None:
    with suppress(CertificateInvalid):
        read(der)
