"""The configuration file as programs change it: as a whole, checked before it is written, one change at a time."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from services.common import configuration as configurations
from services.common.configedit import EditError, Written, edited
from services.common.configuration import Changes, ConfigurationError, Problem
from services.common.options import Configuration
from services.common.replacing import locked, replace_file
from services.common.settings import SettingsError, from_text
from services.common.values import TABLE, Row, convert, find_row

NOTHING: Final = Changes((), ())


@dataclass(frozen=True, slots=True)
class Edit:
    """What a change did: the options that services take up or wait with, and those that the environment overrules."""

    changes: Changes
    overruled: tuple[str, ...]


class ConfigurationFile:
    """The file that `environ` (or `path`) names. Every method raises ConfigurationError."""

    def __init__(self, environ: Mapping[str, str], path: str | None = None) -> None:
        _, file, _ = configurations.locate(environ, path)
        self._environ = environ
        # A link stays a link: what it points to is replaced.
        self.path = Path(file).resolve()

    def given(self) -> dict[str, Any]:
        """Option name -> value, of what the file itself sets."""
        return {row.name: value for row, value in self._given(self._text())}

    def _given(self, text: str) -> list[tuple[Row, Any]]:
        try:
            settings = from_text(text, str(self.path))
        except SettingsError as error:
            raise ConfigurationError([Problem("configuration file", "", str(error))]) from None
        return [(row, setting.value) for setting in settings if (row := find_row(setting.name)) is not None]

    def check(self) -> Configuration:
        """What the file says now, with the environment's overrides."""
        return self._read(self._text())

    def change(self, wanted: Mapping[str, str | None], *, write: bool = True) -> Edit:
        """Set options (by their own names) to what somebody typed; None takes one out. Without `write` only try it.

        All or nothing, under the lock; the whole file has to be good afterwards. Raises OSError where it cannot be
        written.
        """
        values = checked(wanted)
        with locked(self.path) if write else nullcontext():
            before = self._text()
            try:
                after = edited(before, values)
            except EditError as error:
                raise ConfigurationError([Problem("configuration file", "", str(error))]) from None
            new = self._read(after)
            changes = self._difference(before, new)
            self._check_outcome(wanted, after, changes)
            if write and after != before:
                replace_file(self.path, after.encode())
        return Edit(changes, tuple(name for name in wanted if configurations.variable(name) in self._environ))

    def _text(self) -> str:
        try:
            return self.path.read_text("utf-8")
        except FileNotFoundError:
            return ""
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "not UTF-8"
            raise ConfigurationError([Problem("configuration file", "", f"{self.path}: {reason}")]) from None

    def _read(self, text: str) -> Configuration:
        return configurations.load(str(self.path), self._environ, text=text)

    def _difference(self, before: str, new: Configuration) -> Changes:
        """What running services see; nothing is known of a file that was bad, so that they run without it."""
        try:
            return configurations.changes(self._read(before), new)
        except ConfigurationError:
            return NOTHING

    def _check_outcome(self, wanted: Mapping[str, str | None], after: str, changes: Changes) -> None:
        """What is about to be written has what was asked for and nothing else; an anchor in the file, for example, may
        make one value two options'.
        """
        given = {row.name: convert(row, value) for row, value in self._given(after)}
        asked = {name: convert(TABLE[name], text) for name, text in wanted.items() if text is not None}
        others = {*changes.live, *changes.restart} - set(wanted)
        if others or any(name in given for name in wanted.keys() - asked.keys()) or not asked.items() <= given.items():
            reached = f" without reaching {', '.join(sorted(others))} too" if others else ""
            text = f"{self.path}: cannot be changed by a program{reached}: edit it by hand"
            raise ConfigurationError([Problem("configuration file", "", text)])


def checked(wanted: Mapping[str, str | None]) -> dict[str, Written | None]:
    """What somebody typed, as a file is to have it. Raises ConfigurationError for all that is not allowed."""
    problems: list[Problem] = []
    values: dict[str, Written | None] = {}
    for name, text in wanted.items():
        row = TABLE[name]
        try:
            values[name] = None if text is None else _written(row, text)
        except ValueError as error:
            shown = configurations.shown_value(row, text)
            problems.append(Problem(row.legacy or name, shown, configurations.not_allowed(row, error)))
    if problems:
        raise ConfigurationError(problems)
    return values


def _written(row: Row, text: str) -> Written:
    """The value as people write it: a size keeps its unit, a list is one."""
    value = convert(row, text)
    if isinstance(value, bool):
        return value
    if isinstance(value, tuple):
        return list(value)
    if isinstance(value, int):
        return int(text) if text.strip().lstrip("-").isdecimal() else text.strip()
    return str(value)
