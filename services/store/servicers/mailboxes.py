"""MailboxService."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Final

from mailproto.store.v1 import mailboxes_pb2
from services.common.domain import AccountId
from services.common.storeclient import values
from services.store.servicers.caller import Caller
from services.store.servicers.desk import Desk
from services.store.servicers.method import Handlers

CHUNK: Final = 2_000


async def list_mailboxes(
    desk: Desk, request: mailboxes_pb2.ListMailboxesRequest, caller: Caller
) -> AsyncIterator[mailboxes_pb2.ListMailboxesResponse]:
    """MailboxService.ListMailboxes."""
    mailboxes = await desk.store.list_mailboxes(AccountId(request.account_id))
    for start in range(0, len(mailboxes), CHUNK):
        chunk = mailboxes[start : start + CHUNK]
        yield mailboxes_pb2.ListMailboxesResponse(mailboxes=[values.mailbox(mailbox) for mailbox in chunk])


async def get_mailbox(
    desk: Desk, request: mailboxes_pb2.GetMailboxRequest, caller: Caller
) -> mailboxes_pb2.GetMailboxResponse:
    """MailboxService.GetMailbox."""
    mailbox = await desk.store.get_mailbox(AccountId(request.account_id), request.name)
    return mailboxes_pb2.GetMailboxResponse(mailbox=values.mailbox(mailbox))


async def create_mailbox(
    desk: Desk, request: mailboxes_pb2.CreateMailboxRequest, caller: Caller
) -> mailboxes_pb2.CreateMailboxResponse:
    """MailboxService.CreateMailbox."""
    mailbox = await desk.store.create_mailbox(AccountId(request.account_id), request.name, request.special_use)
    return mailboxes_pb2.CreateMailboxResponse(mailbox=values.mailbox(mailbox))


async def rename_mailbox(
    desk: Desk, request: mailboxes_pb2.RenameMailboxRequest, caller: Caller
) -> mailboxes_pb2.RenameMailboxResponse:
    """MailboxService.RenameMailbox."""
    await desk.store.rename_mailbox(AccountId(request.account_id), request.name, request.new_name)
    return mailboxes_pb2.RenameMailboxResponse()


async def delete_mailbox(
    desk: Desk, request: mailboxes_pb2.DeleteMailboxRequest, caller: Caller
) -> mailboxes_pb2.DeleteMailboxResponse:
    """MailboxService.DeleteMailbox."""
    await desk.store.delete_mailbox(AccountId(request.account_id), request.name)
    return mailboxes_pb2.DeleteMailboxResponse()


async def list_subscriptions(
    desk: Desk, request: mailboxes_pb2.ListSubscriptionsRequest, caller: Caller
) -> AsyncIterator[mailboxes_pb2.ListSubscriptionsResponse]:
    """MailboxService.ListSubscriptions."""
    names = await desk.store.list_subscriptions(AccountId(request.account_id))
    for start in range(0, len(names), CHUNK):
        yield mailboxes_pb2.ListSubscriptionsResponse(names=names[start : start + CHUNK])


async def modify_subscription(
    desk: Desk, request: mailboxes_pb2.ModifySubscriptionRequest, caller: Caller
) -> mailboxes_pb2.ModifySubscriptionResponse:
    """MailboxService.ModifySubscription."""
    await desk.store.subscribe(AccountId(request.account_id), request.name, request.subscribed)
    return mailboxes_pb2.ModifySubscriptionResponse()


HANDLERS: Final[Handlers] = {
    "ListMailboxes": list_mailboxes,
    "GetMailbox": get_mailbox,
    "CreateMailbox": create_mailbox,
    "RenameMailbox": rename_mailbox,
    "DeleteMailbox": delete_mailbox,
    "ListSubscriptions": list_subscriptions,
    "ModifySubscription": modify_subscription,
}
