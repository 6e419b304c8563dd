"""Blobs by their names: messages, their parts, and what was uploaded (RFC 8620 section 6)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from services.common.domain import BodyRef, Column
from services.common.mime.structure import locate, parse
from services.http.mail.names import BlobName, read_blob
from services.http.mail.parts import content

if TYPE_CHECKING:
    from services.common.bodyreader import BodyReader
    from services.common.domain import AccountId
    from services.common.store import Emails


@dataclass(frozen=True, slots=True)
class Found:
    """Where a blob's octets lie. `path` names the part of the message that it is, () for all of it."""

    ref: BodyRef
    path: tuple[int, ...] = ()

    @property
    def size(self) -> int:
        """Octets of all of it."""
        return len(self.ref.prefix) + self.ref.length


class Blobs:
    """Reads blobs of an account. Raises StoreError."""

    def __init__(self, emails: Emails, bodies: BodyReader) -> None:
        self._emails = emails
        self._bodies = bodies

    async def upload(self, account_id: AccountId, data: bytes) -> BlobName:
        """Keep octets for a day."""
        return BlobName(digest=(await self._emails.upload(account_id, data)).digest)

    async def find(self, account_id: AccountId, text: str) -> Found | None:
        """The blob of that id; None where there is none."""
        name = read_blob(text)
        if name is None:
            return None
        if name.digest:
            refs = await self._emails.find(account_id, [name.digest])
        else:
            refs = (await self._emails.fetch(account_id, [name.content_id], Column.LOCATION)).locations
        return Found(refs[0], name.path) if refs else None

    async def read(self, account_id: AccountId, text: str) -> bytes | None:
        """The octets of a blob; None where there is none."""
        found = await self.find(account_id, text)
        return None if found is None else await self.octets(account_id, found)

    async def octets(self, account_id: AccountId, found: Found) -> bytes | None:
        """The same of one that was found; None where the message has no such part."""
        message = await self._bodies.read(account_id, found.ref)
        if not found.path:
            return message
        part = locate(parse(message), found.path)
        return None if part is None or part.is_multipart else content(message, part)

    def stream(self, account_id: AccountId, found: Found, offset: int) -> AsyncIterator[bytes]:
        """A whole message or upload from `offset` on."""
        return self._bodies.stream(account_id, found.ref, offset)
