"""POP3 input: any split of the bytes gives the same commands; any bytes give a command or the one protocol error."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.pop.commands import SYNTAX, Auth, Bare, Command, Lang, Listing, Response, Secret, Single, Top
from services.pop.machine import MAX_ERRORS, MAX_LINE, MAX_RESPONSE_LINE, Fault, PopMachine, ProtocolError

Heard = Command | Response | Fault

WORDS = st.sampled_from([b"USER", b"pass", b"List", b"RETR", b"AUTH PLAIN", b"top", b" ", b"1", b"999", b"\r\n", b"\n"])
STREAMS = st.lists(WORDS | st.binary(max_size=4), max_size=40).map(b"".join)


def heard(machine: PopMachine) -> list[Heard]:
    found: list[Heard] = []
    while True:
        try:
            command = machine.next()
        except ProtocolError as error:
            found.append(error.fault)
            continue
        if command is None:
            return found
        found.append(command)


def parsed(line: bytes, *, logged_in: bool = False) -> Heard:
    machine = PopMachine()
    if logged_in:
        machine.enter_transaction()
    machine.feed(line + b"\r\n")
    (found,) = heard(machine)
    return found


@given(stream=STREAMS, cuts=st.lists(st.integers(0, 200)), logged_in=st.booleans())
def test_any_split_gives_the_same_commands(stream: bytes, cuts: list[int], logged_in: bool) -> None:
    whole, parts = PopMachine(), PopMachine()
    if logged_in:
        whole.enter_transaction()
        parts.enter_transaction()
    whole.feed(stream)
    found: list[Heard] = []
    for start, stop in pairwise(sorted({0, len(stream), *(min(cut, len(stream)) for cut in cuts)})):
        parts.feed(stream[start:stop])
        found += heard(parts)
    assert found == heard(whole)


@given(line=st.binary(max_size=2000).filter(lambda line: b"\n" not in line), logged_in=st.booleans())
def test_any_line_gives_one_command_or_one_error(line: bytes, logged_in: bool) -> None:
    parsed(line, logged_in=logged_in)


@pytest.mark.rfc("1939", "3")
@pytest.mark.parametrize(
    ("line", "command"),
    [
        (b"stat", Bare("STAT")),
        (b"STAT ", Bare("STAT")),
        (b"NOOP", Bare("NOOP")),
        (b"RsEt", Bare("RSET")),
        (b"LIST", Listing("LIST", None)),
        (b"LIST ", Listing("LIST", None)),
        (b"LIST 2", Listing("LIST", 2)),
        (b"UIDL", Listing("UIDL", None)),
        (b"uidl 0017", Listing("UIDL", 17)),
        (b"RETR 1 ", Single("RETR", 1)),
        (b"DELE 4294967295", Single("DELE", 4294967295)),
        (b"TOP 3 0", Top("TOP", 3, 0)),
        (b"TOP 3 9999999999", Top("TOP", 3, 9_999_999_999)),
        (b"LANG", Lang("LANG", "")),
        (b"LANG *", Lang("LANG", "*")),
        (b"LANG de-AT", Lang("LANG", "de-AT")),
        (b"CAPA", Bare("CAPA")),
        (b"QUIT", Bare("QUIT")),
    ],
)
def test_commands_of_the_transaction_state(line: bytes, command: Command) -> None:
    assert parsed(line, logged_in=True) == command


@pytest.mark.parametrize(
    ("line", "command"),
    [
        (b"USER mrose", Secret("USER", b"mrose")),
        (b"PASS  two  spaces ", Secret("PASS", b" two  spaces ")),
        (b"APOP mrose c4c9334bac560ecc979e58001b3e22fb", Secret("APOP", b"mrose c4c9334bac560ecc979e58001b3e22fb")),
        (b"AUTH", Auth("AUTH", "", None)),
        (b"AUTH plain", Auth("AUTH", "PLAIN", None)),
        (b"AUTH PLAIN ", Auth("AUTH", "PLAIN", None)),
        (b"AUTH PLAIN =", Auth("AUTH", "PLAIN", b"=")),
        (b"AUTH SCRAM-SHA-256-PLUS biws", Auth("AUTH", "SCRAM-SHA-256-PLUS", b"biws")),
        (b"STLS", Bare("STLS")),
        (b"UTF8", Bare("UTF8")),
    ],
)
def test_commands_of_the_authorization_state(line: bytes, command: Command) -> None:
    assert parsed(line) == command


@pytest.mark.parametrize(
    "line",
    [
        *(b"LIST x", b"LIST 1 2", b"LIST -1", b"LIST 12345678901", b"RETR", b"DELE  1", b"TOP 1", b"TOP 1 2 3"),
        *(b"STAT 1", b"TOP 1 -1", b"LANG de_AT", b"LANG a b", b"RETR \xb2", b"UIDL 1\0", b"QUIT now"),
    ],
)
def test_arguments_that_a_command_does_not_take(line: bytes) -> None:
    assert parsed(line, logged_in=True) is Fault.SYNTAX


@pytest.mark.parametrize("line", [b"USER", b"PASS ", b"AUTH A B C", b"AUTH \xff", b"STLS now", b"APOP"])
def test_arguments_that_a_login_does_not_take(line: bytes) -> None:
    assert parsed(line) is Fault.SYNTAX


@pytest.mark.rfc("1939", "3")
def test_a_command_is_taken_in_its_states_only() -> None:
    for verb, row in SYNTAX.items():
        for logged_in, state in ((False, 1), (True, 2)):
            assert (parsed(verb, logged_in=logged_in) is Fault.STATE) == (not row.states & state)


def test_what_is_no_command() -> None:
    for line in (b"", b" ", b"GET / HTTP/1.1", b"STATX", b"\0", b"EHLO x"):
        assert parsed(line) is Fault.UNKNOWN


@pytest.mark.rfc("5034", "4")
def test_a_line_that_was_asked_for_is_a_response() -> None:
    machine = PopMachine()
    machine.await_response(True)
    machine.feed(b"QUIT\r\n*\r\n" + b"A" * (MAX_RESPONSE_LINE - 2) + b"\r\n")
    assert heard(machine) == [Response(b"QUIT"), Response(b"*"), Response(b"A" * (MAX_RESPONSE_LINE - 2))]


def test_a_line_that_is_too_long_is_fatal_before_it_is_held() -> None:
    machine = PopMachine()
    machine.feed(b"USER " + b"x" * MAX_LINE)
    with pytest.raises(ProtocolError) as caught:
        machine.next()
    assert caught.value.fatal
    assert len(machine) == 0


@pytest.mark.parametrize("logged_in", [False, True])
def test_errors_are_counted_until_they_are_fatal(logged_in: bool) -> None:
    machine = PopMachine()
    if logged_in:
        machine.enter_transaction()
    limit = MAX_ERRORS[machine.state]
    fatal = []
    for _ in range(limit):
        machine.feed(b"GET / HTTP/1.1\r\nCAPA\r\n")
        with pytest.raises(ProtocolError) as caught:
            machine.next()
        fatal.append(caught.value.fatal)
        assert machine.next() == Bare("CAPA")
    assert fatal == [False] * (limit - 1) + [True]


@pytest.mark.rfc("2595", "4")
def test_nothing_from_before_tls_is_taken_after_it() -> None:
    machine = PopMachine()
    machine.feed(b"STLS\r\nUSER mallory\r\nPA")
    assert machine.next() == Bare("STLS")
    machine.restart()
    machine.feed(b"CAPA\r\n")
    assert heard(machine) == [Bare("CAPA")]


def test_secrets_are_not_shown() -> None:
    for line in (b"USER mrose", b"PASS mrose", b"APOP mrose 0", b"AUTH PLAIN mrose"):
        assert "mrose" not in repr(parsed(line))
