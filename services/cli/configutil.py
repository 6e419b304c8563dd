"""`configutil`: options as Messaging Server's administrators read and set them.

Flags after "configutil" in the Messaging Server Administration Reference (6 2005Q4 and 6.3); -d is ours, -e Netscape's
(4.1). The file is Mailkeep's own configuration.
"""

from __future__ import annotations

import json
import os
import shlex
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final, NoReturn

import typer

from services.cli import mailservice as mailservices
from services.cli.dump import parse_lines
from services.cli.mailservice import MailService, patched
from services.cli.output import EXIT_USAGE, JsonOption, complain, fail, note, say, show_json
from services.common import configuration as configurations
from services.common.configfile import ConfigurationFile, Edit, checked
from services.common.configuration import EXIT_CONFIGURATION
from services.common.options import Configuration
from services.common.problems import ConfigurationError, Problem
from services.common.values import Row, find_row, no_option

MAX_BATCH_BYTES: Final = 1 << 20
REMEDY: Final = "by the operator, which replaces the pods of"
"""Who sees to what a running service does not take up, on Kubernetes."""
Target = ConfigurationFile | MailService
MailServiceOption = Annotated[
    str,
    typer.Option("--mailservice", metavar="NAMESPACE/NAME", help="A MailService on Kubernetes, by kubectl; no file."),
]


def open_target(mailservice: str = "", file: str = "") -> Target:
    """What is read and changed. Raises ConfigurationError."""
    return MailService(mailservice) if mailservice else ConfigurationFile(os.environ, file or None)


def _complete(begun: str) -> list[str]:
    """Names for the shell's completion."""
    names = (name for row in configurations.rows() for name in (row.name, row.legacy))
    return sorted(name for name in names if name and name.startswith(begun))


def configutil(
    option: Annotated[
        str,
        typer.Option(
            "-o",
            metavar="NAME",
            help="The option, as service.imap.maxsessions or imap.maxsessions.",
            autocompletion=_complete,
        ),
    ] = "",
    value: Annotated[
        str | None,
        typer.Option("-v", metavar="VALUE", help='Set it; "" empties a text or a list, and puts others back.'),
    ] = None,
    delete: Annotated[bool, typer.Option("-d", help="Take it out of the file: the default holds again.")] = False,
    prefix: Annotated[str, typer.Option("-p", metavar="PREFIX", help="List options whose name begins so.")] = "",
    given: Annotated[bool, typer.Option("-l", help="List only what the file itself sets.")] = False,
    empty: Annotated[bool, typer.Option("-e", help="List options without a value, too.")] = False,
    refreshable: Annotated[bool, typer.Option("-m", help="Say which changes a running service takes up.")] = False,
    explain: Annotated[bool, typer.Option("-H", help="Meaning, default and what is allowed.")] = False,
    validate: Annotated[bool, typer.Option("-V", help="Check the whole configuration.")] = False,
    batch: Annotated[
        str,
        typer.Option("-i", metavar="FILE", help="Set NAME=VALUE lines of a file, all or none; - is standard input."),
    ] = "",
    file: Annotated[str, typer.Option("-f", metavar="FILE", help="Another configuration file.")] = "",
    mailservice: MailServiceOption = "",
    as_json: JsonOption = False,
) -> None:
    """Read and set options under the names that Messaging Server has for them; without flags, list them all.

    A change is checked with the whole file and written at once; comments and order of the file stay. Running services
    take up what is live by themselves.
    """
    _check_flags(option, value, delete, batch, explain, bool(file and mailservice))
    try:
        target = open_target(mailservice, file)
        if batch:
            _change(target, _read_batch(batch), as_json)
        elif value is not None or delete:
            _change(target, {option: None if delete else value}, as_json)
        elif validate:
            target.check()
            say(as_json, "the configuration is good", errors=[])
        else:
            rows = [_row(option)] if option else [row for row in configurations.rows() if _begins(row, prefix)]
            _list(target, rows, option, prefix, as_json, _View(given, empty or bool(option), refreshable, explain))
    except ConfigurationError as error:
        fail(str(error), EXIT_CONFIGURATION)


def _check_flags(option: str, value: str | None, delete: bool, batch: str, explain: bool, both: bool) -> None:
    wrong = (
        (value is not None and not option, "-v needs -o NAME"),
        (delete and not option, "-d needs -o NAME"),
        (delete and value is not None, "-d and -v exclude each other"),
        (bool(batch and option), "-i and -o exclude each other"),
        (explain and (delete or value is not None), "-H only shows"),
        (both, "-f and --mailservice exclude each other"),
    )
    for applies, text in wrong:
        if applies:
            fail(text, EXIT_USAGE)


def _row(name: str) -> Row:
    name, language, _ = name.partition(";")
    if language:
        fail(f"{name}: options have no language variants (;lang-xx) here; set {name} without one", EXIT_USAGE)
    row = find_row(name)
    if row is None:
        fail(f"{name} {no_option(name)}", EXIT_USAGE)
    return row


# ---- showing --------------------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class _View:
    """How a list is wanted: only what the file sets, also what is empty, with marks, with explanations."""

    given: bool
    empty: bool
    refreshable: bool
    explain: bool


def _begins(row: Row, prefix: str) -> bool:
    return row.name.startswith(prefix) or row.legacy.startswith(prefix)


def _list(target: Target, rows: list[Row], option: str, prefix: str, as_json: bool, view: _View) -> None:
    if not rows:
        fail(f"no option begins with {prefix}")
    known = target.check()
    kept = target.given() if view.given else None
    shown = {row.name: text for row, text in configurations.shown(known)}
    if isinstance(target, MailService):
        rows = [row for row in rows if row.name in target.names()]
    wanted = [row for row in rows if (kept is None or row.name in kept) and (view.empty or shown[row.name])]
    if as_json:
        show_json([_facts(row, shown[row.name], known) for row in wanted])
        return
    for row in wanted:
        say(False, _line(row, shown[row.name], bare=bool(option) and not view.refreshable, view=view))


def _line(row: Row, text: str, *, bare: bool, view: _View) -> str:
    if view.explain:
        return _explained(row, text)
    if bare:
        return text
    mark = f" [{'' if row.option.live else 'NOT '}REFRESHABLE]" if view.refreshable else ""
    return f"{row.legacy or row.name} = {_quoted(text)}{mark}"


def _quoted(text: str) -> str:
    return f'"{text}"' if " " in text else text


def _explained(row: Row, text: str) -> str:
    names = f"{row.legacy} ({row.name})" if row.legacy else row.name
    default = configurations.shown_value(row, row.default)
    when = "taken up by running services" if row.option.live else f"needs a restart of {_affected(row)}"
    return "\n".join([
        names, f"  {row.option.doc}", f"  value: {_quoted(text)}", f"  default: {_quoted(default)}",
        f"  allowed: {row.allowed}", f"  a change is {when}" if row.option.live else f"  a change {when}",
    ])  # fmt: skip


def _facts(row: Row, text: str, known: Configuration) -> dict[str, Any]:
    value: object = text if row.option.secret else configurations.value_of(known, row.name)
    return {
        "option": row.name, "legacy": row.legacy, "value": value, "default": row.default,
        "refreshable": row.option.live, "doc": row.option.doc, "allowed": row.allowed,
    }  # fmt: skip


# ---- changing -------------------------------------------------------------------------------------------------------
def _change(target: Target, wanted: Mapping[str, str | None], as_json: bool) -> None:
    rows = {name: _row(name) for name in wanted}
    values = {row.name: _cleared(row, wanted[name]) for name, row in rows.items()}
    if isinstance(target, MailService):
        tell(target.change(values), as_json, remedy=REMEDY)
        return
    try:
        edit = target.change(values)
    except OSError as error:
        _refuse(target, error, values)
    tell(edit, as_json)


def _cleared(row: Row, value: str | None) -> str | None:
    """An empty value empties what can be empty and puts back the rest, as Messaging Server's did."""
    return None if value == "" and row.type in {int, bool} else value


def _refuse(target: ConfigurationFile, error: OSError, values: Mapping[str, str | None]) -> NoReturn:
    """Why the file stays as it is; where it is mounted into a pod, where to change it instead."""
    complain(f"{target.path}: cannot be changed: {error.strerror}")
    patch = json.dumps({"spec": patched(checked(values))})
    ways = [
        *(shlex.join(mailservices.command("NAMESPACE/NAME", *each)) for each in values.items() if len(values) == 1),
        f"kubectl patch mailservice NAME --type merge -p '{patch}'",
    ]
    fail(f"Where a MailService made this file, change that: {', or '.join(ways)}")


def tell(edit: Edit, as_json: bool, remedy: str = "") -> None:
    """What a change means for running services; `remedy`: who sees to those that have to start anew."""
    facts = {"live": edit.changes.live, "restart": edit.changes.restart, "overruled": edit.overruled}
    live, waiting = ", ".join(edit.changes.live), ", ".join(edit.changes.restart)
    lines = []
    if live:
        lines.append(f"live, taken up by running services within seconds: {live}")
    if waiting:
        services = sorted({_affected(_row(name)) for name in edit.changes.restart})
        needs = (
            f"{remedy} {', '.join(services)}"
            if remedy
            else f"needs a restart of {', '.join(services)} (mailkeep restart)"
        )
        lines.append(f"{needs}: {waiting}")
    say(as_json, "\n".join(lines) or "nothing changes for running services", **facts)
    for name in edit.overruled:
        note(f"{name} is overruled by {configurations.variable(name)} in this environment")


def _affected(row: Row) -> str:
    """The service, or services, that have to start anew."""
    services = configurations.concerned(row.name)
    return services[0] if len(services) == 1 else "all services"


def read_text(path: str) -> str:
    """A file that somebody named, or standard input for -; ends the command where it cannot be read."""
    try:
        with open(sys.stdin.fileno() if path == "-" else path, "rb", closefd=path != "-") as file:
            text = file.read(MAX_BATCH_BYTES + 1).decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        fail(f"{path}: {getattr(error, 'strerror', None) or 'not UTF-8'}")
    if len(text) > MAX_BATCH_BYTES:
        fail(f"{path}: more than {MAX_BATCH_BYTES} bytes")
    return text


def _read_batch(path: str) -> dict[str, str | None]:
    """NAME=VALUE lines. Raises ConfigurationError for all that are none."""
    wanted: dict[str, str | None] = {}
    problems: list[Problem] = []
    for line in parse_lines(read_text(path)):
        row = find_row(line.name)
        source = f"{path} line {line.number}"
        if not line.name:
            problems.append(Problem("line", line.text[:40], "is not NAME=VALUE", source))
        elif row is None:
            problems.append(Problem(line.name, "", no_option(line.name), source))
        elif row.name in wanted:
            problems.append(Problem(line.name, "", "is given twice", source))
        else:
            wanted[row.name] = line.value
    if problems:
        raise ConfigurationError(problems)
    return wanted


def main() -> None:
    """The `configutil` command."""
    command = typer.Typer(
        name="configutil", pretty_exceptions_enable=False, context_settings={"help_option_names": ["-h", "--help"]}
    )
    command.command()(configutil)
    command()
