"""The store into files, folder by folder, leaving out what an earlier run wrote."""

from __future__ import annotations

import errno
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from services.cli.transfer.importing import Progress
from services.cli.transfer.message import Message, Target
from services.common.domain import (
    KEYWORD_SHIFT,
    SYSTEM_FLAGS,
    Account,
    BodyRef,
    Column,
    MailboxDelta,
    MailboxStatus,
)
from services.common.store import Store

_SYSTEM_MASK = sum(SYSTEM_FLAGS)
_BATCH_BYTES = 8 * 1024 * 1024
_BATCH_MESSAGES = 200


@dataclass(slots=True)
class Tally:
    """What a run did: messages, and folders that were looked at; `skipped` are those whose names no
    file can have.
    """

    exported: int = 0
    present: int = 0
    folders: int = 0
    skipped: list[str] = field(default_factory=list)


class Exporter:
    """Writes an account's mailboxes to a target."""

    def __init__(
        self, store: Store, account: Account, target: Target, progress: Progress, tally: Tally | None = None
    ) -> None:
        self._store = store
        self._account = account.account_id
        self._target = target
        self._progress = progress
        self.tally = tally or Tally()

    async def run(self, wanted: Callable[[str], bool]) -> Tally:
        """Export every mailbox whose name is `wanted`. Raises StoreError, OSError."""
        for status in await self._store.list_mailboxes(self._account):
            if wanted(status.name):
                self.tally.folders += 1
                try:
                    await self._folder(status)
                except BaseException:
                    self._target.abandon()
                    raise
        return self.tally

    async def _folder(self, status: MailboxStatus) -> None:
        delta = await self._store.sync_mailbox(self._account, status.mailbox_id)
        wanted = Column.LOCATION | Column.INTERNALDATE
        columns = await self._store.fetch_columns(self._account, status.mailbox_id, wanted)
        places = dict(zip(columns.uids, zip(columns.locations, columns.internaldates, strict=True), strict=True))
        if not self._begin(status):
            return
        rows = [n for n, uid in enumerate(delta.changed.uids) if uid in places and not self._target.has(uid)]
        self.tally.present += len(places) - len(rows)
        self._progress(status.name, len(places), len(places) - len(rows))
        for batch in _batches(rows, delta, places):
            await self._write(batch, delta, places)
            self._progress(status.name, len(places), len(batch))
        self._target.end()

    def _begin(self, status: MailboxStatus) -> bool:
        """False where the folder's name is longer than a file's may be."""
        try:
            self._target.begin(status.name, status.uidvalidity)
        except OSError as error:
            if error.errno != errno.ENAMETOOLONG:
                raise
            self.tally.skipped.append(status.name)
            return False
        return True

    async def _write(self, batch: list[int], delta: MailboxDelta, places: dict[int, tuple[BodyRef, int]]) -> None:
        uids = [delta.changed.uids[index] for index in batch]
        bodies = await self._store.read_bodies(self._account, [places[uid][0] for uid in uids])
        for index, uid, body in zip(batch, uids, bodies, strict=True):
            self._target.write(uid, _message(body, delta, index, places[uid][1]))
        self.tally.exported += len(batch)


def _batches(rows: list[int], delta: MailboxDelta, places: dict[int, tuple[BodyRef, int]]) -> Sequence[list[int]]:
    """Rows a call at a time, bounded by count and bytes."""
    batches: list[list[int]] = []
    size = 0
    for index in rows:
        length = places[delta.changed.uids[index]][0].length
        if not batches or size + length > _BATCH_BYTES or len(batches[-1]) >= _BATCH_MESSAGES:
            batches.append([])
            size = 0
        batches[-1].append(index)
        size += length
    return batches


def _message(body: bytes, delta: MailboxDelta, index: int, internaldate: int) -> Message:
    flags = delta.changed.flags[index]
    keywords = tuple(
        word for bit, word in enumerate(delta.status.keywords) if word and flags >> (KEYWORD_SHIFT + bit) & 1
    )
    return Message(body, flags & _SYSTEM_MASK, keywords, internaldate)
