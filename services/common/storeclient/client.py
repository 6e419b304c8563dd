"""`StoreClient`: the store as front ends use it, over gRPC, with domain values only."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from array import array
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import replace
from typing import Final

from mailproto.store.v1 import (
    accounts_pb2,
    accounts_pb2_grpc,
    bodies_pb2,
    delivery_pb2,
    mailboxes_pb2,
    maildrop_pb2,
    messages_pb2,
)
from services.common.domain import (
    Account,
    AccountId,
    AppendItem,
    AppendResult,
    BodyRef,
    Column,
    Columns,
    CopyResult,
    Delivered,
    ExpungeResult,
    FlagChange,
    FlagEdit,
    FlagEdited,
    FlagResult,
    MailboxDelta,
    MailboxId,
    MailboxStatus,
    Maildrop,
    Page,
    Quota,
    Recipient,
    TextKey,
)
from services.common.errors import Reason, StoreError
from services.common.listings import Listings
from services.common.options import Configuration
from services.common.storeclient import values
from services.common.storeclient.attach import Attachment
from services.common.storeclient.connection import LONG_SECONDS, SECONDS, Connection, Patience
from services.common.storeclient.emails import EmailCalls
from services.common.storeclient.feed import Feed
from services.common.storeclient.logins import LoginCalls
from services.common.storeclient.maintenance import Maintenance
from services.common.storeclient.packedrefs import PackedRefs
from services.common.storeclient.transfers import Transfers

SMALL: Final = 256 << 10
"""Bytes of bodies up to which an append or a delivery goes into a frame; above, it is a stream of its own."""


class StoreClient:
    """Implements `services.common.store.Store`.

    `feed` is the process's `ChangeFeed`, `sessions` tells the store of its sessions, `maintenance` is for the CLI.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._transfers = Transfers(connection)
        self._background: set[asyncio.Task[None]] = set()
        self._listings: Listings[Maildrop] = Listings()
        self.feed = Feed(connection)
        self.emails = EmailCalls(connection)
        self.logins = LoginCalls(connection)
        self.sessions = Attachment(connection)
        self.maintenance = Maintenance(connection)

    @property
    def ready(self) -> bool:
        """Whether the store answers now."""
        return self._connection.ready

    @property
    def understood(self) -> bool:
        """Whether the store is of a version that this process can speak to."""
        return self._connection.understood

    async def wait_ready(self, seconds: float) -> None:
        """Wait for the store. Raises UNAVAILABLE."""
        await self._connection.wait_ready(seconds)

    def reconfigure(self, configuration: Configuration) -> None:
        """Take up the options that are live (`store.storewait`)."""
        self._connection.storewait = configuration.store.storewait

    async def close(self) -> None:
        """End streams and background work."""
        await self.feed.close()
        await self.sessions.close()
        for task in tuple(self._background):
            task.cancel()
        await asyncio.gather(*self._background, return_exceptions=True)
        await self._connection.close()

    # accounts
    def _accounts(self) -> accounts_pb2_grpc.AccountServiceAsyncStub:
        return accounts_pb2_grpc.AccountServiceStub(self._connection.channel)

    async def open_account(self, name: str, *, create: bool = True) -> Account:
        """See `Store.open_account`."""
        request = accounts_pb2.OpenAccountRequest(name=name, create=create)
        (reply,) = await self._connection.parts("open_account", request)
        return values.read_account(reply.account)

    async def list_accounts(self, *, page_size: int = 1000, page_token: str = "") -> Page:
        """See `Store.list_accounts`."""
        request = accounts_pb2.ListAccountsRequest(page_size=page_size, page_token=page_token)

        async def attempt(_: Patience) -> accounts_pb2.ListAccountsResponse:
            return await self._accounts().ListAccounts(request, timeout=SECONDS, metadata=self._connection.metadata)

        reply = await self._connection.persist("list_accounts", attempt)
        return Page([values.read_account(account) for account in reply.accounts], reply.next_page_token)

    async def delete_account(self, name: str) -> None:
        """See `Store.delete_account`."""
        request = accounts_pb2.DeleteAccountRequest(name=name)

        async def attempt(_: Patience) -> accounts_pb2.DeleteAccountResponse:
            metadata = self._connection.metadata
            return await self._accounts().DeleteAccount(request, timeout=LONG_SECONDS, metadata=metadata)

        done = (Reason.ACCOUNT_NOT_FOUND, accounts_pb2.DeleteAccountResponse())
        await self._connection.persist("delete_account", attempt, done)

    # mailboxes
    async def list_mailboxes(self, account_id: AccountId) -> Sequence[MailboxStatus]:
        """See `Store.list_mailboxes`."""
        request = mailboxes_pb2.ListMailboxesRequest(account_id=account_id)
        parts = await self._connection.parts("list_mailboxes", request)
        return [values.read_mailbox(mailbox) for part in parts for mailbox in part.mailboxes]

    async def get_mailbox(self, account_id: AccountId, name: str) -> MailboxStatus:
        """See `Store.get_mailbox`."""
        request = mailboxes_pb2.GetMailboxRequest(account_id=account_id, name=name)
        (reply,) = await self._connection.parts("get_mailbox", request)
        return values.read_mailbox(reply.mailbox)

    async def list_subscriptions(self, account_id: AccountId) -> Sequence[str]:
        """See `Store.list_subscriptions`."""
        request = mailboxes_pb2.ListSubscriptionsRequest(account_id=account_id)
        parts = await self._connection.parts("list_subscriptions", request)
        return [name for part in parts for name in part.names]

    async def create_mailbox(self, account_id: AccountId, name: str, special_use: str = "") -> MailboxStatus:
        """See `Store.create_mailbox`."""
        request = mailboxes_pb2.CreateMailboxRequest(account_id=account_id, name=name, special_use=special_use)
        parts = await self._connection.parts("create_mailbox", request, Reason.MAILBOX_EXISTS)
        return values.read_mailbox(parts[0].mailbox) if parts else await self.get_mailbox(account_id, name)

    async def rename_mailbox(self, account_id: AccountId, name: str, new_name: str) -> None:
        """See `Store.rename_mailbox`."""
        request = mailboxes_pb2.RenameMailboxRequest(account_id=account_id, name=name, new_name=new_name)
        if not await self._connection.parts("rename_mailbox", request, Reason.MAILBOX_NOT_FOUND):
            await self.get_mailbox(account_id, new_name)

    async def delete_mailbox(self, account_id: AccountId, name: str) -> None:
        """See `Store.delete_mailbox`."""
        request = mailboxes_pb2.DeleteMailboxRequest(account_id=account_id, name=name)
        await self._connection.parts("delete_mailbox", request, Reason.MAILBOX_NOT_FOUND)

    async def subscribe(self, account_id: AccountId, name: str, subscribed: bool) -> None:
        """See `Store.subscribe`."""
        request = mailboxes_pb2.ModifySubscriptionRequest(account_id=account_id, name=name, subscribed=subscribed)
        await self._connection.parts("modify_subscription", request)

    # messages
    async def sync_mailbox(
        self, account_id: AccountId, mailbox: str | MailboxId, since: int = 0, *, claim_recent: bool = False
    ) -> MailboxDelta:
        """See `Store.sync_mailbox`."""
        request = messages_pb2.SyncMailboxRequest(account_id=account_id, since=since, claim_recent=claim_recent)
        if isinstance(mailbox, str):
            request.name = mailbox
        else:
            request.mailbox_id = mailbox
        first, *rest = await self._connection.parts("sync_mailbox", request)
        delta = values.read_delta(first.delta)
        for part in rest:
            values.extend_delta(delta, part.delta)
        return delta

    async def fetch_columns(
        self, account_id: AccountId, mailbox_id: MailboxId, columns: Column, uids: Sequence[int] | None = None
    ) -> Columns:
        """See `Store.fetch_columns`."""
        request = messages_pb2.FetchColumnsRequest(
            account_id=account_id, mailbox_id=mailbox_id, columns=columns.value,
            uids=values.packed_uids(uids or ()), all=uids is None,
        )  # fmt: skip
        result = Columns()
        for part in await self._connection.parts("fetch_columns", request):
            values.extend_columns(result, part.columns)
        return result

    async def modify_flags(
        self,
        account_id: AccountId,
        mailbox_id: MailboxId,
        uids: Sequence[int],
        change: FlagChange,
        *,
        unchanged_since: int | None = None,
    ) -> FlagResult:
        """See `Store.modify_flags`."""
        request = messages_pb2.ModifyFlagsRequest(
            account_id=account_id, mailbox_id=mailbox_id, uids=values.packed_uids(uids),
            operation=messages_pb2.FlagOperation.ValueType(change.operation.value), system=change.system,
            keywords=change.keywords, unchanged_since=unchanged_since,
        )  # fmt: skip
        (reply,) = await self._connection.parts("modify_flags", request)
        return FlagResult(
            values.read_mailbox(reply.mailbox), reply.previous, values.read_rows(reply.rows),
            values.read_uids(reply.conflicts),
        )  # fmt: skip

    async def modify_each(self, edits: Sequence[FlagEdit]) -> Sequence[FlagEdited | StoreError]:
        """See `Store.modify_each`."""
        (reply,) = await self._connection.parts("batch_modify_flags", values.edits(edits))
        return values.read_edited(reply)

    async def append(
        self, account_id: AccountId, mailbox: str, items: Sequence[AppendItem], quota: Quota, *, request_id: str
    ) -> AppendResult:
        """See `Store.append`."""
        request = messages_pb2.AppendMessagesRequest(
            account_id=account_id, mailbox=mailbox, quota=values.quota(quota), request_id=request_id
        )
        small = sum(len(item.body) for item in items) <= SMALL
        for item in items:
            request.items.add(
                body=item.body if small else b"", size=0 if small else len(item.body),
                system=item.system, keywords=item.keywords, internaldate=item.internaldate,
            )  # fmt: skip
        if small:
            (reply,) = await self._connection.parts("append_messages", request)
        else:
            reply = await self._transfers.append(request, items)
        return AppendResult(MailboxId(reply.mailbox_id), reply.uidvalidity, values.read_uids(reply.uids))

    async def copy_messages(
        self,
        account_id: AccountId,
        mailbox_id: MailboxId,
        uids: Sequence[int],
        target: str,
        quota: Quota,
        *,
        move: bool = False,
        request_id: str,
    ) -> CopyResult:
        """See `Store.copy_messages`."""
        request = messages_pb2.CopyMessagesRequest(
            account_id=account_id, mailbox_id=mailbox_id, uids=values.packed_uids(uids), target=target,
            quota=values.quota(quota), move=move, request_id=request_id,
        )  # fmt: skip
        (reply,) = await self._connection.parts("copy_messages", request)
        return CopyResult(
            MailboxId(reply.mailbox_id), reply.uidvalidity,
            values.read_uids(reply.source_uids), values.read_uids(reply.target_uids),
        )  # fmt: skip

    async def expunge(
        self,
        account_id: AccountId,
        mailbox_id: MailboxId,
        uids: Sequence[int] | None = None,
        *,
        regardless: bool = False,
    ) -> ExpungeResult:
        """See `Store.expunge`."""
        request = messages_pb2.ExpungeMessagesRequest(
            account_id=account_id,
            mailbox_id=mailbox_id,
            uids=values.packed_uids(uids or ()),
            all=uids is None,
            regardless=regardless,
        )
        (reply,) = await self._connection.parts("expunge_messages", request)
        return ExpungeResult(values.read_mailbox(reply.mailbox), reply.previous, values.read_uids(reply.uids))

    async def search_text(
        self, account_id: AccountId, mailbox_id: MailboxId, keys: Sequence[TextKey], uid_from: int = 1
    ) -> Sequence[array[int]]:
        """See `Store.search_text`."""
        request = messages_pb2.SearchMessagesRequest(account_id=account_id, mailbox_id=mailbox_id, uid_from=uid_from)
        for key in keys:
            request.keys.add(
                field=messages_pb2.TextField.ValueType(key.field.value), needle=key.needle, header=key.header
            )
        (reply,) = await self._connection.parts("search_messages", request)
        return [values.read_uids(uids) for uids in reply.uids]

    # bodies
    async def read_bodies(self, account_id: AccountId, refs: Sequence[BodyRef]) -> Sequence[bytes]:
        """See `Store.read_bodies`."""
        if not refs:
            return []
        request = bodies_pb2.ReadBodiesRequest(account_id=account_id, refs=values.body_refs(refs))
        return _joined(await self._connection.parts("read_bodies", request))

    async def stream_body(self, account_id: AccountId, ref: BodyRef, offset: int = 0) -> AsyncIterator[bytes]:
        """See `Store.stream_body`. Goes on where it was after a lost connection."""
        chunks = self._transfers.body(account_id, ref, offset)
        try:
            async for chunk in chunks:
                yield chunk
        finally:
            await chunks.aclose()

    # delivery and maildrop
    async def deliver(self, recipients: Sequence[Recipient], body: bytes, *, request_id: str) -> Sequence[Delivered]:
        """See `Store.deliver`."""
        small = len(body) <= SMALL
        request = delivery_pb2.DeliverMessageRequest(
            body=body if small else b"", size=0 if small else len(body), request_id=request_id
        )
        for recipient in recipients:
            request.recipients.add(
                account=recipient.account, folder=recipient.folder, prefix=recipient.prefix,
                quota=values.quota(recipient.quota),
            )  # fmt: skip
        if small:
            (reply,) = await self._connection.parts("deliver_message", request)
        else:
            reply = await self._transfers.deliver(request, body)
        return [Delivered(one.reason, MailboxId(one.mailbox_id), one.uid) for one in reply.outcomes]

    async def open_maildrop(self, account_id: AccountId) -> Maildrop:
        """See `Store.open_maildrop`. Rows come over only where they are not those that came last time."""
        lock = str(uuid.uuid4())
        known = self._listings.get(account_id)
        try:
            drop = await self._open_maildrop(account_id, lock, known)
        except BaseException as error:
            if not isinstance(error, StoreError) or error.reason is not Reason.MAILDROP_IN_USE:
                self._release_later(account_id, lock)
            raise
        self._listings.put(account_id, drop)
        return drop

    async def _open_maildrop(self, account_id: AccountId, lock: str, known: Maildrop | None) -> Maildrop:
        modseq = known.status.modseq if known else 0
        request = maildrop_pb2.OpenMaildropRequest(account_id=account_id, lock=lock, known_modseq=modseq)
        parts = await self._connection.parts("open_maildrop", request)
        status = values.read_mailbox(parts[0].mailbox)
        if parts[0].unchanged and known is not None:
            if status == known.status:
                return replace(known, lock=lock)
            # A store that was restored from a backup may have come to the same number in another way.
            return await self._open_maildrop(account_id, lock, None)
        uids, sizes, locations = array("I"), array("Q"), PackedRefs()
        for part in parts:
            uids.extend(values.read_uids(part.uids))
            sizes.extend(values.read_numbers(part.sizes))
            locations.add(part.locations)
        return Maildrop(lock, status, uids, sizes, locations)

    def _release_later(self, account_id: AccountId, lock: str) -> None:
        """The caller went while the lock was on its way: nobody else can give it up."""

        async def release() -> None:
            with contextlib.suppress(StoreError):
                await self.release_maildrop(account_id, lock)

        task = asyncio.get_running_loop().create_task(release())
        self._background.add(task)
        task.add_done_callback(self._background.discard)

    async def commit_maildrop(
        self, account_id: AccountId, lock: str, deleted: Sequence[int], seen: Sequence[int]
    ) -> None:
        """See `Store.commit_maildrop`."""
        request = maildrop_pb2.CommitMaildropRequest(
            account_id=account_id, lock=lock, deleted=values.packed_uids(deleted), seen=values.packed_uids(seen)
        )
        await self._connection.parts("commit_maildrop", request)

    async def release_maildrop(self, account_id: AccountId, lock: str) -> None:
        """See `Store.release_maildrop`."""
        request = maildrop_pb2.ReleaseMaildropRequest(account_id=account_id, lock=lock)
        await self._connection.parts("release_maildrop", request)


def _joined(parts: Iterable[bodies_pb2.ReadBodiesResponse]) -> list[bytes]:
    """The bodies of all replies; those that were cut are whole again."""
    bodies: list[bytes] = []
    cut: list[bytes] = []
    for part in parts:
        for body in part.bodies[:-1] if part.continued else part.bodies:
            bodies.append(b"".join((*cut, body)) if cut else body)
            cut = []
        if part.continued:
            cut.append(part.bodies[-1])
    return bodies
