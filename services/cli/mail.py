"""`mailkeep import` and `mailkeep export`: mail in and out as files."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from enum import StrEnum
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from services.cli.connecting import exit_code, explain, store
from services.cli.output import EXIT_FAILURE, EXIT_INTERRUPTED, JsonOption, complain, errors, fail, say
from services.cli.people import AccountName, find
from services.cli.transfer import exporting, importing
from services.cli.transfer.eml import EmlSource, EmlTarget
from services.cli.transfer.maildir import MaildirSource, MaildirTarget
from services.cli.transfer.mbox import MboxSource, MboxTarget
from services.cli.transfer.message import Source, SourceError, Target
from services.common.domain import INBOX, Account, Quota
from services.common.errors import Reason, StoreError

if TYPE_CHECKING:
    from services.common.storeclient import StoreClient


class Format(StrEnum):
    """Kinds of files."""

    MBOX = "mbox"
    MAILDIR = "maildir"
    EML = "eml"


TARGETS: dict[Format, Callable[[Path], Target]] = {
    Format.MBOX: MboxTarget,
    Format.MAILDIR: MaildirTarget,
    Format.EML: EmlTarget,
}
SOURCES: dict[Format, Callable[[Path, str], Source]] = {
    Format.MBOX: MboxSource,
    Format.MAILDIR: lambda path, folder: MaildirSource(path, folder or INBOX),
    Format.EML: EmlSource,
}


_FORMATS = "|".join(Format)
FormatOption = Annotated[Format, typer.Option("--format", help="Kind of files.", metavar=_FORMATS)]
GuessedFormatOption = Annotated[
    Format | None,
    typer.Option("--format", help="Kind of files; guessed when left out.", metavar=_FORMATS, show_default=False),
]


def import_mail(
    account: AccountName,
    path: Annotated[Path, typer.Argument(exists=True, help="An mbox, a Maildir, an .eml file, or a folder of these.")],
    form: GuessedFormatOption = None,
    folder: Annotated[str, typer.Option(help="Mailbox for what has no folder of its own.", metavar="NAME")] = "",
    create: Annotated[bool, typer.Option("--create", help="Also for an account that is not known yet.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Bring mail in from files, with folders, flags and dates.

    May be stopped and repeated: a message whose bytes its folder already holds is not brought in again.
    """
    name, entry = find(account)
    quota = entry.quota if entry else Quota()
    tally = importing.Tally()

    async def work(client: StoreClient) -> None:
        found = await open_account(client, name, create=create or entry is not None)
        source = SOURCES[form or _guess(path)](path, folder)
        with progress_bars() as progress:
            await importing.Importer(client, found, quota, progress, tally).run(source)

    code = transfer(work)
    text = f"{tally.imported} imported, {tally.present} there already, {tally.refused} refused (too large)"
    report(as_json, text, code, tally)
    raise typer.Exit(code or int(bool(tally.refused or tally.skipped)))


def export_mail(
    account: AccountName,
    path: Annotated[Path, typer.Argument(help="Folder to write to; made when it is not there.")],
    form: FormatOption = Format.MAILDIR,
    folder: Annotated[
        list[str], typer.Option(help="Only mailboxes whose name matches (* ? []); repeatable.", metavar="PATTERN")
    ] = [],  # noqa: B006
    as_json: JsonOption = False,
) -> None:
    """Write an account's mail to files, byte for byte, with folders, flags and dates.

    May be stopped and repeated: Maildir and eml leave alone what they wrote before, mbox writes a folder anew.
    Maildir has room for 26 keywords a folder; mbox and eml keep all.
    """
    name, _ = find(account)
    tally = exporting.Tally()

    def wanted(mailbox: str) -> bool:
        return not folder or any(fnmatchcase(mailbox, pattern) for pattern in folder)

    async def work(client: StoreClient) -> None:
        found = await client.open_account(name, create=False)
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        with progress_bars() as progress:
            await exporting.Exporter(client, found, TARGETS[form](path), progress, tally).run(wanted)

    code = transfer(work)
    report(as_json, f"{tally.exported} exported, {tally.present} there already", code, tally)
    if not code and not tally.folders:
        fail("no mailbox matches")
    raise typer.Exit(code or int(bool(tally.skipped)))


def transfer(work: Callable[[StoreClient], Awaitable[None]]) -> int:
    """Run it, and say what stopped it; the exit code."""

    async def run() -> None:
        async with store() as client:
            await work(client)

    try:
        asyncio.run(run())
    except KeyboardInterrupt:
        complain("interrupted; the same command goes on from here")
        return EXIT_INTERRUPTED
    except StoreError as error:
        complain(explain(error))
        return exit_code(error)
    except SourceError as error:
        complain(str(error))
        return EXIT_FAILURE
    except OSError as error:
        complain(f"{error.filename}: {error.strerror}" if error.filename else str(error))
        return EXIT_FAILURE
    return 0


def report(as_json: bool, text: str, code: int, tally: importing.Tally | exporting.Tally) -> None:
    """What was done, also by a run that was stopped; nothing where it did not begin."""
    if tally.skipped:
        complain(f"folders left out because of their names: {', '.join(tally.skipped)}")
    facts = asdict(tally)
    if not code or any(facts.values()) or as_json:
        say(as_json, text, **facts, complete=not code)


async def open_account(client: StoreClient, name: str, *, create: bool) -> Account:
    """The account; a name that nobody knows is more likely mistyped than meant."""
    try:
        return await client.open_account(name, create=create)
    except StoreError as error:
        if error.reason is Reason.ACCOUNT_NOT_FOUND:
            fail(f"{name}: no such account (mailkeep account add, or --create)")
        raise


def _guess(path: Path) -> Format:
    """What the files look like."""
    if path.is_dir():
        if (path / "cur").is_dir():
            return Format.MAILDIR
        return Format.EML if next(path.rglob("*.eml"), None) else Format.MBOX
    with open(path, "rb") as file:
        return Format.MBOX if file.read(5) == b"From " else Format.EML


@contextmanager
def progress_bars() -> Iterator[importing.Progress]:
    """A bar per folder on standard error, where that is a terminal."""
    name = TextColumn("{task.description}", markup=False)
    columns = (name, BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=errors, transient=True, disable=not errors.is_terminal) as progress:
        tasks: dict[str, TaskID] = {}

        def told(folder: str, total: int | None, done: int) -> None:
            if folder not in tasks:
                tasks[folder] = progress.add_task(folder, total=total)
            progress.advance(tasks[folder], done)

        yield told
