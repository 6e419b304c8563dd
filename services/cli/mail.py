"""`mailkeep import` and `mailkeep export`: mail in and out as files."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from services.cli.connecting import configuration, with_store
from services.cli.output import JsonOption, errors, fail, say
from services.cli.transfer import exporting, importing
from services.cli.transfer.eml import EmlSource, EmlTarget
from services.cli.transfer.maildir import MaildirSource, MaildirTarget
from services.cli.transfer.mbox import MboxSource, MboxTarget
from services.cli.transfer.message import Source, SourceError, Target
from services.common.domain import INBOX, Quota
from services.common.storeclient import StoreClient
from services.common.usersfile import UsersFile


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

Account = Annotated[str, typer.Argument(help="Account, for example anna@example.com.")]
FormatOption = Annotated[Format | None, typer.Option("--format", help="Kind of files; guessed when left out.")]


def import_mail(
    account: Account,
    path: Annotated[Path, typer.Argument(exists=True, help="An mbox, a Maildir, an .eml file, or a folder of these.")],
    form: FormatOption = None,
    folder: Annotated[str, typer.Option(help="Mailbox for what has no folder of its own.")] = "",
    as_json: JsonOption = False,
) -> None:
    """Bring mail in from files, with folders, flags and dates.

    May be stopped and repeated: a message whose bytes its folder already holds is not brought in again.
    """

    async def work(client: StoreClient) -> importing.Tally:
        found = await client.open_account(account)
        source = SOURCES[form or _guess(path)](path, folder)
        with _progress() as progress:
            return await importing.Importer(client, found, _quota(account), progress).run(source)

    try:
        tally = with_store(work)
    except (SourceError, OSError) as error:
        fail(str(error))
    text = f"{tally.imported} imported, {tally.present} there already, {tally.refused} refused (too large)"
    say(as_json, text, imported=tally.imported, present=tally.present, refused=tally.refused)
    if tally.refused:
        raise typer.Exit(1)


def export_mail(
    account: Account,
    path: Annotated[Path, typer.Argument(help="Folder to write to; made when it is not there.")],
    form: Annotated[Format, typer.Option("--format", help="Kind of files.")] = Format.MAILDIR,
    folder: Annotated[list[str], typer.Option(help="Only mailboxes whose name matches (* ? []); repeatable.")] = [],  # noqa: B006
    as_json: JsonOption = False,
) -> None:
    """Write an account's mail to files, byte for byte, with folders, flags and dates.

    May be stopped and repeated: Maildir and eml leave alone what they wrote before, mbox writes a folder anew.
    """

    def wanted(name: str) -> bool:
        return not folder or any(fnmatchcase(name, pattern) for pattern in folder)

    async def work(client: StoreClient) -> exporting.Tally:
        found = await client.open_account(account, create=False)
        path.mkdir(parents=True, exist_ok=True)
        with _progress() as progress:
            return await exporting.Exporter(client, found, TARGETS[form](path), progress).run(wanted)

    try:
        tally = with_store(work)
    except OSError as error:
        fail(str(error))
    text = f"{tally.exported} exported, {tally.present} there already"
    say(as_json, text, exported=tally.exported, present=tally.present)


def _guess(path: Path) -> Format:
    """What the files look like."""
    if path.is_dir():
        if (path / "cur").is_dir():
            return Format.MAILDIR
        return Format.EML if next(path.rglob("*.eml"), None) else Format.MBOX
    with open(path, "rb") as file:
        return Format.MBOX if file.read(5) == b"From " else Format.EML


def _quota(account: str) -> Quota:
    """The account's quota; none for an account that it does not know (mail may be brought in first)."""
    known = configuration()
    user = UsersFile(Path(known.directory.usersfile)).users().by_name.get(account)
    if user is None:
        errors.print(f"note: the users file has no {account}", style="yellow", highlight=False)
        return Quota()
    return user.entry.quota


@contextmanager
def _progress() -> Iterator[importing.Progress]:
    """A bar per folder on standard error, where that is a terminal."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=errors, transient=True) as progress:
        tasks: dict[str, TaskID] = {}

        def told(folder: str, total: int | None, done: int) -> None:
            if folder not in tasks:
                tasks[folder] = progress.add_task(folder, total=total)
            progress.advance(tasks[folder], done)

        yield told
