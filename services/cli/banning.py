"""`mailkeep ban`: addresses that are shut out of POP3, IMAP and HTTP on this machine."""

from __future__ import annotations

import time
from typing import Annotated, Final

import typer

from services.cli.connecting import configuration
from services.cli.output import EXIT_FAILURE, EXIT_USAGE, JsonOption, fail, say, show
from services.common.access.marks import FOR_EVER, MAX_NOTE, Ban, Key, Mark, network_key
from services.common.badguys import rules_of
from services.common.markfile import MAX_BANS, MarkFile

commands = typer.Typer(no_args_is_help=True, help="Addresses that are shut out of POP3, IMAP and HTTP on this machine.")
COLUMNS: Final = ("network", "by", "until", "reason")


def _parse_network(text: str) -> str:
    try:
        return str(network_key(text))
    except ValueError:
        raise typer.BadParameter(f"{text} is no IP address and no network such as 192.0.2.0/24") from None


NetworkArgument = Annotated[
    str, typer.Argument(parser=_parse_network, metavar="NETWORK", help="An address, or a network such as 192.0.2.0/24.")
]


@commands.command("list")
def list_bans(as_json: JsonOption = False) -> None:
    """Who is shut out, by whom and until when."""
    now = time.time()
    file = _open()
    rows = [_row(as_json, ban.key, "administrator", ban.until, ban.note) for ban in file.bans() if now < ban.until]
    marks = sorted((mark for mark in file.marks() if mark.banned(now)), key=lambda mark: mark.until)
    rows += [_row(as_json, mark.key, "failures", mark.until, "") for mark in marks]
    show(as_json, COLUMNS, rows)


def _row(as_json: bool, key: Key, by: str, until: float, note: str) -> tuple[object, ...]:
    if until == FOR_EVER:
        shown: object = None if as_json else "for ever"
    else:
        shown = int(until) if as_json else time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(until))
    return (str(key), by, shown, note or None)


@commands.command("add")
def add(
    network: NetworkArgument,
    minutes: Annotated[int, typer.Option(help="For so long; 0 is for ever.", min=0, max=5_256_000)] = 0,
    reason: Annotated[str, typer.Option(help=f"Why, for `ban list`; at most {MAX_NOTE} bytes.")] = "",
    as_json: JsonOption = False,
) -> None:
    """Shut an address or a network out; connections from it are refused from now on, open ones stay.

    `mailkeep kick --address` ends sessions. The allow list (access.bgexcluded) does not hold against this.
    """
    if len(reason.encode()) > MAX_NOTE or not reason.isprintable():
        fail(f"the reason is one line of at most {MAX_NOTE} bytes", EXIT_USAGE)
    now = time.time()
    until = now + minutes * 60 if minutes else FOR_EVER
    if not _open().add_ban(Ban(network_key(network), until, reason), now):
        fail(f"there is no room: {MAX_BANS} bans are the most, and filters take any number", EXIT_FAILURE)
    say(as_json, f"{network} is shut out {f'for {minutes} minutes' if minutes else 'for ever'}", network=network)


@commands.command("remove")
def remove(network: NetworkArgument, as_json: JsonOption = False) -> None:
    """Let an address or a network in again, whoever shut it out, and forget its failed logins."""
    key, file, now = network_key(network), _open(), time.time()
    rules = rules_of(configuration().access)
    found = [mark for mark in file.marks() if mark.key.length >= key.length and key.holds(mark.key.number)]
    released = [mark for mark in found if file.change(mark.key, Mark.released, rules, now) and mark.banned(now)]
    removed = file.remove_ban(key)
    if not removed and not released:
        fail(f"{network} is not shut out")
    say(as_json, f"{network} is let in again", network=network, released=len(released) + removed)


def _open() -> MarkFile:
    path = configuration().access.statefile
    if not path:
        fail("access.statefile is empty: each process knows only what it saw, and nobody else can change that")
    try:
        return MarkFile(path, patient=True)
    except OSError as error:
        fail(f"{path}: {error.strerror}")
