"""`mailkeep migrate`: coming from another server."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from services.cli.accounts import FromInput, read_password
from services.cli.configutil import REMEDY, MailServiceOption, open_target, read_text, tell
from services.cli.dump import parse_lines
from services.cli.mail import report, transfer
from services.cli.migrating import copying
from services.cli.migrating.copying import Copy
from services.cli.migrating.imapsource import Security, Server
from services.cli.migrating.plan import Fate, Finding, changes, counted, plan
from services.cli.output import EXIT_USAGE, JsonOption, fail, note, say, show, show_json
from services.cli.people import AccountName, find
from services.common.configfile import Edit
from services.common.configuration import EXIT_CONFIGURATION
from services.common.problems import ConfigurationError

commands = typer.Typer(no_args_is_help=True, help="Come from another server: its configuration, its mail.")

QUIET = frozenset({Fate.DEFAULT, Fate.HARMLESS})
LDAP = "ldap"
COLUMNS = ("line", "option", "value", "outcome", "here", "why")


@commands.command()
def configutil(
    file: Annotated[str, typer.Argument(help="What configutil (or msconfig show) printed; - is standard input.")],
    write: Annotated[bool, typer.Option("--write", help="Set what carries over in the configuration file.")] = False,
    mailservice: MailServiceOption = "",
    everything: Annotated[bool, typer.Option("--all", help="Also list what asks for nothing.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Say what each option of a Messaging Server becomes here: carried over, changed, or dropped and why.

    Nothing is changed without --write; with it all that carries over is set at once, or nothing where the outcome
    would be no good configuration.
    """
    try:
        target = open_target(mailservice)
        findings = plan(parse_lines(read_text(file)), target.given())
        wanted = changes(findings)
        refused = [finding.line for finding in findings if finding.fate is Fate.REFUSED]
        edit = target.change(wanted, write=write) if wanted and not refused else None
    except ConfigurationError as error:
        fail(str(error), EXIT_CONFIGURATION)
    except OSError as error:
        fail(f"the configuration cannot be changed: {error.strerror}")
    if as_json:
        _show_json(findings, edit, write)
    else:
        _show(findings, everything)
        _tell(findings, edit, write, REMEDY if mailservice else "")
    if "ldap.servers" in wanted and target.check().directory.kind != LDAP:
        note(f"accounts are still those of the users file: configutil -o directory.kind -v {LDAP}")
    if refused:
        lines = ", ".join(map(str, refused))
        fail(
            f"nothing is changed: mend what is not allowed, or take it out of the file (lines {lines})",
            EXIT_CONFIGURATION,
        )


def _show(findings: list[Finding], everything: bool) -> None:
    shown = [finding for finding in findings if everything or finding.fate not in QUIET]
    show(False, COLUMNS, [_row(finding) for finding in shown])
    say(False, ", ".join(counted(findings)) or "no options found")


def _tell(findings: list[Finding], edit: Edit | None, write: bool, remedy: str) -> None:
    if edit is not None and write:
        tell(edit, False, remedy)
    elif edit is not None:
        say(False, f"nothing is changed; --write sets {len(changes(findings))} of them")


def _row(finding: Finding) -> tuple[object, ...]:
    return (finding.line, finding.name, finding.value, finding.fate, finding.option, finding.why)


def _show_json(findings: list[Finding], edit: Edit | None, write: bool) -> None:
    facts: dict[str, Any] = {
        "options": [dict(zip(COLUMNS, _row(finding), strict=True)) for finding in findings],
        "written": write and edit is not None,
    }
    if edit is not None:
        facts |= {"live": edit.changes.live, "restart": edit.changes.restart, "overruled": edit.overruled}
    show_json(facts)


PORTS = {Security.TLS: 993, Security.STARTTLS: 143, Security.NONE: 143}


@commands.command()
def imap(
    account: AccountName,
    host: Annotated[str, typer.Option(help="The server to copy from.")],
    user: Annotated[str, typer.Option(help="Login name there; the account's name when left out.")] = "",
    admin: Annotated[
        str, typer.Option(help="Log in there as this administrator, on behalf of the user.", metavar="USER")
    ] = "",
    password_stdin: FromInput = False,
    security: Annotated[
        Security, typer.Option("--tls", help="none sends the password in the clear.", metavar="|".join(Security))
    ] = Security.TLS,
    port: Annotated[int, typer.Option(min=0, max=65535, help="0: 993 with tls, else 143.")] = 0,
    cafile: Annotated[str, typer.Option(help="CA (PEM) to trust there; without, the system's.", metavar="FILE")] = "",
    folder: Annotated[
        list[str], typer.Option(help="Only mailboxes whose name matches (* ? []); repeatable.", metavar="PATTERN")
    ] = [],  # noqa: B006
    create: Annotated[bool, typer.Option("--create", help="Also for an account that is not known yet.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Copy an account's mail from any IMAP server: folders, flags, dates, subscriptions; only UIDs become others.

    May be stopped and repeated, and goes on where it was; a later run brings what came in since. What it brought and
    somebody removed here since is not brought again. At the source nothing is changed.
    """
    if cafile and security is Security.NONE:
        fail("--cafile needs --tls tls or --tls starttls", EXIT_USAGE)
    if security is Security.NONE:
        note(f"the password and the mail cross the network to {host} unprotected")
    name, entry = find(account)
    password = read_password(password_stdin, confirm=False)
    server = Server(host, port or PORTS[security], security, user or account, password, admin, cafile)
    copy = Copy(name, entry, server, tuple(folder), create=create)
    code = transfer(lambda client: copying.run(copy, client))
    tally = copy.tally
    text = f"{tally.imported} copied, {tally.present} there already, {tally.refused} refused (too large)"
    report(as_json, text, code, tally)
    for name, here in copy.renamed.items():
        note(f"{name} is {here} here")
    if not code and not copy.matched:
        fail("no mailbox matches")
    raise typer.Exit(code or int(bool(tally.refused or tally.skipped)))
