"""`mailkeep config`: what the options are and what they are set to."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from services.cli.connecting import configuration
from services.cli.output import EXIT_CONFIGURATION, JsonOption, fail, say, show
from services.common import configuration as configurations
from services.common import reference as references

commands = typer.Typer(no_args_is_help=True, help="Options: check them, show their values, explain them.")


@commands.command()
def check(
    ports: Annotated[bool, typer.Option(help="Also try whether the ports are free (not while it runs).")] = False,
    as_json: JsonOption = False,
) -> None:
    """Check the configuration; names every error at once and exits with 78 where there is one."""
    known = configuration()
    try:
        if ports:
            configurations.check_ports(known)
    except configurations.ConfigurationError as error:
        fail(str(error), EXIT_CONFIGURATION)
    say(as_json, "the configuration is good", errors=[])


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
    show(as_json, ("option", "value", "default", "change"), kept)


@commands.command()
def reference() -> None:
    """The reference of all options, as Markdown (docs/options.md)."""
    sys.stdout.write(references.markdown())
