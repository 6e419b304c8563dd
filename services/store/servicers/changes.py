"""ChangeService."""

from __future__ import annotations

import asyncio
from typing import Final

from mailproto.store.v1 import changes_pb2
from services.common.domain import AccountId, MailboxId
from services.common.storeclient import values
from services.store.changes import Subscription
from services.store.servicers.caller import Caller
from services.store.servicers.desk import Desk
from services.store.servicers.method import Handlers, Link

FRAME_ROWS: Final = 16_384
"""Rows (each delta counts as one more) after which a frame takes no further delta."""

PACE_SECONDS: Final = 0.01
"""Between two frames. The first change after a pause goes at once; under load many go as one."""

Frames = Link[changes_pb2.WatchChangesRequest, changes_pb2.WatchChangesResponse]


async def watch_changes(desk: Desk, link: Frames, caller: Caller) -> None:
    """ChangeService.WatchChanges."""
    subscription = desk.hub.subscribe()
    teller = asyncio.create_task(_tell(link, subscription))
    try:
        with desk.processes.stream(caller.process):
            await desk.until_over(_listen(link, subscription), teller)
    finally:
        teller.cancel()
        await asyncio.gather(teller, return_exceptions=True)
        subscription.close()


async def _listen(link: Frames, subscription: Subscription) -> None:
    while (request := await link.read()) is not None:
        for one in request.unfollow:
            subscription.unfollow(AccountId(one.account_id), MailboxId(one.mailbox_id))
        for number in request.unfollow_accounts:
            subscription.unfollow_account(AccountId(number))
        for number in request.follow_accounts:
            subscription.follow_account(AccountId(number))
        for one in request.follow:
            subscription.follow(AccountId(one.account_id), MailboxId(one.mailbox_id), one.since)


async def _tell(link: Frames, subscription: Subscription) -> None:
    while True:
        frame, rows = changes_pb2.WatchChangesResponse(), 0
        for delta in await subscription.gathered():
            for part in values.deltas(delta):
                if rows >= FRAME_ROWS:
                    await link.write(frame)
                    frame, rows = changes_pb2.WatchChangesResponse(), 0
                frame.deltas.append(part)
                rows += 1 + len(part.changed.uids) // 4 + len(part.expunged) // 4
        for account_id, modseq in subscription.notices().items():
            frame.accounts.add(account_id=account_id, modseq=modseq)
        await link.write(frame)
        if not subscription.behind:
            await asyncio.sleep(PACE_SECONDS)


HANDLERS: Final[Handlers] = {"WatchChanges": watch_changes}
