"""`mailkeep migrate`: coming from another server."""

from __future__ import annotations

import os
from typing import Annotated, Any

import typer

from services.cli.configutil import read_text, tell
from services.cli.dump import parse_lines
from services.cli.migrating.plan import Fate, Finding, changes, counted, plan
from services.cli.output import JsonOption, fail, say, show, show_json
from services.common.configfile import ConfigurationFile, Edit
from services.common.configuration import EXIT_CONFIGURATION
from services.common.problems import ConfigurationError

commands = typer.Typer(no_args_is_help=True, help="Come from another server: its configuration, its mail.")

QUIET = frozenset({Fate.DEFAULT, Fate.HARMLESS})
COLUMNS = ("line", "option", "value", "outcome", "here", "why")


@commands.command()
def configutil(
    file: Annotated[str, typer.Argument(help="What configutil (or msconfig show) printed; - is standard input.")],
    write: Annotated[bool, typer.Option("--write", help="Set what carries over in the configuration file.")] = False,
    everything: Annotated[bool, typer.Option("--all", help="Also list what asks for nothing.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Say what each option of a Messaging Server becomes here: carried over, changed, or dropped and why.

    Nothing is changed without --write; with it all that carries over is set at once, or nothing where the outcome
    would be no good configuration.
    """
    target = ConfigurationFile(os.environ)
    try:
        findings = plan(parse_lines(read_text(file)), target.given())
        wanted = changes(findings)
        refused = [finding.line for finding in findings if finding.fate is Fate.REFUSED]
        edit = target.change(wanted, write=write) if wanted and not refused else None
    except ConfigurationError as error:
        fail(str(error), EXIT_CONFIGURATION)
    except OSError as error:
        fail(f"{target.path}: cannot be changed: {error.strerror}")
    (_show_json if as_json else _show)(findings, edit, write, everything)
    if refused:
        lines = ", ".join(map(str, refused))
        fail(
            f"nothing is changed: mend what is not allowed, or take it out of the file (lines {lines})",
            EXIT_CONFIGURATION,
        )


def _show(findings: list[Finding], edit: Edit | None, write: bool, everything: bool) -> None:
    shown = [finding for finding in findings if everything or finding.fate not in QUIET]
    show(False, COLUMNS, [_row(finding) for finding in shown])
    say(False, ", ".join(counted(findings)) or "no options found")
    if edit is not None and write:
        tell(edit, False)
    elif edit is not None:
        say(False, f"nothing is changed; --write sets {len(changes(findings))} of them")


def _row(finding: Finding) -> tuple[object, ...]:
    return (finding.line, finding.name, finding.value, finding.fate, finding.option, finding.why)


def _show_json(findings: list[Finding], edit: Edit | None, write: bool, _everything: bool) -> None:
    facts: dict[str, Any] = {
        "options": [dict(zip(COLUMNS, _row(finding), strict=True)) for finding in findings],
        "written": write and edit is not None,
    }
    if edit is not None:
        facts |= {"live": edit.changes.live, "restart": edit.changes.restart, "overruled": edit.overruled}
    show_json(facts)
