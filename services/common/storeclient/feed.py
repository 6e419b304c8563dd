"""The process's change feed: one WatchChanges stream, followed again from where it was when it is lost."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

import grpc

from mailproto.store.v1 import changes_pb2, changes_pb2_grpc, messages_pb2
from services.common.domain import AccountId, MailboxDelta, MailboxId
from services.common.storeclient import values
from services.common.storeclient.connection import Connection
from services.common.storeclient.standing import keep_stream

_log = logging.getLogger(__name__)

_FRAME: Final = 1_000
"""Mailboxes to follow or unfollow in one request."""

Key = tuple[AccountId, MailboxId]
Listener = Callable[[MailboxDelta], None]
Stream = grpc.aio.StreamStreamCall[changes_pb2.WatchChangesRequest, changes_pb2.WatchChangesResponse]


@dataclass(slots=True, eq=False)
class _Followed:
    since: int
    listener: Listener


class _Joined:
    """Puts deltas that came in several messages together."""

    def __init__(self) -> None:
        self._cut: dict[Key, MailboxDelta] = {}

    def take(self, message: messages_pb2.Delta) -> MailboxDelta | None:
        """The delta that the message completes, if it does."""
        key = AccountId(message.account_id), MailboxId(message.mailbox.mailbox_id)
        delta = self._cut.pop(key, None)
        if delta is None:
            delta = values.read_delta(message)
        else:
            values.extend_delta(delta, message)
        if not message.continued:
            return delta
        self._cut[key] = delta
        return None


class Feed:
    """Implements `services.common.store.ChangeFeed`. The stream is opened with the first mailbox."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._followed: dict[Key, _Followed] = {}
        self._asked: dict[Key, bool] = {}
        self._accounts: dict[AccountId, Callable[[int], None]] = {}
        self._asked_accounts: dict[AccountId, bool] = {}
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def follow(self, account_id: AccountId, mailbox_id: MailboxId, since: int, listener: Listener) -> None:
        """See `ChangeFeed.follow`."""
        self._followed[account_id, mailbox_id] = _Followed(since, listener)
        self._asked[account_id, mailbox_id] = True
        self._start()

    def unfollow(self, account_id: AccountId, mailbox_id: MailboxId) -> None:
        """See `ChangeFeed.unfollow`."""
        if self._followed.pop((account_id, mailbox_id), None) is not None:
            self._asked[account_id, mailbox_id] = False
            self._wake.set()

    def follow_account(self, account_id: AccountId, listener: Callable[[int], None]) -> None:
        """See `ChangeFeed.follow_account`."""
        self._accounts[account_id] = listener
        self._asked_accounts[account_id] = True
        self._start()

    def unfollow_account(self, account_id: AccountId) -> None:
        """See `ChangeFeed.unfollow_account`."""
        if self._accounts.pop(account_id, None) is not None:
            self._asked_accounts[account_id] = False
            self._wake.set()

    def _start(self) -> None:
        self._wake.set()
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(keep_stream(self._carry))

    async def close(self) -> None:
        """End the stream; no listener is called any more."""
        self._followed.clear()
        self._accounts.clear()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _carry(self) -> bool:
        """One stream from its opening to its end; whether it was opened."""
        stub: changes_pb2_grpc.ChangeServiceAsyncStub = changes_pb2_grpc.ChangeServiceStub(self._connection.channel)
        stream = stub.WatchChanges(metadata=self._connection.metadata)
        self._asked = dict.fromkeys(self._followed, True)
        self._asked_accounts = dict.fromkeys(self._accounts, True)
        self._wake.set()
        writer = asyncio.create_task(self._write(stream))
        joined, opened = _Joined(), False
        try:
            opened = bool(await stream.initial_metadata())
            while isinstance(reply := await stream.read(), changes_pb2.WatchChangesResponse):
                for notice in reply.accounts:
                    self._notify(AccountId(notice.account_id), notice.modseq)
                for delta in filter(None, map(joined.take, reply.deltas)):
                    self._tell(delta)
        except grpc.aio.AioRpcError:
            pass  # the same as an end
        finally:
            writer.cancel()
            stream.cancel()
            await asyncio.gather(writer, return_exceptions=True)
        return opened

    async def _write(self, stream: Stream) -> None:
        while True:
            await self._wake.wait()
            await asyncio.sleep(0)
            self._wake.clear()
            asked, self._asked = list(self._asked.items()), {}
            accounts, self._asked_accounts = list(self._asked_accounts.items()), {}
            for start in range(0, len(accounts), _FRAME):
                part = accounts[start : start + _FRAME]
                await stream.write(
                    changes_pb2.WatchChangesRequest(
                        follow_accounts=[number for number, wanted in part if wanted],
                        unfollow_accounts=[number for number, wanted in part if not wanted],
                    )
                )
            for start in range(0, len(asked), _FRAME):
                await stream.write(self._request(asked[start : start + _FRAME]))

    def _request(self, asked: Iterable[tuple[Key, bool]]) -> changes_pb2.WatchChangesRequest:
        request = changes_pb2.WatchChangesRequest()
        for key, wanted in asked:
            followed = self._followed.get(key)
            if wanted and followed is not None:
                request.follow.add(account_id=key[0], mailbox_id=key[1], since=followed.since)
            elif not wanted:
                request.unfollow.add(account_id=key[0], mailbox_id=key[1])
        return request

    def _notify(self, account_id: AccountId, modseq: int) -> None:
        listener = self._accounts.get(account_id)
        if listener is None:
            return
        try:
            listener(modseq)
        except Exception:
            _log.exception("a listener of the change feed failed")

    def _tell(self, delta: MailboxDelta) -> None:
        followed = self._followed.get((delta.account_id, delta.status.mailbox_id))
        if followed is None:
            return
        followed.since = max(followed.since, delta.status.modseq)
        try:
            followed.listener(delta)
        except Exception:
            # One session's mistake must not cost the others their changes.
            _log.exception("a listener of the change feed failed")
