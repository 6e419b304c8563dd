"""`mailkeep account`: the users file, and what the store holds of each account."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Annotated

import typer

from services.cli.connecting import configuration, store, with_store
from services.cli.output import JsonOption, fail, say, show, show_json, size
from services.common.directory import Entry, Status
from services.common.domain import Account
from services.common.errors import Reason, StoreError
from services.common.sizes import parse_size
from services.common.storeclient import StoreClient
from services.common.usersfile import UsersFile, UsersFileError

commands = typer.Typer(no_args_is_help=True, help="Accounts of the users file, and their mail.")

Name = Annotated[str, typer.Argument(help="Account, for example anna@example.com.")]
FromInput = Annotated[bool, typer.Option("--password-stdin", help="Read the password from standard input, one line.")]


def _file() -> UsersFile:
    known = configuration()
    return UsersFile(Path(known.directory.usersfile))


def _password(from_input: bool) -> str:
    """Asked for twice on a terminal; never taken from the command line, which others can see."""
    if from_input:
        return sys.stdin.readline().rstrip("\r\n")
    return str(typer.prompt("Password", hide_input=True, confirmation_prompt=True))


def _bytes(text: str) -> int | None:
    try:
        return parse_size(text) if text else None
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


@commands.command()
def add(
    name: Name,
    quota: Annotated[str, typer.Option(help="Most bytes, for example 2G; none is without limit.")] = "",
    message_quota: Annotated[int | None, typer.Option(min=0, help="Most messages; none is without limit.")] = None,
    alias: Annotated[list[str], typer.Option(help="Further address; repeatable.")] = [],  # noqa: B006
    password_stdin: FromInput = False,
    as_json: JsonOption = False,
) -> None:
    """Add an account. Its mailboxes are made when it is first used."""
    limit = _bytes(quota)
    password = _password(password_stdin)
    if not password:
        fail("the password is empty", 2)
    try:
        _file().add(name, password, quota=limit, messagequota=message_quota, aliases=tuple(alias))
    except UsersFileError as error:
        fail(str(error))
    say(as_json, f"{name} added", account=name)


@commands.command()
def passwd(name: Name, password_stdin: FromInput = False, as_json: JsonOption = False) -> None:
    """Set a new password; the services take it up within a second."""
    password = _password(password_stdin)
    if not password:
        fail("the password is empty", 2)
    try:
        _file().set_password(name, password)
    except UsersFileError as error:
        fail(str(error))
    say(as_json, f"password of {name} changed", account=name)


@commands.command()
def disable(name: Name, as_json: JsonOption = False) -> None:
    """Lock an account out: no login, no delivery; its sessions are ended, its mail stays."""
    _set_status(name, Status.DISABLED)
    ended = asyncio.run(_end_sessions(name))
    say(as_json, f"{name} disabled, {ended} sessions ended", account=name, sessions=ended)


@commands.command()
def enable(name: Name, as_json: JsonOption = False) -> None:
    """Let an account in again."""
    _set_status(name, Status.ACTIVE)
    say(as_json, f"{name} enabled", account=name)


def _set_status(name: str, status: Status) -> None:
    try:
        _file().set_status(name, status)
    except UsersFileError as error:
        fail(str(error))


async def _end_sessions(name: str) -> int:
    """Sessions that were ended; none where the store does not run (then there are no sessions)."""
    try:
        async with store() as client:
            return await client.sessions.kick_sessions(user=name)
    except StoreError:
        return 0


@commands.command()
def delete(
    name: Name,
    keep_mail: Annotated[bool, typer.Option("--keep-mail", help="Take it out of the users file only.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Remove an account and its mail, for good."""
    if not yes:
        typer.confirm(f"Remove {name}{'' if keep_mail else ' and all its mail'}?", abort=True)
    users = _file()
    known = name in users.names()
    try:
        if known:
            users.remove(name)
    except UsersFileError as error:
        fail(str(error))
    removed = False if keep_mail else with_store(lambda client: _delete_mail(client, name))
    if not known and not removed:
        fail(f"there is no account {name}")
    say(as_json, f"{name} removed", account=name, mail_removed=removed)


async def _delete_mail(client: StoreClient, name: str) -> bool:
    await client.sessions.kick_sessions(user=name)
    try:
        await client.delete_account(name)
    except StoreError as error:
        if error.reason is not Reason.ACCOUNT_NOT_FOUND:
            raise
        return False
    return True


@commands.command("list")
def list_accounts(as_json: JsonOption = False) -> None:
    """Accounts of the users file and of the store, with what they use."""
    entries = _entries()
    usage = {account.name: account for account in asyncio.run(_usage())}
    names = sorted(entries.keys() | usage.keys())
    columns = ("account", "status", "messages", "used", "quota", "aliases")
    show(as_json, columns, [_row(name, entries.get(name), usage.get(name), as_json) for name in names])


@commands.command("show")
def show_account(name: Name, as_json: JsonOption = False) -> None:
    """One account: what the users file says and what the store holds."""
    entry = _entries().get(name)
    used = next((account for account in asyncio.run(_usage()) if account.name == name), None)
    if entry is None and used is None:
        fail(f"there is no account {name}")
    columns = ("account", "status", "messages", "used", "quota", "aliases")
    facts = dict(zip(columns, _row(name, entry, used, as_json), strict=True))
    if as_json:
        show_json(facts)
    else:
        show(False, ("property", "value"), facts.items())


def _entries() -> dict[str, Entry]:
    try:
        return {name: user.entry for name, user in _file().users().by_name.items()}
    except UsersFileError as error:
        fail(str(error))


async def _usage() -> list[Account]:
    """Every account of the store; nothing where the store does not run."""
    found: list[Account] = []
    try:
        async with store() as client:
            token = ""
            while True:
                page = await client.list_accounts(page_token=token)
                found += page.accounts
                token = page.token
                if not token:
                    return found
    except StoreError:
        return found


def _row(name: str, entry: Entry | None, used: Account | None, as_json: bool) -> tuple[object, ...]:
    messages, count = (used.used_messages, used.used_bytes) if used else (0, 0)
    status = entry.status.value if entry else "not in the users file"
    limit = entry.quota.max_bytes if entry else None
    aliases = list(entry.aliases) if entry else []
    if as_json:
        return (name, status, messages, count, limit, aliases)
    return (name, status, messages, size(count), "none" if limit is None else size(limit), ", ".join(aliases))
