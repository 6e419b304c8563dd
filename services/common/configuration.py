"""The configuration: read from the file and the environment, checked as a whole, compared when it is read again.

Order of strength: an environment variable (`MAILKEEP_IMAP_MAXSESSIONS`), the file in `MAILKEEP_CONFIG` or
`mailkeep.yaml` in the data folder, the default. The data folder is `MAILKEEP_DATA`, or `var`. Names in the file are
nested (`imap: {maxsessions: 5000}`), dotted (`imap.maxsessions: 5000`) or Messaging Server's
(`service.imap.maxsessions: 5000`).
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Final

from services.common import crosschecks
from services.common.access.patterns import FilterError
from services.common.options import Configuration
from services.common.problems import ConfigurationError, Problem
from services.common.settings import Setting, SettingsError, from_environment, from_file, from_text
from services.common.tls import CertificateError, sni_pairs
from services.common.values import TABLE, Row, convert, find_row, no_option, variable

__all__ = [
    "EXIT_CONFIGURATION",
    "Changes",
    "ConfigurationError",
    "Problem",
    "apply_live",
    "changes",
    "check_files",
    "check_ports",
    "concerned",
    "files",
    "load",
    "not_allowed",
    "ports",
    "rows",
    "shown",
    "shown_value",
    "value_of",
    "variable",
]

EXIT_CONFIGURATION: Final = 78
"""EX_CONFIG of sysexits.h: starting again will not help."""
DEFAULT_DATA: Final = "var"
DEFAULT_FILE: Final = "mailkeep.yaml"

ports = crosschecks.ports
check_ports = crosschecks.check_ports
check_files = crosschecks.check_files


def locate(environ: Mapping[str, str], path: str | None = None, data: str | None = None) -> tuple[str, str, bool]:
    """The data folder, the configuration file, and whether somebody named the file (it has to be there then)."""
    folder = os.path.abspath(data or environ.get("MAILKEEP_DATA") or DEFAULT_DATA)
    named = path or environ.get("MAILKEEP_CONFIG")
    return folder, os.path.abspath(named) if named else os.path.join(folder, DEFAULT_FILE), bool(named)


def load(
    path: str | None = None,
    environ: Mapping[str, str] | None = None,
    data: str | None = None,
    text: str | None = None,
) -> Configuration:
    """Read and check everything; with `text` as if the file held that. Raises ConfigurationError with every problem
    there is.
    """
    environ = os.environ if environ is None else environ
    folder, file, named = locate(environ, path, data)
    try:
        written = from_file(file, required=named) if text is None else from_text(text, file)
        settings = [*written, *from_environment(environ)]
    except SettingsError as error:
        raise ConfigurationError([Problem("configuration file", "", str(error))]) from None
    problems: list[Problem] = []
    values = _values(settings, problems)
    configuration = _build(values, folder)
    problems.extend(crosschecks.check(configuration, {problem.option for problem in problems}))
    if problems:
        raise ConfigurationError(problems)
    return configuration


def _values(settings: Iterable[Setting], problems: list[Problem]) -> dict[str, Any]:
    """Option name -> value for all settings that are good."""
    values: dict[str, Any] = {}
    sources: dict[str, str] = {}
    for setting in settings:
        row = find_row(setting.name)
        if row is None:
            problems.append(_unknown(setting))
        elif row.name in sources and setting.source != "environment":
            text = f"is given twice, first in {sources[row.name]}"
            problems.append(Problem(row.name, shown_value(row, setting.value), text, setting.source))
        else:
            sources[row.name] = setting.source
            _take(row, setting, values, problems)
    return values


def _take(row: Row, setting: Setting, values: dict[str, Any], problems: list[Problem]) -> None:
    try:
        values[row.name] = convert(row, setting.value)
    except ValueError as error:
        problems.append(Problem(row.name, shown_value(row, setting.value), not_allowed(row, error), setting.source))


def not_allowed(row: Row, error: ValueError) -> str:
    """What is wrong with a value that `convert` refused."""
    why = f" ({error})" if isinstance(error, FilterError) else ""
    return f"is not allowed{why}; allowed: {row.allowed}"


def _unknown(setting: Setting) -> Problem:
    return Problem(setting.name, "", no_option(setting.name), setting.source)


def shown_value(row: Row, value: object) -> str:
    """A value as it may be printed: never a secret."""
    if row.option.secret and value:
        return "(secret)"
    if isinstance(value, bool):
        return "yes" if value else "no"
    separator = " $ " if row.option.syntax == "filter" else ", "
    return separator.join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _build(values: Mapping[str, Any], folder: str) -> Configuration:
    configuration = Configuration(data=folder)
    for group in _groups():
        given: dict[str, Any] = {}
        for row in TABLE.values():
            if row.group != group:
                continue
            value = values.get(row.name, row.default)
            if row.option.path and value:
                value = os.path.join(folder, value)
            given[row.name.partition(".")[2]] = value
        configuration = replace(configuration, **{group: replace(getattr(configuration, group), **given)})
    return configuration


def _groups() -> list[str]:
    return [each.name for each in fields(Configuration) if each.name != "data"]


# ---- looking at it --------------------------------------------------------------------------------------------------
def rows() -> list[Row]:
    """Every option there is, in the order of the table."""
    return list(TABLE.values())


def value_of(configuration: Configuration, name: str) -> Any:
    """The value of `imap.maxsessions`."""
    group, _, option = name.partition(".")
    return getattr(getattr(configuration, group), option)


def shown(configuration: Configuration) -> list[tuple[Row, str]]:
    """Every option with its value as it may be printed."""
    return [(row, shown_value(row, value_of(configuration, row.name))) for row in rows()]


def files(configuration: Configuration) -> list[str]:
    """Files whose change is taken up while running, beside the configuration file and the users file."""
    named = [value_of(configuration, row.name) for row in rows() if row.group == "tls" and row.option.path]
    try:
        more = [str(pair / name) for pair in sni_pairs(configuration.tls.snifolder) for name in ("tls.crt", "tls.key")]
    except CertificateError:
        more = []
    return [path for path in (*named, *more) if path]


# ---- changing it ----------------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Changes:
    """Names of options that differ: taken up while running, and waiting for a restart."""

    live: tuple[str, ...]
    restart: tuple[str, ...]


def concerned(name: str) -> tuple[str, ...]:
    """The services that read an option: those of a front end's group are its own, all others are for everybody."""
    group = name.partition(".")[0]
    return (group,) if group in crosschecks.FRONT_ENDS else crosschecks.SERVICES


def changes(old: Configuration, new: Configuration) -> Changes:
    """What differs between two configurations."""
    differing = [row for row in rows() if value_of(old, row.name) != value_of(new, row.name)]
    return Changes(
        tuple(row.name for row in differing if row.option.live),
        tuple(row.name for row in differing if not row.option.live),
    )


def apply_live(old: Configuration, new: Configuration) -> Configuration:
    """The old configuration with the new values of everything that a running service can take up."""
    merged = old
    for group in _groups():
        live = {
            row.name.partition(".")[2]: value_of(new, row.name)
            for row in rows()
            if row.group == group and row.option.live
        }
        merged = replace(merged, **{group: replace(getattr(merged, group), **live)})
    return merged
