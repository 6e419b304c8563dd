"""Files into the store, in batches, leaving out what an earlier run brought in."""

from __future__ import annotations

import asyncio
import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from itertools import islice

from services.cli.transfer.message import Folder, Message, Source
from services.common.domain import INBOX, Account, AppendItem, BodyRef, Column, Quota
from services.common.errors import Reason, StoreError
from services.common.requestid import new_request_id
from services.common.store import Store

_BATCH_MESSAGES = 50
_BATCH_BYTES = 4 * 1024 * 1024
_ONE_MESSAGE = {Reason.MESSAGE_TOO_LARGE, Reason.KEYWORD_LIMIT, Reason.KEYWORD_INVALID}

Progress = Callable[[str, int | None, int], None]
"""Told (folder, how many messages it has or None, how many more are done)."""


@dataclass(slots=True)
class Tally:
    """What a run did, in messages; `skipped` are folders whose names no mailbox can have."""

    imported: int = 0
    present: int = 0
    refused: int = 0
    skipped: list[str] = field(default_factory=list)


class Present:
    """The messages of a mailbox by their bytes, each to be matched once.

    The store has a digest of what lies after a message's trace lines (`BodyRef.prefix`), so that part is looked up by
    its digest, under each prefix that the message begins with.
    """

    def __init__(self, refs: Iterable[BodyRef] = ()) -> None:
        self._counts = Counter((ref.prefix, ref.digest) for ref in refs)
        self._lengths = sorted({len(prefix) for prefix, _ in self._counts})
        self._prefixes = {prefix for prefix, _ in self._counts}

    def take(self, body: bytes) -> bool:
        """Whether there is one with these bytes that was not taken yet; it is now."""
        for length in self._lengths:
            prefix = body[:length]
            if prefix not in self._prefixes:
                continue
            key = (prefix, hashlib.blake2b(memoryview(body)[length:], digest_size=32).digest())
            if self._counts[key] > 0:
                self._counts[key] -= 1
                return True
        return False


class Importer:
    """Brings a source's folders into an account.

    A message counts as present when its folder holds one with the same bytes that this run has not matched yet; so a
    repeat makes no duplicates, and two equal messages of the source stay two.
    """

    def __init__(
        self, store: Store, account: Account, quota: Quota, progress: Progress, tally: Tally | None = None
    ) -> None:
        self._store = store
        self._account = account.account_id
        self._quota = quota
        self._progress = progress
        self.tally = tally or Tally()

    async def run(self, source: Source) -> Tally:
        """Import everything. Raises StoreError, OSError, SourceError; what was imported until then stays."""
        folders = source.folders()
        # In a thread: reading may mean waiting for a disk, or for another server.
        while (folder := await asyncio.to_thread(next, folders, None)) is not None:
            await self._folder(folder)
        return self.tally

    async def _folder(self, folder: Folder) -> None:
        try:
            name = await self._ensure(folder.name, folder.subscribed)
        except StoreError as error:
            if error.reason is not Reason.MAILBOX_NAME_INVALID:
                raise
            self.tally.skipped.append(folder.name)
            return
        present = await self._present(name, folder.after)
        self._progress(name, folder.count, 0)
        batches = _batches(folder.messages)
        while batch := await asyncio.to_thread(next, batches, None):
            wanted = [message for message in batch if not present.take(message.body)]
            self.tally.present += len(batch) - len(wanted)
            if wanted:
                await self._append(name, wanted)
            if folder.kept is not None:
                status = await self._store.get_mailbox(self._account, name)
                folder.kept(batch, status.uidvalidity, status.uidnext - 1)
            self._progress(name, folder.count, len(batch))

    async def _ensure(self, name: str, subscribed: bool) -> str:
        name = INBOX if name.upper() == INBOX else name
        try:
            await self._store.create_mailbox(self._account, name)
            await self._store.subscribe(self._account, name, subscribed)
        except StoreError as error:
            if error.reason not in {Reason.MAILBOX_EXISTS, Reason.MAILBOX_PROTECTED}:
                raise
        return name

    async def _present(self, name: str, after: int) -> Present:
        status = await self._store.get_mailbox(self._account, name)
        if not status.messages:
            return Present()
        columns = await self._store.fetch_columns(self._account, status.mailbox_id, Column.LOCATION)
        return Present(ref for uid, ref in zip(columns.uids, columns.locations, strict=True) if uid > after)

    async def _append(self, name: str, messages: list[Message]) -> None:
        """A batch; where one message of it cannot be kept, one by one, so that it does not keep its neighbours out."""
        items = [AppendItem(m.body, m.system, m.keywords, m.internaldate) for m in messages]
        try:
            await self._put(name, items)
        except StoreError as error:
            if error.reason not in _ONE_MESSAGE:
                raise
            for item in items:
                await self._append_one(name, item)

    async def _append_one(self, name: str, item: AppendItem) -> None:
        """Keywords that the mailbox cannot take are left off; a message that is too large is counted as refused."""
        for attempt in (item, replace(item, keywords=())):
            try:
                await self._put(name, [attempt])
                return
            except StoreError as error:
                if error.reason not in _ONE_MESSAGE:
                    raise
        self.tally.refused += 1

    async def _put(self, name: str, items: list[AppendItem]) -> None:
        await self._store.append(self._account, name, items, self._quota, request_id=new_request_id())
        self.tally.imported += len(items)


def _batches(messages: Iterator[Message]) -> Iterator[list[Message]]:
    """Some messages at a time, few where they are large."""
    while batch := list(islice(messages, 1)):
        size = len(batch[0].body)
        while len(batch) < _BATCH_MESSAGES and size < _BATCH_BYTES and (more := next(messages, None)) is not None:
            batch.append(more)
            size += len(more.body)
        yield batch
