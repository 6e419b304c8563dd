"""`mailkeep account`: the directory, and what the store holds of each account."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from services.cli.connecting import configuration, exit_code, explain, store, with_store
from services.cli.output import EXIT_USAGE, JsonOption, counted, fail, note, say, show, show_facts, size
from services.cli.people import AccountName, end_sessions, entries, find, in_ldap, users_file
from services.common.directory import Entry, Status
from services.common.directory.usersfile import UsersFileError
from services.common.domain import Account, Quota
from services.common.errors import Reason, StoreError
from services.common.sizes import format_size, parse_size

if TYPE_CHECKING:
    from services.common.storeclient import StoreClient

commands = typer.Typer(no_args_is_help=True, help="Accounts of the directory, and their mail.")

FromInput = Annotated[bool, typer.Option("--password-stdin", help="Read the password from standard input, one line.")]
ScramOption = Annotated[
    bool, typer.Option("--scram", help="Keep a SCRAM secret of it as well; sasl.scram says so for every account.")
]
NO_LIMIT = "none"
COLUMNS = ("account", "status", "messages", "used", "quota", "message_quota", "aliases")


def read_password(from_input: bool, *, confirm: bool = True) -> str:
    """Asked for on a terminal, twice if `confirm`; never taken from the command line, which others can see."""
    if from_input:
        password = sys.stdin.readline().rstrip("\r\n")
    else:
        password = str(typer.prompt("Password", hide_input=True, confirmation_prompt=confirm))
    if not password:
        fail("the password is empty", EXIT_USAGE)
    return password


def _keeps_scram() -> bool:
    """Whether the services offer SCRAM, so that it has to work with every new password."""
    options = configuration().sasl
    return options.scram or any(name.startswith("SCRAM-") for name in options.mech_list)


def _bytes(text: str) -> str:
    """A size in the users file's words, or `none`."""
    if text == NO_LIMIT:
        return NO_LIMIT
    try:
        return format_size(parse_size(text))
    except ValueError:
        raise typer.BadParameter(f"{text!r} is not bytes, nor a number with K, M, G or T") from None


def _count(text: str) -> str:
    if text == NO_LIMIT:
        return NO_LIMIT
    if not text.isdecimal():
        raise typer.BadParameter(f"{text!r} is not a number of messages")
    return str(int(text))


BytesOption = Annotated[
    str | None, typer.Option("--quota", parser=_bytes, metavar="SIZE", help="Most bytes, for example 2G, or none.")
]
CountOption = Annotated[
    str | None, typer.Option("--message-quota", parser=_count, metavar="NUMBER", help="Most messages, or none.")
]


@commands.command()
def add(
    name: AccountName,
    quota: BytesOption = None,
    message_quota: CountOption = None,
    alias: Annotated[list[str], typer.Option(help="Further address; repeatable.", metavar="ADDRESS")] = [],  # noqa: B006
    password_stdin: FromInput = False,
    scram: ScramOption = False,
    as_json: JsonOption = False,
) -> None:
    """Add an account. Its mailboxes are made when it is first used."""
    file = users_file()
    if name in entries():
        fail(f"{name}: there is such an account already")
    password = read_password(password_stdin)
    limits = Quota(*_limits(quota, message_quota).values())
    try:
        file.add(
            name,
            password,
            scram=scram or _keeps_scram(),
            quota=limits.max_bytes,
            messagequota=limits.max_messages,
            aliases=tuple(alias),
        )
    except UsersFileError as error:
        fail(str(error))
    say(as_json, f"{name} added", account=name)


@commands.command()
def passwd(
    name: AccountName, password_stdin: FromInput = False, scram: ScramOption = False, as_json: JsonOption = False
) -> None:
    """Set a new password; the services take it up within a second. Secrets that were kept of the old one go with it."""
    account = _known(name)
    password = read_password(password_stdin)
    try:
        users_file().set_password(account, password, scram=scram or _keeps_scram())
    except UsersFileError as error:
        fail(str(error))
    say(as_json, f"password of {account} changed", account=account)


@commands.command()
def quota(
    name: AccountName,
    quota: BytesOption = None,
    message_quota: CountOption = None,
    as_json: JsonOption = False,
) -> None:
    """Set how much an account may hold; what is not given stays as it is."""
    account = _known(name)
    given = {"quota": quota, "messagequota": message_quota}
    limits = _limits(quota, message_quota)
    changed = {name: limits[name] for name, text in given.items() if text is not None}
    if not changed:
        fail("say what to change: --quota or --message-quota", EXIT_USAGE)
    try:
        users_file().change(account, **changed)
    except UsersFileError as error:
        fail(str(error))
    limit = entries()[account].quota
    facts = {"account": account, "quota": limit.max_bytes, "message_quota": limit.max_messages}
    say(as_json, f"quota of {account}: {_limit(limit.max_bytes)}, {_messages(limit.max_messages)}", **facts)


def _limits(quota: str | None, message_quota: str | None) -> dict[str, int | None]:
    """The options as numbers, by their names in the users file; None is no limit."""
    return {
        "quota": None if quota in (None, NO_LIMIT) else parse_size(quota),
        "messagequota": None if message_quota in (None, NO_LIMIT) else int(message_quota),
    }


@commands.command()
def disable(name: AccountName, as_json: JsonOption = False) -> None:
    """Lock an account out: no login, no delivery; its sessions are ended, its mail stays."""
    account = _set_status(name, Status.DISABLED)
    ended = asyncio.run(_end_sessions(account))
    say(as_json, f"{account} disabled, {counted(ended, 'session')} ended", account=account, sessions=ended)


@commands.command()
def enable(name: AccountName, as_json: JsonOption = False) -> None:
    """Let an account in again."""
    account = _set_status(name, Status.ACTIVE)
    say(as_json, f"{account} enabled", account=account)
    _, entry = find(account)
    if entry is not None and entry.status is not Status.ACTIVE:
        note(f"its domain is {entry.status.value}, and that comes first")


@commands.command()
def administrator(
    name: AccountName,
    revoke: Annotated[bool, typer.Option("--revoke", help="Take the right away again.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Let an account act for every other one: log in as it, and PROXYAUTH in IMAP."""
    account = _known(name)
    try:
        users_file().change(account, administrator=None if revoke else True)
    except UsersFileError as error:
        fail(str(error))
    text = f"{account} is {'no administrator any more' if revoke else 'an administrator'}"
    say(as_json, text, account=account, administrator=not revoke)


def _known(name: str) -> str:
    """The account of the users file that a name stands for; ends the command where there is none."""
    users_file()
    account, entry = find(name)
    if entry is None:
        fail(f"{name}: no such account")
    return account


def _set_status(name: str, status: Status) -> str:
    account = _known(name)
    try:
        users_file().set_status(account, status)
    except UsersFileError as error:
        fail(str(error))
    return account


async def _end_sessions(name: str) -> int:
    """Sessions that were ended; none where the store does not run (then there are no sessions)."""
    try:
        async with store() as client:
            return await end_sessions(client, name)
    except StoreError as error:
        if error.reason is not Reason.UNAVAILABLE:
            raise
        note("the store does not answer, so no session was ended")
        return 0


@commands.command()
def delete(
    name: AccountName,
    keep_mail: Annotated[bool, typer.Option("--keep-mail", help="Take it out of the users file only.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Remove an account and its mail, for good; one of an LDAP directory stays there. Its sessions are ended."""
    if keep_mail and name not in users_file().names():
        fail(f"{name}: no such account")
    if not yes:
        typer.confirm(f"Remove {name}{'' if keep_mail else ' and all its mail'}?", abort=True)
    if keep_mail:
        _forget(name)
        asyncio.run(_end_sessions(name))
        removed = False
    else:
        removed = with_store(lambda client: _delete(client, name))
    say(as_json, f"{name} removed", account=name, mail_removed=removed)


async def _delete(client: StoreClient, name: str) -> bool:
    """Whether there was mail. Nothing is removed where the store does not answer."""
    try:
        await client.open_account(name, create=False)
        held = True
    except StoreError as error:
        if error.reason is not Reason.ACCOUNT_NOT_FOUND:
            raise
        held = False
    known = _forget(name)
    if not known and not held:
        fail(f"{name}: no such account")
    # In this order, so that no front end makes the account anew after it is gone.
    await end_sessions(client, name)
    try:
        await client.delete_account(name)
    except StoreError as error:
        if error.reason is not Reason.ACCOUNT_NOT_FOUND:
            raise
        return False
    return True


def _forget(name: str) -> bool:
    """Take an account out of the users file; whether it was there. In an LDAP directory it stays."""
    if in_ldap(configuration()) or name not in entries():
        return False
    try:
        users_file().remove(name)
    except UsersFileError as error:
        fail(str(error))
    return True


@commands.command("list")
def list_accounts(as_json: JsonOption = False) -> None:
    """Accounts of the directory and of the store, with what they use."""
    known = entries()
    usage = asyncio.run(_usage())
    names = sorted(known.keys() | (usage or {}).keys())
    rows = [_row(name, known.get(name), usage, as_json) for name in names]
    show(as_json, COLUMNS, rows)


@commands.command("show")
def show_account(name: AccountName, as_json: JsonOption = False) -> None:
    """One account: what the directory says and what the store holds."""
    account, entry = find(name)
    usage = asyncio.run(_usage(account))
    if entry is None and not usage:
        fail(f"{name}: no such account")
    facts = dict(zip(COLUMNS, _row(account, entry, usage, as_json), strict=True))
    administrator = entry is not None and entry.administrator
    scram = entry is not None and any(text.startswith("SCRAM-") for text in entry.secrets)
    show_facts(as_json, {**facts, "administrator": administrator, "scram": scram})


async def _usage(name: str = "") -> dict[str, Account] | None:
    """Accounts of the store, all or one; None where the store does not run."""
    try:
        async with store() as client:
            found = [await client.open_account(name, create=False)] if name else await _accounts(client)
    except StoreError as error:
        if error.reason is Reason.ACCOUNT_NOT_FOUND:
            return {}
        if error.reason is not Reason.UNAVAILABLE:
            fail(explain(error), exit_code(error))
        note("the store does not answer, so what accounts use is not known")
        return None
    return {account.name: account for account in found}


async def _accounts(client: StoreClient) -> list[Account]:
    found: list[Account] = []
    page = await client.list_accounts()
    found += page.accounts
    while page.token:
        page = await client.list_accounts(page_token=page.token)
        found += page.accounts
    return found


def _row(name: str, entry: Entry | None, usage: dict[str, Account] | None, as_json: bool) -> tuple[object, ...]:
    used = None if usage is None else usage.get(name)
    messages, count = (used.used_messages, used.used_bytes) if used else (None, None) if usage is None else (0, 0)
    status = entry.status.value if entry else "not in the directory"
    limits = (entry.quota.max_bytes, entry.quota.max_messages) if entry else (None, None)
    aliases = list(entry.aliases) if entry else []
    if as_json:
        return (name, status, messages, count, *limits, aliases)
    shown = ("?", "?") if messages is None or count is None else (messages, size(count))
    return (name, status, *shown, _limit(limits[0]), NO_LIMIT if limits[1] is None else limits[1], ", ".join(aliases))


def _limit(count: int | None) -> str:
    return NO_LIMIT if count is None else size(count)


def _messages(count: int | None) -> str:
    return "any number of messages" if count is None else counted(count, "message")
