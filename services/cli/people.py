"""Names of accounts as people type them, and what the users file says of them."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from services.cli.connecting import configuration
from services.cli.output import fail
from services.common.directory import Entry, parse_name
from services.common.directory.usersfile import UsersFile, UsersFileError, check_name
from services.common.options import Configuration

if TYPE_CHECKING:
    from services.common.storeclient import StoreClient

NOTICE_SECONDS: Final = 1.5
"""In which every front end has noticed a changed users file: it looks once a second."""


def _parse(text: str) -> str:
    try:
        return check_name(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


def _parse_filter(text: str) -> str:
    return str(parse_name(text)) if text else ""


AccountName = Annotated[
    str, typer.Argument(parser=_parse, metavar="ACCOUNT", help="Account, for example anna@example.com.")
]
UserOption = Annotated[
    str, typer.Option("--user", parser=_parse_filter, metavar="ACCOUNT", help="Only sessions of this account.")
]


def users_file(known: Configuration | None = None) -> UsersFile:
    """The file that the configuration names."""
    return UsersFile(Path((known or configuration()).directory.usersfile))


def entries() -> dict[str, Entry]:
    """Every account of the users file."""
    try:
        return {name: user.entry for name, user in users_file().users().by_name.items()}
    except UsersFileError as error:
        fail(str(error))


def find(name: str) -> tuple[str, Entry | None]:
    """The account that a name or alias stands for, and its entry; the name itself where the users file has none."""
    known = configuration()
    try:
        users = users_file(known).users()
    except UsersFileError as error:
        fail(str(error))
    domain = known.directory.defaultdomain
    written = [name, *([str(parse_name(f"{name}@{domain}"))] if domain and "@" not in name else [])]
    for each in written:
        user = users.find(each)
        if user is not None:
            return user.entry.account, user.entry
    return name, None


async def end_sessions(client: StoreClient, name: str) -> int:
    """End an account's sessions once it is shut out: now, and those that slip in before every front end noticed."""
    ended: set[str] = set()
    for pause in (NOTICE_SECONDS, 0):
        # Who was told goodbye may be listed for a moment still: counted by id.
        ended.update(session.session_id for session in await client.sessions.list_sessions(user=name))
        await client.sessions.kick_sessions(user=name)
        await asyncio.sleep(pause)
    return len(ended)
