"""AccountService."""

from __future__ import annotations

from typing import Final

from mailproto.store.v1 import accounts_pb2
from services.common.errors import Reason, StoreError
from services.common.storeclient import values
from services.store.servicers.caller import Caller
from services.store.servicers.desk import Desk
from services.store.servicers.method import Handlers

PAGE: Final = 1_000


async def open_account(
    desk: Desk, request: accounts_pb2.OpenAccountRequest, caller: Caller
) -> accounts_pb2.OpenAccountResponse:
    """AccountService.OpenAccount."""
    account = await desk.store.open_account(request.name, create=request.create)
    return accounts_pb2.OpenAccountResponse(account=values.account(account))


async def list_accounts(
    desk: Desk, request: accounts_pb2.ListAccountsRequest, caller: Caller
) -> accounts_pb2.ListAccountsResponse:
    """AccountService.ListAccounts."""
    if request.page_size < 0:
        raise StoreError(Reason.INVALID_ARGUMENT)
    size = min(request.page_size or PAGE, PAGE)
    page = await desk.store.list_accounts(page_size=size, page_token=request.page_token)
    accounts = [values.account(account) for account in page.accounts]
    return accounts_pb2.ListAccountsResponse(accounts=accounts, next_page_token=page.token)


async def delete_account(
    desk: Desk, request: accounts_pb2.DeleteAccountRequest, caller: Caller
) -> accounts_pb2.DeleteAccountResponse:
    """AccountService.DeleteAccount."""
    await desk.store.delete_account(request.name)
    return accounts_pb2.DeleteAccountResponse()


HANDLERS: Final[Handlers] = {
    "OpenAccount": open_account,
    "ListAccounts": list_accounts,
    "DeleteAccount": delete_account,
}
