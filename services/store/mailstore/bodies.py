"""Reading bodies by reference, for their own account only."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Sequence
from typing import Final, cast

from services.common.domain import AccountId, BodyRef
from services.common.errors import Reason, StoreError
from services.store.backends import BodyStore, Database, Location, Transaction
from services.store.mailstore import contents

CHUNK: Final = 512 * 1024
PLACES: Final = 65_536
"""Places of bodies that are remembered."""
_AT_ONCE: Final = 16

Name = tuple[AccountId, bytes]


class Bodies:
    """Looks up where an account's body lies, so that nobody reads what is not theirs, and reads it.

    What a reference says of the place is not trusted: the digest must be one of the account's. Places are remembered;
    one that compaction has given up is looked up again.
    """

    def __init__(self, database: Database, store: BodyStore) -> None:
        self._database = database
        self._store = store
        self._places: OrderedDict[Name, Location] = OrderedDict()

    async def read_many(self, account_id: AccountId, refs: Sequence[BodyRef]) -> list[bytes]:
        """Whole messages, in order."""
        found = [self._read_now(account_id, ref) for ref in refs]
        missing = [place for place, body in enumerate(found) if body is None]
        if missing:
            await self._locate(account_id, {refs[place].digest for place in missing})
        for start in range(0, len(missing), _AT_ONCE):
            chunk = missing[start : start + _AT_ONCE]
            bodies = await asyncio.gather(*(self._read(account_id, refs[place], 0, None) for place in chunk))
            for place, body in zip(chunk, bodies, strict=True):
                found[place] = body
        return [ref.prefix + body for ref, body in zip(refs, cast("list[bytes]", found), strict=True)]

    def _read_now(self, account_id: AccountId, ref: BodyRef) -> bytes | None:
        """What a task would cost more for than it is worth."""
        location = self._places.get((account_id, ref.digest))
        return None if location is None else self._store.read_now(location, ref.digest)

    async def read_each(self, account_id: AccountId, refs: Sequence[BodyRef]) -> list[bytes | None]:
        """The same, with None for a message that is gone or damaged."""
        await self._locate(account_id, {ref.digest for ref in refs}, required=False)
        return await asyncio.gather(*(self._read_or_none(account_id, ref) for ref in refs))

    async def _read_or_none(self, account_id: AccountId, ref: BodyRef) -> bytes | None:
        try:
            return ref.prefix + await self._read(account_id, ref, 0, None)
        except StoreError as error:
            if error.reason not in (Reason.MESSAGE_NOT_FOUND, Reason.STORAGE_CORRUPT):
                raise
            return None

    async def stream(self, account_id: AccountId, ref: BodyRef, offset: int) -> AsyncIterator[bytes]:
        """One message from `offset` on; nothing, not even the prefix, of one whose body is damaged."""
        if offset < 0:
            raise StoreError(Reason.INVALID_ARGUMENT)
        await self._locate(account_id, {ref.digest})
        prefix = ref.prefix[offset:]
        position = max(offset - len(ref.prefix), 0)
        while position < ref.length:
            chunk = await self._read(account_id, ref, position, CHUNK)
            if not chunk:
                raise StoreError(Reason.STORAGE_CORRUPT)
            yield prefix + chunk
            prefix = b""
            position += len(chunk)
        if prefix:
            yield prefix

    async def _read(self, account_id: AccountId, ref: BodyRef, offset: int, length: int | None) -> bytes:
        location = self._places.get((account_id, ref.digest))
        if location is not None:
            try:
                return await self._store.read(location, ref.digest, offset, length)
            except StoreError as error:
                if error.reason is not Reason.MESSAGE_NOT_FOUND:
                    raise
            self._places.pop((account_id, ref.digest), None)
        await self._locate(account_id, {ref.digest})
        return await self._store.read(self._places[account_id, ref.digest], ref.digest, offset, length)

    async def _locate(self, account_id: AccountId, digests: set[bytes], *, required: bool = True) -> None:
        """Make the places known. Raises MESSAGE_NOT_FOUND where they are required."""
        unknown = [digest for digest in digests if (account_id, digest) not in self._places]
        if not unknown:
            return

        async def rule(tx: Transaction) -> list[Location | None]:
            return [await contents.locate(tx, account_id, digest) for digest in unknown]

        for digest, location in zip(unknown, await self._database.read(rule), strict=True):
            if location is not None:
                self._remember((account_id, digest), location)
            elif required:
                raise StoreError(Reason.MESSAGE_NOT_FOUND)

    def _remember(self, name: Name, location: Location) -> None:
        self._places[name] = location
        while len(self._places) > PLACES:
            self._places.popitem(last=False)
