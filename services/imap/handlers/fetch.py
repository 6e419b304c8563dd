"""FETCH and UID FETCH (RFC 9051 section 6.4.5)."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Final

from services.common.domain import SEEN, BodyRef, Column, FlagChange, FlagOperation
from services.common.errors import Reason, StoreError
from services.common.mime.section import UnknownEncodingError
from services.imap.answers import stamp
from services.imap.chunk import Chunk
from services.imap.columns import Located
from services.imap.commands import Fetch
from services.imap.handlers.messages import EXPUNGE_ISSUED, spans_of
from services.imap.portions import batches, by_size, portions
from services.imap.rendering import PIECE_BYTES, Plan, plan_for
from services.imap.session import Answer, Refused, Session
from services.imap.view import Spans, View

AT_ONCE: Final = PIECE_BYTES
"""Answers up to this size are made and written in one go, without a task."""
STREAMED: Final = 1 << 20
"""Messages above this size are sent as they are read."""
DONE: Final = b"FETCH completed"
UNKNOWN_ENCODING: Final = (b"The part's encoding is not known", b"UNKNOWN-CTE")
"""RFC 3516 section 4.3."""


def fetch(session: Session, command: Fetch) -> Answer:
    """From what is known, at once where that is enough; else the missing columns or bodies are read first."""
    view = session.selected.view
    spans = spans_of(view, command.messages, uid=command.uid)
    attributes = command.attributes
    if attributes.sets_seen and not view.read_only and (unseen := _unseen(view, spans)):
        return _fetch_and_mark(session, command, spans, unseen)
    plan = plan_for(attributes, uid=command.uid)
    try:
        answer = _at_once(session, view, plan, spans)
    except UnknownEncodingError:
        raise Refused(*UNKNOWN_ENCODING) from None
    if answer is not None:
        return answer + session.ok(DONE)
    return _fetch(session, plan, spans)


# ---- at once
def _at_once(session: Session, view: View, plan: Plan, spans: Spans) -> bytes | None:
    """The whole answer, or None when something must be awaited."""
    if not spans:
        return b""
    service = session.service
    if service.answers.concerns(view, plan, spans):
        kept = service.answers.find(view, plan)
        return b"".join(kept.pieces) if kept is not None and kept.size <= AT_ONCE else None
    places = next(batches(spans, plan.rows))
    if len(places) < sum([stop - start for start, stop in spans]):
        return None
    chunk = Chunk(view, places)
    if not chunk.take(plan.kinds) or (plan.bodies and not _read_now(session, chunk, plan.sections)):
        return None
    if plan.texts and plan.size(chunk) > AT_ONCE:
        return None
    service.columns.touch(view.shared, plan.kinds)
    return plan.render(chunk)


def _read_now(session: Session, chunk: Chunk, sections: int) -> bool:
    """Take the messages along where they are in memory and few bytes, each counted as often as it is asked for."""
    read_now = session.service.bodies.read_now
    left = AT_ONCE // sections
    for ref, _ in chunk.values[Column.LOCATION]:
        left -= ref.length
        body = read_now(ref) if left >= 0 else None
        if body is None:
            return False
        chunk.bodies.append(body)
    return True


# ---- \Seen
def _unseen(view: View, spans: Spans) -> list[int]:
    if len(spans) == 1 and spans[0][1] - spans[0][0] == 1:
        uid = view.uids[spans[0][0]]
        return [] if view.flags_of(uid) & SEEN else [uid]
    return [uid for uid in view.uids_of(spans) if not view.flags_of(uid) & SEEN]


async def _fetch_and_mark(session: Session, command: Fetch, spans: Spans, unseen: list[int]) -> bytes:
    """\\Seen is set for all of them by one call, and told in the same responses as what set it.

    Where some of these are not sent, it is told like a change of another session.
    """
    view = session.selected.view
    result = await session.service.flags.modify(view.shared, unseen, FlagChange(FlagOperation.ADD, SEEN))
    view.own.update(zip(result.rows.uids, result.rows.modseqs, strict=True))
    try:
        return await _fetch(session, plan_for(command.attributes, uid=command.uid, flags=True), spans)
    except (Refused, StoreError):
        view.own.clear()
        raise


# ---- piece by piece
async def _fetch(session: Session, plan: Plan, spans: Spans) -> bytes:
    """Written in pieces; the client's reading sets the pace."""
    view = session.selected.view
    writer = _Writer(session, view, plan)
    try:
        if session.service.answers.concerns(view, plan, spans):
            await writer.write_whole(spans)
        else:
            await writer.write(spans)
    except UnknownEncodingError:
        writer.undecodable = True
    if writer.undecodable:
        raise Refused(*UNKNOWN_ENCODING)
    if writer.damaged:
        raise StoreError(Reason.STORAGE_CORRUPT)
    if writer.lost:
        raise Refused(b"Some messages are gone", EXPUNGE_ISSUED)
    return session.ok(DONE)


@dataclass(slots=True)
class _Writer:
    """One long answer. `lost`: messages were expunged elsewhere before what was asked of them could be read;
    `damaged`: some cannot be read at all, and are left out; `undecodable`: parts whose encoding is not known.
    """

    session: Session
    view: View
    plan: Plan
    lost: bool = False
    damaged: bool = False
    undecodable: bool = False
    kept: list[bytes] | None = None

    async def write_whole(self, spans: Spans) -> None:
        """An answer for the whole mailbox, which others may want, too."""
        answers = self.session.service.answers
        found = answers.find(self.view, self.plan)
        if found is not None:
            for piece in found.pieces:
                await self._send(piece)
            return
        made_at = stamp(self.view, self.plan)
        self.kept = []
        await self.write(spans)
        if self.kept is not None and not self.lost:
            answers.keep(self.view, self.plan, made_at, self.kept)

    async def write(self, spans: Spans) -> None:
        """An answer for some messages."""
        for places in batches(spans, self.plan.rows):
            for chunk in portions(self.plan, await self._loaded(places)):
                if self.plan.bodies:
                    await self._write_bodies(chunk)
                else:
                    await self._write_group(chunk)

    async def _send(self, piece: bytes) -> None:
        if self.kept is not None:
            self.kept.append(piece)
            if not self.session.service.cache.admits(sum(map(len, self.kept))):
                self.kept = None
        self.session.wire.write(piece)
        await self.session.wire.drain()

    async def _loaded(self, places: range | list[int]) -> Chunk:
        chunk = Chunk(self.view, places)
        columns, shared = self.session.service.columns, self.view.shared
        columns.touch(shared, self.plan.kinds)
        if not chunk.take(self.plan.kinds):
            await columns.load(shared, self.plan.columns, chunk.uids)
            if not chunk.take(self.plan.kinds):
                chunk = chunk.without_lost()
                self.lost = True
        return chunk

    async def _write_bodies(self, chunk: Chunk) -> None:
        """Messages in groups of some hundred KiB; the next group is read while the client takes the last one."""
        located: Sequence[Located] = chunk.values[Column.LOCATION]
        ahead: Reading | None = None
        try:
            sizes = [length(ref) * self.plan.sections for ref, _ in located]
            groups = list(by_size(sizes, alone=STREAMED if self.plan.head else None))
            for number, (start, stop) in enumerate(groups):
                part = chunk.part(start, stop)
                reading, ahead = ahead or self._read(located[start:stop]), None
                if reading is None:
                    await self._stream(part)
                    continue
                part = await self._with_bodies(part, reading)
                if number + 1 < len(groups):
                    following = groups[number + 1]
                    ahead = self._read(located[following[0] : following[1]])
                await self._write_group(part)
        finally:
            if isinstance(ahead, asyncio.Task):
                ahead.cancel()

    async def _write_group(self, part: Chunk) -> None:
        plan = self.plan
        if len(part) == 1 and not plan.head and plan.size(part) > PIECE_BYTES:
            await self._write_apart(part)
        elif len(part):
            await self._send(plan.render(part))

    async def _write_apart(self, part: Chunk) -> None:
        """One message of which much is asked: an attribute at a time, made where it holds nobody up.

        Half of the response may have been sent when a part turns out to be one that cannot be decoded: that is said
        at the end.
        """
        loop, opening = asyncio.get_running_loop(), b"* %d FETCH (" % (part.places[0] + 1)
        for piece in self.plan.pieces:
            made = piece.render(part) if piece.flags else await loop.run_in_executor(None, piece.render, part)
            text = opening + made
            opening = b" "
            for start in range(0, len(text), PIECE_BYTES):
                await self._send(text[start : start + PIECE_BYTES])
        await self._send(b")\r\n")
        self.undecodable = self.undecodable or part.undecodable

    async def _with_bodies(self, part: Chunk, reading: Reading) -> Chunk:
        """The group with its messages, but for those that are damaged."""
        try:
            part.bodies = list(await reading) if isinstance(reading, asyncio.Task) else reading
        except StoreError as error:
            if error.reason is not Reason.STORAGE_CORRUPT:
                raise
            self.damaged = True
            return await self._sound(part)
        return part

    async def _sound(self, part: Chunk) -> Chunk:
        """Those messages of a group that can be read, one by one."""
        found: dict[int, bytes] = {}
        for index, (ref, _) in enumerate(part.values[Column.LOCATION]):
            try:
                (found[index],) = await _read_many(self.session, [ref])
            except StoreError as error:
                if error.reason is not Reason.STORAGE_CORRUPT:
                    raise
        sound = part.only(list(found))
        sound.bodies = list(found.values())
        return sound

    def _read(self, located: Sequence[Located]) -> Reading | None:
        """The messages, or a task that reads them; None for a single one that is to be streamed."""
        if len(located) == 1 and self.plan.head and length(located[0][0]) > STREAMED:
            return None
        bodies = self.session.service.bodies
        found = []
        for ref, _ in located:
            body = bodies.read_now(ref)
            if body is None:
                return asyncio.ensure_future(_read_many(self.session, [ref for ref, _ in located]))
            found.append(body)
        return found

    async def _stream(self, chunk: Chunk) -> None:
        """One large message, a piece in memory at a time."""
        wire, plan = self.session.wire, self.plan
        ((ref, _),) = chunk.values[Column.LOCATION]
        cells = [values(chunk)[0] for values in plan.values[:-2]]
        head = plan.head % (chunk.places[0] + 1, *cells, length(ref))
        try:
            async with aclosing(self.session.service.bodies.stream(self.view.shared.account_id, ref)) as pieces:
                async for piece in pieces:
                    wire.write(head + piece.replace(b"\0", b"\x80"))
                    head = b""
                    await wire.drain()
        except StoreError as error:
            if not head:
                # Half a literal was sent: only the end of the connection tells the client that it is not a whole one.
                wire.abort()
            if not head or error.reason is not Reason.STORAGE_CORRUPT:
                raise
            self.damaged = True
            return
        wire.write(b")\r\n")


Reading = list[bytes] | asyncio.Task[Sequence[bytes]]


def _read_many(session: Session, refs: list[BodyRef]) -> Coroutine[Any, Any, Sequence[bytes]]:
    reading: Coroutine[Any, Any, Sequence[bytes]] = session.service.bodies.read_many(session.account.account_id, refs)
    return reading


def length(ref: BodyRef) -> int:
    """Bytes of the message as clients see it."""
    return ref.length + len(ref.prefix)
