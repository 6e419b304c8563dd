"""What a command prints: a table for people, JSON for programs; errors in one form and with one exit code each."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from typing import Annotated, Any, NoReturn

import typer
from rich.console import Console
from rich.table import Table

EXIT_FAILURE = 1
EXIT_UNAVAILABLE = 69
EXIT_CONFIGURATION = 78

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]

_WIDE = 200
"""Columns where the output goes to no terminal: a table in a file or a pipe is not cut."""

console = Console(width=None if sys.stdout.isatty() else _WIDE)
errors = Console(stderr=True, width=None if sys.stderr.isatty() else _WIDE)


def show(as_json: bool, columns: Sequence[str], rows: Iterable[Sequence[Any]], *, title: str = "") -> None:
    """Print rows as a table, or as a JSON list of objects with the columns as keys."""
    if as_json:
        show_json([dict(zip(columns, row, strict=True)) for row in rows])
        return
    table = Table(*[column.replace("_", " ") for column in columns], title=title or None, box=None, pad_edge=False)
    for row in rows:
        table.add_row(*("" if value is None else str(value) for value in row))
    console.print(table)


def show_json(value: Any) -> None:
    """Print one JSON value."""
    json.dump(value, sys.stdout, ensure_ascii=False, indent=2, default=str)
    sys.stdout.write("\n")


def say(as_json: bool, text: str, **facts: Any) -> None:
    """The outcome of a command that changes something."""
    if as_json:
        show_json(facts)
    else:
        console.print(text, highlight=False)


def fail(text: str, code: int = EXIT_FAILURE) -> NoReturn:
    """Say why on standard error and leave."""
    errors.print(text, style="red", highlight=False, markup=False)
    raise typer.Exit(code)


def size(count: int) -> str:
    """Bytes for people: 1.5 MiB."""
    value = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1024:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} TiB"
