"""`mailkeep mailbox`: an account's mailboxes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from services.cli.connecting import with_store
from services.cli.output import JsonOption, show, show_facts, size
from services.cli.people import AccountName, find
from services.common.domain import MailboxStatus

if TYPE_CHECKING:
    from services.common.storeclient import StoreClient

commands = typer.Typer(no_args_is_help=True, help="An account's mailboxes.")


@commands.command("list")
def list_mailboxes(account: AccountName, as_json: JsonOption = False) -> None:
    """Every mailbox of an account with its counters."""
    name, _ = find(account)

    async def work(client: StoreClient) -> list[MailboxStatus]:
        found = await client.open_account(name, create=False)
        return list(await client.list_mailboxes(found.account_id))

    columns = ("name", "messages", "unseen", "size", "special_use", "subscribed")
    show(as_json, columns, [_row(status, as_json) for status in with_store(work)])


def _row(status: MailboxStatus, as_json: bool) -> tuple[object, ...]:
    subscribed: object = status.subscribed if as_json else "yes" if status.subscribed else "no"
    shown = status.size if as_json else size(status.size)
    return (status.name, status.messages, status.unseen, shown, status.special_use, subscribed)


@commands.command("status")
def status(
    account: AccountName, mailbox: Annotated[str, typer.Argument()] = "INBOX", as_json: JsonOption = False
) -> None:
    """All that the store knows of one mailbox."""
    name, _ = find(account)

    async def work(client: StoreClient) -> MailboxStatus:
        found = await client.open_account(name, create=False)
        return await client.get_mailbox(found.account_id, mailbox)

    found = with_store(work)
    facts = {field: getattr(found, field) for field in MailboxStatus.__dataclass_fields__}
    show_facts(as_json, facts if as_json else {field: _text(value) for field, value in facts.items()})


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ", ".join(value) if isinstance(value, tuple) else str(value)
