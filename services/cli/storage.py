"""`mailkeep store`: check, compact, back up, restore."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from services.cli.connecting import configuration, with_store
from services.cli.datafolder import supervisor_of
from services.cli.output import JsonOption, complain, fail, say, show, show_json, size

if TYPE_CHECKING:
    from services.common.storeclient import StoreClient
    from services.common.storeclient.maintenance import Compacted, Finding

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
    as_json: JsonOption = False,
) -> None:
    """Copy the running store into a folder; the copy is consistent in itself.

    The users file and the configuration are files of their own: copy them beside it.
    """

    async def work(client: StoreClient) -> int:
        return await client.maintenance.backup(str(path.absolute()))

    written = with_store(work)
    say(as_json, f"{size(written)} written to {path}", bytes=written, path=str(path))


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
    as_json: JsonOption = False,
) -> None:
    """Put a backup where the store is to be. The store must be stopped and its folder absent or empty."""
    # Like repair, it needs the store's own code: there is no store to ask.
    from services.store import backup as backups
    from services.store.schema import SchemaTooNew

    known = configuration()
    target = Path(known.store.path)
    if supervisor := supervisor_of(known.data):
        fail(f"the store runs (under process {supervisor}): stop it first")
    try:
        findings = backups.restore(str(path), str(target))
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
