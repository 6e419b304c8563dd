"""Logins of HTTP clients, over the store's contract."""

from __future__ import annotations

from collections.abc import Sequence

from mailproto.store.v1 import logins_pb2
from services.common.domain import AccountId, LoginSession
from services.common.storeclient.connection import Connection


class LoginCalls:
    """Implements `services.common.store.Logins`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def open(self, account_id: AccountId, login: LoginSession, idle_seconds: int) -> LoginSession:
        """See `Logins.open`."""
        request = logins_pb2.OpenLoginRequest(
            account_id=account_id, login=login_message(login), idle_seconds=idle_seconds
        )
        (reply,) = await self._connection.parts("open_login", request)
        return read_login(reply.login)

    async def use(self, account_id: AccountId, digest: bytes, address: str, idle_seconds: int) -> LoginSession:
        """See `Logins.use`."""
        request = logins_pb2.UseLoginRequest(
            account_id=account_id, digest=digest, address=address, idle_seconds=idle_seconds
        )
        (reply,) = await self._connection.parts("use_login", request)
        return read_login(reply.login)

    async def all(self, account_id: AccountId) -> Sequence[LoginSession]:
        """See `Logins.all`."""
        (reply,) = await self._connection.parts("list_logins", logins_pb2.ListLoginsRequest(account_id=account_id))
        return [read_login(login) for login in reply.logins]

    async def end(self, account_id: AccountId, digest: bytes) -> None:
        """See `Logins.end`."""
        request = logins_pb2.EndLoginRequest(account_id=account_id, digest=digest)
        await self._connection.parts("end_login", request)

    async def end_all(self, account_id: AccountId, but: bytes = b"") -> int:
        """See `Logins.end_all`."""
        request = logins_pb2.EndLoginsRequest(account_id=account_id, but=but)
        (reply,) = await self._connection.parts("end_logins", request)
        return int(reply.ended)


def login_message(value: LoginSession) -> logins_pb2.Login:
    """A login as it travels."""
    return logins_pb2.Login(
        digest=value.digest, user=value.user, address=value.address, bound=value.bound, agent=value.agent,
        stamp=value.stamp, created=value.created, used=value.used, expires=value.expires,
    )  # fmt: skip


def read_login(message: logins_pb2.Login) -> LoginSession:
    """A login out of its message."""
    return LoginSession(
        message.digest, message.user, message.address, message.bound, message.agent, message.stamp, message.created,
        message.used, message.expires,
    )  # fmt: skip
