"""The table of options in docs/migration.md, made anew by `python -m services.cli.migrating.page docs/migration.md`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from services.cli.migrating.former import CONVERSIONS, DEFAULTS, NO, OPTIONS, YES, Rule, find_rule
from services.common.reference import default_text
from services.common.values import BY_LEGACY, Row

BEGIN: Final = "<!-- options: made by `make docs` from services/cli/migrating/former.py; do not edit -->"
END: Final = "<!-- end of options -->"


def table() -> str:
    """Every documented option with what it is here, or why it is not."""
    return "\n".join(["| Messaging Server | here | |", "|---|---|---|", *_lines()])


def _lines() -> Iterator[str]:
    listed = [*OPTIONS, *sorted(BY_LEGACY.keys() - set(OPTIONS) - _own())]
    for name in listed:
        row = BY_LEGACY.get(name)
        rule = find_rule(name)
        if row is not None:
            yield f"| `{name}` | `{row.name}` | {_carried(row)} |"
        elif rule is not None:
            yield f"| `{name}` | {f'`{rule.option}`' if rule.option else '-'} | {_ruled(rule)} |"


def _own() -> set[str]:
    """Options of ours that merely answer to a name in Messaging Server's manner."""
    return {name for name, row in BY_LEGACY.items() if not row.option.legacy}


def _carried(row: Row) -> str:
    was = f"; was {DEFAULTS[row.legacy]}" if row.legacy in DEFAULTS else ""
    form = f"; {CONVERSIONS[row.legacy][1]}" if row.legacy in CONVERSIONS else ""
    when = "" if row.option.live else "; restart"
    return f"{default_text(row)}{was}; {row.allowed}{form}{when}".replace("|", "\\|")


def _ruled(rule: Rule) -> str:
    return "; ".join(filter(None, (rule.reason, _harmless(rule))))


def _harmless(rule: Rule) -> str:
    """With which values nothing is lost."""
    if rule.harmless >= YES | NO:
        return "nothing is lost whatever it says"
    word = next((word for word in ("yes", "no", "on") if word in rule.harmless), "an empty value")
    return f"nothing is lost with {word}" if rule.harmless else ""


def with_table(page: str) -> str:
    """The page with the table of now. Raises ValueError where the page has no place for it."""
    head, begin, rest = page.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end:
        raise ValueError("the marks of the table are missing")
    return f"{head}{BEGIN}\n{table()}\n{END}{tail}"


if __name__ == "__main__":
    path = Path(sys.argv[1])
    path.write_text(with_table(path.read_text("utf-8")), "utf-8")
