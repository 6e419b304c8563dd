"""Names of accounts as people type them, and what the directory says of them."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, TypeVar

import typer

from services.cli.connecting import configuration
from services.cli.output import EXIT_UNAVAILABLE, fail
from services.common.directory import AddressUnknown, DirectoryUnavailable, Entry, LoginRefused, parse_name
from services.common.directory.usersfile import UsersFile, UsersFileError, check_name
from services.common.live import Live
from services.common.options import Configuration

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from services.common.directory.ldap.directory import LdapDirectory
    from services.common.storeclient import StoreClient

T = TypeVar("T")
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
    """The file that the configuration names. Ends the command where the accounts are in an LDAP directory."""
    known = known or configuration()
    if in_ldap(known):
        fail("the accounts are in the LDAP directory: they are changed there")
    return UsersFile(Path(known.directory.usersfile))


def in_ldap(known: Configuration) -> bool:
    """Whether the accounts are in an LDAP directory."""
    return known.directory.kind == "ldap"


def entries() -> dict[str, Entry]:
    """Every account of the users file or the LDAP directory."""
    known = configuration()
    if in_ldap(known):
        found = asyncio.run(_ask_ldap(known, lambda directory: directory.everyone()))
        return {entry.account: entry for entry in found}
    try:
        return {name: user.entry for name, user in users_file(known).users().by_name.items()}
    except UsersFileError as error:
        fail(str(error))


def find(name: str) -> tuple[str, Entry | None]:
    """The account that a name or alias stands for, and its entry; the name itself where there is none."""
    known = configuration()
    if in_ldap(known):
        entry = asyncio.run(_ask_ldap(known, lambda directory: _named(directory, name)))
        return (name, None) if entry is None else (entry.account, entry)
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


async def _named(directory: LdapDirectory, name: str) -> Entry | None:
    try:
        return await directory.account(name)
    except LoginRefused:
        pass
    try:
        return await directory.lookup(name)
    except AddressUnknown:
        return None


async def _ask_ldap(known: Configuration, ask: Callable[[LdapDirectory], Awaitable[T]]) -> T:
    """Ends the command where the directory does not answer."""
    from services.common.directory.ldap.directory import LdapDirectory

    directory = LdapDirectory(Live(known))
    try:
        return await ask(directory)
    except DirectoryUnavailable as error:
        fail(f"the directory does not answer: {error}", EXIT_UNAVAILABLE)
    finally:
        directory.close()


async def end_sessions(client: StoreClient, name: str) -> int:
    """End an account's sessions once it is shut out: now, and those that slip in before every front end noticed."""
    ended: set[str] = set()
    for pause in (NOTICE_SECONDS, 0):
        # Who was told goodbye may be listed for a moment still: counted by id.
        ended.update(session.session_id for session in await client.sessions.list_sessions(user=name))
        await client.sessions.kick_sessions(user=name)
        await asyncio.sleep(pause)
    return len(ended)
