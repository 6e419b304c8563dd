"""`mailkeep config`: what the options are and what they are set to."""

from __future__ import annotations

import os
import sys
from dataclasses import asdict
from typing import Annotated

import typer

from services.cli import preflight
from services.cli.connecting import configuration
from services.cli.output import JsonOption, complain, fail, say, show, show_json
from services.common import configuration as configurations
from services.common import reference as references
from services.common.configuration import EXIT_CONFIGURATION
from services.common.problems import ConfigurationError, Problem

commands = typer.Typer(no_args_is_help=True, help="Options: check them, show their values, explain them.")


@commands.command()
def check(
    ports: Annotated[bool, typer.Option(help="Also try whether the ports are free (not while it runs).")] = False,
    as_json: JsonOption = False,
) -> None:
    """Check the configuration; names every error at once and exits with 78 where there is one."""
    found: list[Problem] = []
    try:
        found += preflight.problems(configurations.load(environ=os.environ), ports=ports)
    except ConfigurationError as error:
        found += error.problems
    if as_json:
        show_json({"errors": [asdict(problem) for problem in found]})
    elif found:
        complain(str(ConfigurationError(found)))
    else:
        say(False, "the configuration is good")
    if found:
        raise typer.Exit(EXIT_CONFIGURATION)


@commands.command("show")
def show_values(
    prefix: Annotated[str, typer.Argument(help="Only options whose name begins so, for example imap.")] = "",
    changed: Annotated[bool, typer.Option("--changed", help="Only those that differ from their default.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Each option with its value, its default, and whether a running service takes up a change."""
    known = configuration()
    defaults = {row.name: value for row, value in configurations.shown(configurations.load(os.devnull, {}, known.data))}
    rows = [
        (row.name, value, defaults[row.name], "live" if row.option.live else "restart")
        for row, value in configurations.shown(known)
        if row.name.startswith(prefix)
    ]
    kept = [row for row in rows if not changed or row[1] != row[2]]
    if not rows:
        fail(f"no option begins with {prefix}")
    show(as_json, ("option", "value", "default", "change"), kept)


@commands.command()
def reference(as_json: JsonOption = False) -> None:
    """The reference of all options, as Markdown (docs/options.md)."""
    if not as_json:
        sys.stdout.write(references.markdown())
        return
    rows = configurations.rows()
    show_json([{"option": row.name, "default": row.default, **asdict(row.option)} for row in rows])
