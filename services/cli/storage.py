"""`mailkeep store`: check, compact, back up, restore."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from services.cli.connecting import configuration, with_store
from services.cli.datafolder import supervisor_of
from services.cli.output import JsonOption, complain, fail, say, show, show_json, size

if TYPE_CHECKING:
    from services.common.storeclient import StoreClient
    from services.common.storeclient.maintenance import Compacted, Finding

DATED: Final = "%Y%m%dT%H%M%SZ"
"""Names of backups that are made again and again: they sort by age."""

commands = typer.Typer(no_args_is_help=True, help="Look after the message store.")


@commands.command()
def check(
    bodies: Annotated[bool, typer.Option(help="Read every body and compare its digest, too.")] = True,
    as_json: JsonOption = False,
) -> None:
    """Verify the running store; exits with 1 when something is wrong."""

    async def work(client: StoreClient) -> list[Finding]:
        return [finding async for finding in client.maintenance.check(bodies=bodies)]

    findings = with_store(work)
    _show_findings([(finding.kind, finding.place, finding.account, finding.detail) for finding in findings], as_json)
    if not findings and not as_json:
        say(False, "nothing is wrong")


def _show_findings(rows: list[tuple[str, str, str, str]], as_json: bool) -> None:
    """Findings as a table or JSON; ends the command with 1 where there are any."""
    columns = ("kind", "place", "account", "detail")
    if as_json:
        show_json({"findings": [dict(zip(columns, row, strict=True)) for row in rows]})
    elif rows:
        show(False, columns, rows)
    if rows:
        raise typer.Exit(1)


@commands.command()
def compact(as_json: JsonOption = False) -> None:
    """Give the space of deleted bodies back now instead of in time."""

    async def work(client: StoreClient) -> Compacted:
        return await client.maintenance.compact()

    done = with_store(work)
    text = f"{size(done.bytes)} given back, {done.segments} segments rewritten or removed"
    say(as_json, text, bytes=done.bytes, segments=done.segments)


@commands.command()
def backup(
    path: Annotated[Path, typer.Argument(help="Folder that does not exist or is empty, on the store's machine.")],
    dated: Annotated[bool, typer.Option("--dated", help="A new folder below PATH, named by the time (UTC).")] = False,
    keep: Annotated[
        int, typer.Option(min=0, help="With --dated: backups below PATH that stay, the newest; 0: all.")
    ] = 0,
    as_json: JsonOption = False,
) -> None:
    """Copy the running store into a folder; the copy is consistent in itself.

    The users file and the configuration are files of their own: copy them beside it.
    """
    if keep and not dated:
        fail("--keep needs --dated: it removes older folders below PATH")
    target = path.absolute() / f"{datetime.now(UTC):{DATED}}" if dated else path.absolute()

    async def work(client: StoreClient) -> int:
        return await client.maintenance.backup(str(target), keep)

    written = with_store(work)
    say(as_json, f"{size(written)} written to {target if dated else path}", bytes=written, path=str(target))


@commands.command()
def repair(as_json: JsonOption = False) -> None:
    """Set the counters of mailboxes and accounts to what their messages say. The store must be stopped.

    For a store whose check finds counters that are wrong; messages are not touched.
    """
    from services.store.check import repair as set_counters
    from services.store.lock import StoreInUse, StoreLock

    target = str(configuration().store.path)
    try:
        lock = StoreLock(target)
    except (StoreInUse, OSError) as error:
        fail(str(error))
    try:
        changed = set_counters(target)
    finally:
        lock.release()
    say(as_json, f"{changed} rows set right", rows=changed)


@commands.command()
def restore(
    path: Annotated[Path, typer.Argument(exists=True, file_okay=False, help="Folder that a backup was written to.")],
    latest: Annotated[bool, typer.Option("--latest", help="The newest backup below PATH.")] = False,
    if_absent: Annotated[bool, typer.Option("--if-absent", help="Do nothing where there is a store already.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Put a backup where the store is to be. The store must be stopped and its folder absent or empty."""
    # Like repair, it needs the store's own code: there is no store to ask.
    from services.store import backup as backups
    from services.store.embedded import metadata_path

    known = configuration()
    target = Path(known.store.path)
    if if_absent and os.path.exists(metadata_path(str(target))):
        say(as_json, f"there is a store in {target}: nothing to do", restored=False)
        return
    if supervisor := supervisor_of(known.data):
        fail(f"the store runs (under process {supervisor}): stop it first")
    found = backups.finished(str(path)) if latest else [str(path)]
    if not found:
        fail(f"there is no finished backup below {path}")
    _restore(found[0], target, as_json)


def _restore(source: str, target: Path, as_json: bool) -> None:
    from services.store import backup as backups
    from services.store.schema import SchemaTooNew

    try:
        findings = backups.restore(source, str(target))
    except (backups.BackupRefused, SchemaTooNew) as error:
        fail(str(error))
    except OSError as error:
        fail(f"{error.filename}: {error.strerror}" if error.filename else str(error))
    except KeyboardInterrupt:
        complain(f"interrupted: remove {target} before the next try")
        raise
    _show_findings([(f.kind, f.file, f.account, f.detail) for f in findings], as_json)
    if not findings and not as_json:
        say(False, f"restored to {target}")
