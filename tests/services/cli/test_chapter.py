"""docs/chapter.md: every option, test and page that it names exists, and the chapter's numbers are our defaults."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest

from services.common.values import BY_LEGACY, TABLE, convert

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "docs" / "chapter.md"
HEAD = "the chapter says"
WITHOUT_TEST = {"historical", "background"}


def statements() -> list[tuple[str, str, str, str]]:
    """Statement, options, tests and pages of each row."""
    found = []
    for line in PAGE.read_text().splitlines():
        if line.startswith("| ") and not line.startswith(f"| {HEAD} "):
            cells = [cell.strip() for cell in line.strip("|").split("|")]
            assert len(cells) == 4, line
            found.append((cells[0], cells[1], cells[2], cells[3]))
    return found


ROWS = statements()


def quoted(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


@cache
def functions_of(path: str) -> frozenset[str]:
    return frozenset(re.findall(r"^(?:async )?def (test_\w+)", (ROOT / path).read_text(), re.MULTILINE))


def test_the_page_has_every_part_of_the_chapter() -> None:
    assert len(ROWS) > 60
    assert PAGE.read_text().count("\n## ") == PAGE.read_text().count(f"| {HEAD} ")


@pytest.mark.parametrize("row", ROWS, ids=[row[0][:60] for row in ROWS])
def test_what_a_statement_names_exists(row: tuple[str, str, str, str]) -> None:
    _, options, tests, pages = row
    for option in quoted(options):
        assert option in BY_LEGACY, option
    shown = quoted(tests)
    assert shown or tests in WITHOUT_TEST
    for name in shown:
        path, _, function = name.partition("::")
        assert (ROOT / path).is_file(), path
        assert not function or function in functions_of(path), name
    links = re.findall(r"\]\(([^)]+)\)", pages)
    assert links
    for link in links:
        assert (PAGE.parent / link).is_file(), link


DEFAULTS = {
    "service.pop.port": 110,
    "service.imap.port": 143,
    "service.http.port": 8990,
    "service.pop.sslport": 995,
    "service.imap.sslport": 993,
    "service.http.sslport": 8991,
    "service.pop.maxsessions": 600,
    "service.imap.maxsessions": 4000,
    "service.http.maxsessions": 6000,
    "service.pop.maxthreads": 250,
    "service.imap.maxthreads": 250,
    "service.http.maxthreads": 250,
    "service.pop.numprocesses": 1,
    "service.imap.numprocesses": 1,
    "service.http.numprocesses": 1,
    "service.pop.idletimeout": 10,
    "service.imap.idletimeout": 30,
    "service.http.idletimeout": 3,
    "service.http.sessiontimeout": 2 * 60 * 60,
}


@pytest.mark.parametrize(("name", "value"), DEFAULTS.items())
def test_defaults_are_those_of_the_chapter(name: str, value: int) -> None:
    assert BY_LEGACY[name].default == value


@pytest.mark.parametrize("name", ["service.pop.idletimeout", "service.imap.idletimeout", "service.http.idletimeout"])
def test_idle_times_may_be_raised_and_never_lowered(name: str) -> None:
    row = BY_LEGACY[name]
    assert convert(row, str(row.default + 1)) == row.default + 1
    with pytest.raises(ValueError, match=r"^$"):
        convert(row, str(row.default - 1))


@pytest.mark.parametrize("name", [name for name, row in TABLE.items() if row.option.port and row.option.low == 1])
def test_ports_are_from_1_to_65535(name: str) -> None:
    for good in ("1", "65535"):
        assert convert(TABLE[name], good) == int(good)
    for bad in ("0", "65536", "-1", "pop"):
        with pytest.raises(ValueError, match=r"^$"):
            convert(TABLE[name], bad)
