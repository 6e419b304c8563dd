"""`mailkeep`: one command for everything that a person does with Mailkeep on a machine."""

from __future__ import annotations

from typing import Annotated

import typer

from services import __version__
from services.cli import accounts, configuring, mail, mailboxes, running, sessions, status, storage

app = typer.Typer(
    name="mailkeep",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Mail access over one store: POP3, IMAP and LMTP. The data folder is MAILKEEP_DATA (var), the configuration "
    "MAILKEEP_CONFIG (mailkeep.yaml in the data folder).",
)
app.command("run")(running.run)
app.command("status")(status.status)
app.command("who")(sessions.who)
app.command("kick")(sessions.kick)
app.command("import")(mail.import_mail)
app.command("export")(mail.export_mail)
app.add_typer(accounts.commands, name="account")
app.add_typer(mailboxes.commands, name="mailbox")
app.add_typer(storage.commands, name="store")
app.add_typer(configuring.commands, name="config")


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"mailkeep {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Options before the command."""


def main() -> None:
    """The `mailkeep` command."""
    app()


if __name__ == "__main__":
    main()
