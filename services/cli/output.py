"""What a command prints: a table for people, JSON for programs; errors in one form and with one exit code each."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Sequence
from typing import Annotated, Any, Final, NoReturn

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

EXIT_FAILURE: Final = 1
EXIT_USAGE: Final = 2
EXIT_UNAVAILABLE: Final = os.EX_UNAVAILABLE
EXIT_INTERRUPTED: Final = 130
"""128 and SIGINT's number, as shells have it."""

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]

_WIDE: Final = 1000
"""Columns where the output goes to no terminal: a table in a file or a pipe is not cut."""

console = Console(width=None if sys.stdout.isatty() else _WIDE)
errors = Console(stderr=True, width=None if sys.stderr.isatty() else _WIDE)


def show(as_json: bool, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Print rows as a table, or as a JSON list of objects with the columns as keys."""
    if as_json:
        show_json([dict(zip(columns, row, strict=True)) for row in rows])
        return
    table = Table(*[column.replace("_", " ") for column in columns], box=None, pad_edge=False)
    for row in rows:
        # As Text: what looks like markup is part of somebody's mailbox name.
        table.add_row(*(Text("" if value is None else str(value)) for value in row))
    console.print(table)


def show_facts(as_json: bool, facts: dict[str, Any]) -> None:
    """Print one thing's properties as two columns, or as a JSON object."""
    if as_json:
        show_json(facts)
    else:
        show(False, ("property", "value"), [(name.replace("_", " "), value) for name, value in facts.items()])


def show_json(value: Any) -> None:
    """Print one JSON value."""
    json.dump(value, sys.stdout, ensure_ascii=False, indent=2, default=str)
    sys.stdout.write("\n")


def say(as_json: bool, text: str, **facts: Any) -> None:
    """The outcome of a command that changes something."""
    if as_json:
        show_json(facts)
    else:
        console.print(text, highlight=False, markup=False, soft_wrap=True)


def note(text: str) -> None:
    """Something to know beside the outcome; on standard error."""
    errors.print(f"note: {text}", style="yellow", highlight=False, markup=False, soft_wrap=True)


def complain(text: str) -> None:
    """Say what went wrong on standard error."""
    errors.print(text, style="red", highlight=False, markup=False, soft_wrap=True)


def fail(text: str, code: int = EXIT_FAILURE) -> NoReturn:
    """Say why on standard error and leave."""
    complain(text)
    raise typer.Exit(code)


def counted(number: int, word: str) -> str:
    """1 session, 2 sessions."""
    return f"{number} {word}{'' if number == 1 else 's'}"


def size(count: int) -> str:
    """Bytes for people: 1.5 MiB."""
    value = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1024:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} TiB"
