"""Lines that set an option, in the forms in which Messaging Server's administrators keep them. No I/O.

service.imap.maxsessions = 4000 [NOT REFRESHABLE]     a list of configutil, with or without -m
service.imap.maxsessions=4000                         an input file of configutil -i
role.imap.maxsessions = 4000                          msconfig show
set imap.maxsessions 4000                             an input of msconfig
set_option("imap.maxsessions", "4000");               a recipe
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

_NAME: Final = r"([A-Za-z][A-Za-z0-9_.:*-]*(?:;[A-Za-z-]+)?)"
_FORMS: Final = tuple(
    re.compile(form)
    for form in (
        rf'set_option\s*\(\s*"{_NAME}"\s*,\s*"([^"]*)"\s*\)\s*;?',
        rf"set\s+{_NAME}\s+(.*)",
        rf"{_NAME}\s*=\s*(.*)",
    )
)
_MARK: Final = re.compile(r"\s*\[(?:NOT )?REFRESHABLE\]$")
_SCOPES: Final = ("role.", "instance.")
COMMENTS: Final = ("#", "!")


@dataclass(frozen=True, slots=True)
class Line:
    """One line that says something; `name` is "" where it sets no option."""

    number: int
    name: str
    value: str
    text: str


def parse_lines(text: str) -> Iterator[Line]:
    """Every line but empty ones and comments."""
    for number, line in enumerate(text.splitlines(), 1):
        stripped = line.strip()
        if stripped and not stripped.startswith(COMMENTS):
            name, value = _parse(stripped)
            yield Line(number, name, value, stripped)


def _parse(line: str) -> tuple[str, str]:
    for form in _FORMS:
        if found := form.fullmatch(line):
            value = _MARK.sub("", found[2]).strip()
            return _without_scope(found[1]), _unquoted(value)
    return "", ""


def _without_scope(name: str) -> str:
    return next((name.removeprefix(scope) for scope in _SCOPES if name.startswith(scope)), name)


def _unquoted(value: str) -> str:
    return value[1:-1] if len(value) > 1 and value[0] == value[-1] == '"' else value
