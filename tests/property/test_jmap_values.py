"""JMAP's pure parts on anything: a request or one problem, a value or one error, a message that is one."""

from __future__ import annotations

import json
from collections.abc import Callable
from email import message_from_bytes, policy
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from services.common.mime.analysis import analyse
from services.http.credentials import LoginCookie, cookies, read_basic, read_cookie
from services.http.jmap.arguments import Arguments
from services.http.jmap.errors import MethodError, SetError
from services.http.jmap.request import pointed, read_request, resolved
from services.http.jmap.standard import State, read_state
from services.http.mail import headers, parts
from services.http.mail.composing import draft
from services.http.mail.filters import read_filter, read_sort
from services.http.mail.names import BlobName, read_blob
from services.http.mail.properties import USUAL, Material, plan, record, with_message
from services.http.mail.querying import marked, sort_keys
from services.http.replies import Problem

KNOWN = frozenset({"c"})
REQUEST_ERRORS = ("notJSON", "notRequest", "unknownCapability", "limit")


def refusal(attempt: Callable[[], object]) -> str | None:
    """Which error it is refused with; None for none."""
    try:
        attempt()
    except (MethodError, SetError, Problem) as error:
        return error.kind
    return None


JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
CALLS = st.lists(
    st.tuples(st.text(max_size=5), st.dictionaries(st.text(max_size=5), JSON, max_size=3), st.text(max_size=5))
)


@pytest.mark.rfc("8620", "3.6.1")
@given(st.binary(max_size=200) | JSON.map(lambda value: json.dumps(value).encode()))
@example(b"\xed\xa0\x80")
@example(b'{"using":["c"],"methodCalls":[["a",{},"\\ud800"]]}')
def test_any_octets_are_a_request_or_one_problem(body: bytes) -> None:
    said = refusal(lambda: read_request(body, KNOWN, 16))
    assert said is None or said.removeprefix("urn:ietf:params:jmap:error:") in REQUEST_ERRORS


@given(CALLS)
def test_requests_are_read_as_they_were_meant(calls: list[tuple[str, dict[str, Any], str]]) -> None:
    body = json.dumps({"using": ["c"], "methodCalls": calls[:16]}).encode()
    found = read_request(body, KNOWN, 16)
    assert [[call.name, call.arguments, call.call_id] for call in found.calls] == json.loads(body)["methodCalls"]


@pytest.mark.rfc("6901", "4")
@given(JSON, st.text(max_size=20) | st.lists(st.sampled_from(["*", "0", "1", "~0", "~1", "a", ""])).map("/".join))
def test_a_pointer_leads_somewhere_or_nowhere(document: Any, path: str) -> None:
    assert refusal(lambda: pointed(document, path)) in (None, "invalidResultReference")


@given(st.dictionaries(st.text(max_size=4).map("#".__add__) | st.text(max_size=4), JSON, max_size=4))
def test_references_are_resolved_or_refused(arguments: dict[str, Any]) -> None:
    said = refusal(lambda: resolved(arguments, []))
    assert said in (None, "invalidArguments", "invalidResultReference")
    assert (said is None) is not any(name.startswith("#") for name in arguments)


@given(st.text(max_size=40))
def test_states_are_read_as_they_were_written(text: str) -> None:
    said = refusal(lambda: read_state(text))
    assert said in (None, "cannotCalculateChanges")
    if said is None:
        assert read_state(str(read_state(text))) == read_state(text)


@given(st.integers(0, 1 << 62), st.integers(0, 1 << 62), st.integers(1, 1 << 62))
def test_states_in_parts(modseq: int, next_id: int, done: int) -> None:
    for state in (State(modseq, next_id), State(modseq, next_id, done, (modseq, next_id))):
        assert read_state(str(state)) == state


@given(JSON.filter(lambda value: isinstance(value, dict)))
def test_any_filter_is_read_or_refused(value: dict[str, Any]) -> None:
    assert refusal(lambda: read_filter(value)) in (None, "invalidArguments", "unsupportedFilter")


@given(
    st.lists(st.dictionaries(st.sampled_from(["property", "isAscending", "keyword", "collation"]), JSON), max_size=3)
)
def test_any_sort_is_read_or_refused(values: list[dict[str, Any]]) -> None:
    assert refusal(lambda: read_sort(values)) in (None, "invalidArguments", "unsupportedSort")


@given(st.text(max_size=80))
def test_blobs_and_cookies_are_read_as_they_were_written(text: str) -> None:
    blob = read_blob(text)
    assert blob is None or str(blob) == text
    cookie = read_cookie(text)
    assert cookie is None or isinstance(cookie, LoginCookie)
    read_basic(text)
    cookies(text)


@given(st.binary(min_size=32, max_size=32), st.integers(1, 1 << 58))
def test_every_login_has_a_cookie_of_its_own(secret: bytes, account: int) -> None:
    cookie = LoginCookie(account, secret)  # type: ignore[arg-type]
    assert read_cookie(str(cookie)) == cookie
    assert read_blob(str(BlobName(digest=secret))) == BlobName(digest=secret)


# ---- messages -------------------------------------------------------------------------------------------------------
MESSAGE = st.binary(max_size=400) | st.lists(
    st.sampled_from([
        b"Content-Type: multipart/mixed; boundary=b", b"Content-Type: multipart/alternative; boundary=b",
        b"Content-Type: multipart/related; boundary=b", b"Content-Type: text/html", b"Content-Type: image/png; name=x",
        b"Content-Disposition: attachment; filename=a", b"Content-Disposition: inline", b"--b", b"--b--", b"", b"text",
        b"Content-Type: message/rfc822", b"Subject: x", b"From: a <b@c>, d: e@f;", b"Date: 1 Jan 2001 00:00 +0100",
        b"Content-Transfer-Encoding: base64", b"\xff\xfe", b"Content-Type: text/plain; charset=none",
    ]), max_size=25,
).map(b"\r\n".join)  # fmt: skip


@pytest.mark.rfc("8621", "4.1.4")
@given(MESSAGE)
def test_any_message_can_be_shown(message: bytes) -> None:
    wanted = plan(Arguments({"properties": [*USUAL, "bodyStructure", "headers"], "fetchAllBodyValues": True}), USUAL)
    material = Material(message)
    with_message(material, message)
    meta = dict.fromkeys(("id", "blobId", "threadId", "mailboxIds", "keywords", "size", "receivedAt"))
    shown = record(wanted, material, meta, BlobName(1))
    json.dumps(shown).encode()
    root = parts.tree(message)
    leaves = {part.part_id for part in parts.flat(root) if part.path}
    for name in ("textBody", "htmlBody", "attachments"):
        assert {part["partId"] for part in shown[name]} <= leaves
    arranged = parts.arranged(root)
    assert parts.has_attachment(analyse(message).bodystructure) == arranged.has_attachment


@given(st.binary(max_size=120))
def test_any_field_has_every_form(value: bytes) -> None:
    for read in headers.READERS.values():
        json.dumps(read(value)).encode()
    sort_keys(b"From:" + value + b"\r\nDate:" + value + b"\r\nSubject:" + value + b"\r\n")


TEXT = st.text(max_size=60)
PROPERTIES = st.fixed_dictionaries(
    {},
    optional={
        "subject": TEXT,
        "from": st.lists(st.fixed_dictionaries({"email": TEXT, "name": TEXT | st.none()}), max_size=3),
        "messageId": st.lists(TEXT, max_size=2),
        "header:X-Raw": TEXT,
        "header:X-Text:asText": TEXT,
        "textBody": st.just([{"partId": "1", "type": "text/plain"}]),
        "bodyValues": st.fixed_dictionaries({"1": st.fixed_dictionaries({"value": st.text(max_size=300)})}),
        "attachments": st.lists(
            st.fixed_dictionaries({"blobId": st.just("B1"), "type": st.just("a/b"), "name": TEXT}), max_size=2
        ),
    },
)


@pytest.mark.rfc("8621", "4.6")
@given(PROPERTIES)
def test_what_is_composed_is_read_again(properties: dict[str, Any]) -> None:
    if (said := refusal(lambda: draft(properties, "example.com", 1_700_000_000))) is not None:
        assert said in ("invalidProperties", "tooLarge")
        return
    made = draft(properties, "example.com", 1_700_000_000).octets()
    head, _, _ = made.partition(b"\r\n\r\n")
    assert b"\n" not in made.replace(b"\r\n", b"")
    assert all(len(line) <= 998 for line in made.split(b"\r\n"))
    names = [name.lower() for name, _ in headers.fields_of(head + b"\r\n")]
    wanted = {"subject", "from", "message-id", "x-raw", "x-text", "date", "mime-version"}
    assert set(names) <= wanted | {"content-type", "content-transfer-encoding", "content-disposition"}
    assert len(names) == len(set(names)), "no field came in by another's value"
    message_from_bytes(made, policy=policy.default)
    root = parts.tree(made)
    if "bodyValues" in properties:
        text = parts.text_of(made, parts.arranged(root).text[0], 0).value
        said = properties["bodyValues"]["1"]["value"].replace("\r\n", "\n").replace("\r", "\n").replace("\0", "")
        assert text.rstrip("\n") == said.rstrip("\n")


@given(st.text(max_size=200), st.lists(st.text(min_size=1, max_size=5), max_size=3), st.integers(1, 80))
def test_snippets_are_harmless(text: str, words: list[str], length: int) -> None:
    found = marked(text, words, length)
    if found is not None:
        plain = found.replace("<mark>", "").replace("</mark>", "")
        assert "<" not in plain
        assert ">" not in plain
