"""ImapMachine: literals, limits, states, continuation lines."""

from __future__ import annotations

import pytest

from services.common.domain import SEEN, AppendItem
from services.imap.commands import Append, Login, Noop
from services.imap.events import Continuation, NeedData, NeedLiteral, ProtocolError, Request
from services.imap.machine import BEFORE_LOGIN, ImapMachine, Limits
from tests.support.imapwire import events, machine

NOOP = Request(b"b", "NOOP", Noop())


@pytest.mark.rfc("9051", "4.3")
def test_a_synchronising_literal_waits_for_its_acceptance() -> None:
    made = machine()
    made.receive(b"a LOGIN {5}\r\n")
    assert made.next() == NeedLiteral(5, sync=True)
    assert isinstance(made.next(), NeedData)
    made.accept_literal()
    made.receive(b"smi")
    assert isinstance(made.next(), NeedData)
    assert made.in_literal
    assert made.literal_bytes == 3
    made.receive(b"th sesame\r\nb NOOP\r\n")
    assert made.next() == Request(b"a", "LOGIN", Login("smith", "sesame"))
    assert made.next() == NOOP
    assert made.buffered == 0


@pytest.mark.rfc("7888", "4")
def test_a_literal_sent_without_waiting_is_announced_too() -> None:
    found = events(machine(), b"a LOGIN {5+}\r\nsmith {6+}\r\nsesame\r\nb NOOP\r\n")
    assert found == [
        NeedLiteral(5, sync=False),
        NeedLiteral(6, sync=False),
        Request(b"a", "LOGIN", Login("smith", "sesame")),
        NOOP,
    ]


@pytest.mark.rfc("9051", "6.3.12")
def test_an_append_says_what_it_is_before_its_message_comes() -> None:
    made = machine()
    made.receive(b"a APPEND {5}\r\n")
    assert made.next() == NeedLiteral(5, sync=True)
    made.accept_literal()
    made.receive(b"INBOX (\\Seen) ~{10000+}\r\n")
    assert made.next() == NeedLiteral(10000, sync=False, append=Append("INBOX", (AppendItem(b"", SEEN),)))
    made.accept_literal()
    body = bytes(range(250)) * 40
    for start in range(0, 10000, 100):
        made.receive(body[start : start + 100])
        assert isinstance(made.next(), NeedData)
        assert made.buffered == 0
    made.receive(b"\r\n")
    assert made.next() == Request(b"a", "APPEND", Append("INBOX", (AppendItem(body, SEEN),)))


def test_a_message_above_the_limit_is_refused_unasked() -> None:
    made = machine(Limits(message=100))
    assert events(made, b"a APPEND x {101}\r\nb NOOP\r\n") == [
        ProtocolError(b"a", "The message is too large", False, "NO", "TOOBIG"),
        NOOP,
    ]


@pytest.mark.rfc("7888", "4")
def test_a_refused_literal_that_is_sent_anyway_is_dropped_with_all_that_follows() -> None:
    made = machine(Limits(message=100))
    made.receive(b"a APPEND x {100000+}\r\n")
    for _ in range(100):
        made.receive(b"b NOOP\r\n" * 125)
        assert isinstance(made.next(), NeedData)
        assert made.buffered == 0
    assert made.in_literal
    assert made.literal_bytes == 0
    made.receive(b" {3+}\r\nb N\r\nb NOOP\r\n")
    assert made.next() == ProtocolError(b"a", "The message is too large", False, "NO", "TOOBIG")
    assert made.next() == NOOP


def test_a_client_that_waits_within_a_dropped_command_is_told() -> None:
    made = machine()
    assert events(made, b"a LOGIN {5000+}\r\n" + b"x" * 5000 + b" {3}\r\nb NOOP\r\n") == [
        ProtocolError(b"a", "The literal is too large", code="TOOBIG"),
        NOOP,
    ]


def test_dropping_has_a_limit() -> None:
    made = machine(Limits(discard=10_000))
    assert events(made, b"a LOGIN {10001+}\r\n") == [
        ProtocolError(b"a", "The literal is too large", fatal=True, code="TOOBIG")
    ]
    assert events(made, b"x" * 10001 + b"\r\nb NOOP\r\n") == []
    made = machine(Limits(discard=10_000))
    found = events(made, b"a LOGIN {5000+}\r\n" + (b"x" * 5000 + b" {5000+}\r\n") * 3)
    assert [event.fatal for event in found if isinstance(event, ProtocolError)] == [True]


def test_many_empty_literals_in_a_refused_command_are_no_recursion() -> None:
    made = machine()
    found = events(made, b"a FOO {0+}\r\n" + b"{0+}\r\n" * 20_000 + b"\r\nb NOOP\r\n")
    assert found == [ProtocolError(b"a", "Unknown command"), NOOP]


@pytest.mark.rfc("7888", "5")
def test_literal_minus_takes_4096_without_waiting() -> None:
    limits = Limits(nonsync=4096)
    found = events(machine(limits), b"a APPEND x {4096+}\r\n" + b"x" * 4096 + b"\r\n")
    assert isinstance(found[-1], Request)
    found = events(machine(limits), b"a APPEND x {4097+}\r\n" + b"x" * 4097 + b"\r\nb NOOP\r\n")
    assert found == [
        ProtocolError(b"a", "The literal is too large to be sent without waiting", code="TOOBIG"),
        NOOP,
    ]
    assert isinstance(events(machine(limits), b"a APPEND x {4097}\r\n")[0], NeedLiteral)


def test_the_connection_may_refuse_a_literal() -> None:
    made = machine()
    made.receive(b"a APPEND x {10}\r\n")
    made.next()
    made.refuse_literal("Later", "LIMIT")
    assert made.next() == ProtocolError(b"a", "Later", condition="NO", code="LIMIT")
    made.receive(b"a APPEND x {10+}\r\n1234")
    made.next()
    made.refuse_literal("Later", "LIMIT")
    assert isinstance(made.next(), NeedData)
    made.receive(b"567890\r\nb NOOP\r\n")
    assert made.next() == ProtocolError(b"a", "Later", condition="NO", code="LIMIT")
    assert made.next() == NOOP


@pytest.mark.rfc("9051", "3")
def test_what_is_not_allowed_now_is_refused_before_its_literals() -> None:
    made = ImapMachine({"LOGIN", "NOOP"}, withheld={"LOGIN"})
    assert events(made, b"a APPEND x {10}\r\na SELECT x\r\na LOGIN {5}\r\na LOGIN x y\r\nb NOOP\r\n") == [
        ProtocolError(b"a", "Command not allowed now"),
        ProtocolError(b"a", "Command not allowed now"),
        ProtocolError(b"a", "Passwords are not taken on this connection", condition="NO", code="PRIVACYREQUIRED"),
        ProtocolError(b"a", "Passwords are not taken on this connection", condition="NO", code="PRIVACYREQUIRED"),
        NOOP,
    ]


def test_what_is_allowed_is_asked_when_the_command_is_looked_at() -> None:
    made = ImapMachine({"NOOP"})
    made.receive(b"b NOOP\r\na CHECK\r\na CHECK\r\n")
    made.next()
    assert isinstance(made.next(), ProtocolError)
    made.allowed = {"CHECK"}
    assert isinstance(made.next(), Request)


def test_too_many_bad_commands_in_a_row_are_fatal() -> None:
    made = machine(Limits(errors=3))
    found = events(made, b"a X\r\na X\r\nb NOOP\r\na X\r\na X\r\na X\r\nb NOOP\r\n")
    assert [isinstance(event, ProtocolError) and event.fatal for event in found] == [False] * 5 + [True]
    assert events(made, b"b NOOP\r\n") == []


def test_other_protocols_end_soon() -> None:
    made = ImapMachine({"NOOP"})
    found = events(made, b"GET / HTTP/1.1\r\nHost: x\r\nUser-Agent: y\r\nAccept: */*\r\n\r\nb NOOP\r\n")
    assert isinstance(found[-1], ProtocolError)
    assert found[-1].fatal


@pytest.mark.parametrize("data", [b"\r\n", b" \r\n", b"+a NOOP\r\n", b"* NOOP\r\n", b'"a" NOOP\r\n', b"a\xe9 NOOP\r\n"])
def test_a_tag_that_is_none_is_answered_untagged(data: bytes) -> None:
    found = events(machine(), data)
    assert [event.tag for event in found if isinstance(event, ProtocolError)] == [b"*"]


@pytest.mark.parametrize("tag", [b"1", b"a-b_c.d", b"A]", b"~!@#$^&=|;:'<>,?/`[}"])
def test_odd_tags(tag: bytes) -> None:
    assert events(machine(), tag + b" NOOP\r\n") == [Request(tag, "NOOP", Noop())]


def test_lines_have_a_limit_with_literals_and_without() -> None:
    made = machine(Limits(line=100))
    found = events(made, b"a LOGIN " + b"x" * 200)
    assert found == [ProtocolError(b"*", "The command line is too long", fatal=True, code="LIMIT")]
    made = machine(Limits(line=100))
    found = events(made, b"a SEARCH " + b"TEXT {1+}\r\nx " * 20 + b"ALL\r\n")
    assert found[-1] == ProtocolError(b"a", "The command line is too long", fatal=True, code="LIMIT")
    assert events(made, b"b NOOP\r\n") == []


def test_literals_have_a_number() -> None:
    found = events(machine(Limits(literals=2)), b"a SEARCH " + b"TEXT {1+}\r\nx " * 3 + b"ALL\r\nb NOOP\r\n")
    assert found[2:] == [ProtocolError(b"a", "Too many literals", code="LIMIT"), NOOP]


def test_before_login_little_is_taken() -> None:
    made = ImapMachine({"LOGIN"}, BEFORE_LOGIN)
    assert isinstance(events(made, b"a LOGIN {4097}\r\n")[0], ProtocolError)
    found = events(made, b"a LOGIN " + b"x" * 9000)
    assert isinstance(found[-1], ProtocolError)
    assert found[-1].fatal


@pytest.mark.rfc("9051", "6.3.13")
@pytest.mark.rfc("9051", "6.2.2")
def test_a_continuation_line_is_given_as_it_is() -> None:
    made = machine()
    made.expect_line(20)
    assert events(made, b"DO")[:] == []
    assert events(made, b"NE\r\nb NOOP\r\n") == [Continuation(b"DONE"), NOOP]
    made.expect_line(20)
    assert events(made, b"a {3+}\r\nb NOOP\r\n") == [Continuation(b"a {3+}"), NOOP]
    made.expect_line(20)
    found = events(made, b"x" * 30)
    assert isinstance(found[0], ProtocolError)
    assert found[0].fatal


@pytest.mark.rfc("9051", "6.2.1")
def test_what_came_before_a_handshake_is_forgotten() -> None:
    made = machine()
    made.receive(b"a STARTTLS\r\nb NOOP\r\n")
    assert isinstance(made.next(), Request)
    made.clear()
    assert events(made, b"b NOOP\r\n") == [NOOP]


def test_what_is_left_can_be_taken_out() -> None:
    made = machine()
    made.receive(b"b NOOP\r\nrest")
    made.next()
    assert made.take() == b"rest"
    assert made.buffered == 0


def test_a_bare_line_feed_ends_a_line_too() -> None:
    assert events(machine(), b"b NOOP\nb NOOP\r\n") == [NOOP, NOOP]
