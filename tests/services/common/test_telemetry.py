"""Log lines: one event one line, whatever a client says, and never in the way."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.common.sharedoptions import LogOptions
from services.common.telemetry import (
    MAX_LINE,
    JsonFormatter,
    LineHandler,
    TextFormatter,
    configure_logging,
    quoted,
    session_logger,
    set_level,
)


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """A pipe in the place of standard error; the logging set-up is put back."""
    root, ours = logging.getLogger(), logging.getLogger("mailkeep")
    handlers, levels = root.handlers[:], (root.level, ours.level)
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    yield reading, writing
    root.handlers[:] = handlers
    root.setLevel(levels[0])
    ours.setLevel(levels[1])
    os.close(reading)
    os.close(writing)


def written(reading: int) -> list[str]:
    try:
        return os.read(reading, 1 << 20).decode().splitlines()
    except BlockingIOError:
        return []


def test_a_session_says_who_it_is(pipe: tuple[int, int]) -> None:
    configure_logging(LogOptions(), pipe[1])
    session_logger("imap", "a-1", "192.0.2.1", "anna@example.com").info("logged in", tls=True, seconds=0.25)
    (line,) = written(pipe[0])
    assert line.startswith("time=")
    assert line.endswith(
        'level=info event="logged in" service=imap session=a-1 peer=192.0.2.1 user=anna@example.com tls=True '
        "seconds=0.25"
    )


@pytest.mark.parametrize("form", ["text", "json"])
def test_no_client_writes_a_line_of_its_own(pipe: tuple[int, int], form: str) -> None:
    configure_logging(LogOptions(format=form), pipe[1])
    name = 'x\r\nlevel=error event="root logged in"\x1b[2J\u2028\u202e" y=z'
    session_logger("pop").warning("login refused", name=name)
    (line,) = written(pipe[0])
    assert line.isprintable()
    assert line.count("level=error") <= 1
    if form == "json":
        assert json.loads(line)["name"] == name


@given(st.text())
def test_a_quoted_value_is_one_printable_word_or_string(text: str) -> None:
    value = quoted(text)
    assert value.isprintable()
    assert value == text if " " not in value and not value.startswith('"') else json.loads(value) == text


def test_an_unhandled_error_is_one_line_with_its_traceback(pipe: tuple[int, int]) -> None:
    configure_logging(LogOptions(format="json"), pipe[1])
    try:
        raise ValueError("broken")
    except ValueError as error:
        session_logger("imap").error("command failed", error=error)
    (line,) = written(pipe[0])
    assert "ValueError: broken" in json.loads(line)["traceback"]


def test_levels_change_while_running(pipe: tuple[int, int]) -> None:
    configure_logging(LogOptions(level="warning"), pipe[1])
    log = session_logger("imap")
    log.info("quiet")
    assert written(pipe[0]) == []
    set_level("debug")
    log.debug("loud")
    logging.getLogger("library").info("heard too")
    assert len(written(pipe[0])) == 2


def test_a_log_collector_that_stands_still_stops_nobody(pipe: tuple[int, int]) -> None:
    reading, writing = pipe
    handler = LineHandler(writing)
    handler.setFormatter(TextFormatter())
    record = logging.LogRecord("mailkeep", logging.INFO, "", 0, "x" * 300, None, None)
    for _ in range(2000):
        handler.emit(record)
    assert handler.dropped
    written(reading)
    handler.emit(logging.LogRecord("mailkeep", logging.INFO, "", 0, "again", None, None))
    assert "dropped=" in written(reading)[-1]


def test_a_line_has_an_end(pipe: tuple[int, int]) -> None:
    handler = LineHandler(pipe[1])
    handler.setFormatter(JsonFormatter())
    record = logging.LogRecord("mailkeep", logging.INFO, "", 0, "x", None, None)
    record.fields = {f"key{number}": "y" * 1000 for number in range(50)}
    handler.emit(record)
    (line,) = written(pipe[0])
    assert len(line) <= MAX_LINE
