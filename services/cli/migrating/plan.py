"""What a dump of Messaging Server's options means here, line by line. No I/O."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Final

from services.cli.dump import Line
from services.cli.migrating.former import CONVERSIONS, Rule, find_rule, former_names
from services.common.access.patterns import FilterError
from services.common.values import TABLE, Row, convert, find_row, no_option

_SECRET: Final = re.compile(r"pass|cred|secret|pin$|key$", re.IGNORECASE)
_UNKNOWN: Final = "concerns neither POP, IMAP, HTTP, logins nor limits, as far as is known"


class Fate(StrEnum):
    """What becomes of an option."""

    CARRIED = "carried over"
    DEFAULT = "default here"
    CHANGED = "changed"
    HARMLESS = "not needed"
    DROPPED = "dropped"
    REFUSED = "not allowed"
    """An option that there is, with a value that it cannot have: to be mended, or a filter would be lost unseen."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One line's outcome. `option` and `written`: ours and what it is set to, "" and None where none is."""

    line: int
    name: str
    value: str
    fate: Fate
    option: str = ""
    written: str | None = None
    why: str = ""


def plan(lines: Iterable[Line], given: Mapping[str, Any]) -> list[Finding]:
    """A finding for each line. `given` is what our file sets already, so that a default may have to overrule it."""
    found: list[Finding] = []
    for line in lines:
        finding = _judge(line, given)
        if finding.written is not None:
            found = [_replaced(each, line) if each.option == finding.option else each for each in found]
        found.append(finding)
    return found


def changes(findings: Iterable[Finding]) -> dict[str, str | None]:
    """Our options and what they are to be set to."""
    return {finding.option: finding.written for finding in findings if finding.written is not None}


def _replaced(finding: Finding, line: Line) -> Finding:
    why = f"line {line.number} sets it again"
    return Finding(finding.line, finding.name, finding.value, Fate.DROPPED, why=why)


def _judge(line: Line, given: Mapping[str, Any]) -> Finding:
    name, _, language = line.name.partition(";")
    if not name:
        return Finding(line.number, line.text[:40], "", Fate.DROPPED, why="is not NAME=VALUE")
    if language:
        return _dropped(line, "options have no language variants")
    names = former_names(name)
    row = next(filter(None, map(find_row, names)), None)
    if row is not None:
        return _known(line, row, given)
    rule = next(filter(None, map(find_rule, names)), None)
    if rule is None:
        return _dropped(line, no_option(name) if "did you mean" in no_option(name) else _UNKNOWN)
    return _ruled(line, rule, given)


def _known(line: Line, row: Row, given: Mapping[str, Any]) -> Finding:
    """An option that is here under its name, perhaps in another form."""
    convert_value, why = CONVERSIONS.get(row.legacy, (str, ""))
    value = convert_value(line.value)
    if value is None:
        return Finding(*_shown(line), Fate.CHANGED, row.name, why=why)
    finding = _carried(line, row, value, given)
    return replace(finding, fate=Fate.CHANGED, why=why) if value != line.value and finding.written else finding


def _ruled(line: Line, rule: Rule, given: Mapping[str, Any]) -> Finding:
    if rule.option:
        finding = _carried(line, TABLE[rule.option], rule.convert(line.value), given)
        fate = Fate.CHANGED if finding.fate is Fate.CARRIED else finding.fate
        return Finding(*_shown(line), fate, finding.option, finding.written, finding.why or rule.reason)
    if line.value.lower() in rule.harmless:
        return Finding(*_shown(line), Fate.HARMLESS, why=rule.reason)
    return _dropped(line, rule.reason)


def _carried(line: Line, row: Row, value: str, given: Mapping[str, Any]) -> Finding:
    """A value for an option that there is: as it is, raised to its floor, or not at all."""
    why, fate = "", Fate.CARRIED
    if value == "" and row.type in {int, bool}:
        return Finding(*_shown(line), Fate.DEFAULT, row.name, why="empty: the default holds")
    try:
        known = convert(row, value)
    except ValueError as error:
        raised = _raised(row, value)
        if raised is None:
            reason = f" ({error})" if isinstance(error, FilterError) else ""
            return Finding(*_shown(line), Fate.REFUSED, row.name, why=f"is not allowed{reason}; allowed: {row.allowed}")
        value, known, fate = raised, int(raised), Fate.CHANGED
        why = f"raised to {raised}: may not be lower"
    if known == row.default and row.name not in given:
        return Finding(*_shown(line), Fate.DEFAULT if fate is Fate.CARRIED else fate, row.name, why=why)
    return Finding(*_shown(line, secret=row.option.secret), fate, row.name, value, why)


def _raised(row: Row, value: str) -> str | None:
    """The floor, where the value is a number below it."""
    below = row.option.floor and re.fullmatch(r"[0-9]{1,9}", value) and int(value) < (row.option.low or 0)
    return str(row.option.low) if below else None


def _dropped(line: Line, why: str) -> Finding:
    return Finding(*_shown(line), Fate.DROPPED, why=why)


def _shown(line: Line, *, secret: bool = False) -> tuple[int, str, str]:
    """Number, name and value as they may be printed: no secret, and no line without an end."""
    hidden = line.value and (secret or _SECRET.search(line.name))
    value = "(secret)" if hidden else line.value
    return line.number, line.name[:80], value if len(value) <= 80 else f"{value[:77]}..."


def counted(findings: Iterable[Finding]) -> Iterator[str]:
    """How many of each fate: `12 carried over`."""
    fates = [finding.fate for finding in findings]
    return (f"{fates.count(fate)} {fate}" for fate in Fate if fate in fates)
