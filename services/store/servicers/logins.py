"""LoginService."""

from __future__ import annotations

from typing import Final

from mailproto.store.v1 import logins_pb2
from services.common.domain import AccountId
from services.common.storeclient.logins import login_message, read_login
from services.store.servicers.caller import Caller
from services.store.servicers.desk import Desk
from services.store.servicers.method import Handlers


async def open_login(desk: Desk, request: logins_pb2.OpenLoginRequest, caller: Caller) -> logins_pb2.OpenLoginResponse:
    """LoginService.OpenLogin."""
    account_id = AccountId(request.account_id)
    login = await desk.store.logins.open(account_id, read_login(request.login), request.idle_seconds)
    return logins_pb2.OpenLoginResponse(login=login_message(login))


async def use_login(desk: Desk, request: logins_pb2.UseLoginRequest, caller: Caller) -> logins_pb2.UseLoginResponse:
    """LoginService.UseLogin."""
    account_id = AccountId(request.account_id)
    login = await desk.store.logins.use(account_id, request.digest, request.address, request.idle_seconds)
    return logins_pb2.UseLoginResponse(login=login_message(login))


async def list_logins(
    desk: Desk, request: logins_pb2.ListLoginsRequest, caller: Caller
) -> logins_pb2.ListLoginsResponse:
    """LoginService.ListLogins."""
    logins = await desk.store.logins.all(AccountId(request.account_id))
    return logins_pb2.ListLoginsResponse(logins=[login_message(login) for login in logins])


async def end_login(desk: Desk, request: logins_pb2.EndLoginRequest, caller: Caller) -> logins_pb2.EndLoginResponse:
    """LoginService.EndLogin."""
    await desk.store.logins.end(AccountId(request.account_id), request.digest)
    return logins_pb2.EndLoginResponse()


async def end_logins(desk: Desk, request: logins_pb2.EndLoginsRequest, caller: Caller) -> logins_pb2.EndLoginsResponse:
    """LoginService.EndLogins."""
    ended = await desk.store.logins.end_all(AccountId(request.account_id), request.but)
    return logins_pb2.EndLoginsResponse(ended=ended)


HANDLERS: Final[Handlers] = {
    "OpenLogin": open_login,
    "UseLogin": use_login,
    "ListLogins": list_logins,
    "EndLogin": end_login,
    "EndLogins": end_logins,
}
