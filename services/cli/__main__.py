"""`mailkeep`: one command for everything that a person does with Mailkeep on a machine.

A command's module is imported only where it is called for, or where all are listed: most of what one command needs
the others do not, and it takes longer to import than the command to run.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable
from importlib import import_module
from typing import Annotated, Any, Final

import typer

from services import __version__
from services.cli.output import EXIT_INTERRUPTED

_ROWS: Final[dict[str, tuple[str, str]]] = {
    "run": ("running", "run"),
    "start": ("controlling", "start"),
    "stop": ("controlling", "stop"),
    "restart": ("controlling", "restart"),
    "refresh": ("controlling", "refresh"),
    "status": ("status", "status"),
    "who": ("sessions", "who"),
    "kick": ("sessions", "kick"),
    "import": ("mail", "import_mail"),
    "export": ("mail", "export_mail"),
    "account": ("accounts", "commands"),
    "mailbox": ("mailboxes", "commands"),
    "store": ("storage", "commands"),
    "access": ("accessing", "commands"),
    "ban": ("banning", "commands"),
    "config": ("configuring", "commands"),
    "configutil": ("configutil", "configutil"),
    "migrate": ("migrating.commands", "commands"),
}
"""A command, or a group of them: its module in `services.cli`, and its name there."""
_COMPLETION: Final = "_MAILKEEP_COMPLETE"
"""Set by a shell that wants to know what may follow."""


def application(names: Iterable[str] = tuple(_ROWS)) -> typer.Typer:
    """The command with these of its subcommands."""
    app = typer.Typer(
        name="mailkeep",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
        help="Mail access over one store: POP3, IMAP and LMTP. The data folder is MAILKEEP_DATA (var), the "
        "configuration MAILKEEP_CONFIG (mailkeep.yaml in the data folder).",
    )
    app.callback()(_options)
    for name in names:
        module, attribute = _ROWS[name]
        found: typer.Typer | Callable[..., Any] = getattr(import_module(f"services.cli.{module}"), attribute)
        if isinstance(found, typer.Typer):
            app.add_typer(found, name=name)
        else:
            app.command(name)(found)
    return app


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"mailkeep {__version__}")
        raise typer.Exit


def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Options before the command."""


def main() -> None:
    """The `mailkeep` command."""
    first = sys.argv[1] if len(sys.argv) > 1 else ""
    try:
        application([first] if first in _ROWS and _COMPLETION not in os.environ else _ROWS)()
    except KeyboardInterrupt:  # while modules were imported: no command has begun
        sys.exit(EXIT_INTERRUPTED)


if __name__ == "__main__":
    main()
