"""BodyService."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Final

from mailproto.store.v1 import bodies_pb2
from services.common.domain import AccountId, BodyRef
from services.common.errors import Reason, StoreError
from services.common.storeclient import frames, values
from services.store.servicers.caller import Caller
from services.store.servicers.desk import Desk
from services.store.servicers.method import Handlers

MAX_REFS: Final = 10_000
REPLY_BYTES: Final = 1 << 20
CHUNK: Final = 512 << 10


async def read_bodies(
    desk: Desk, request: bodies_pb2.ReadBodiesRequest, caller: Caller
) -> AsyncIterator[bodies_pb2.ReadBodiesResponse | frames.Serialised]:
    """BodyService.ReadBodies."""
    refs = values.read_body_refs(request.refs)
    if len(refs) > MAX_REFS:
        raise StoreError(Reason.INVALID_ARGUMENT, {"limit": str(MAX_REFS)})
    account_id = AccountId(request.account_id)
    for group in _groups(refs):
        if len(group) == 1 and _size(group[0]) > REPLY_BYTES:
            async for part in _pieces(desk, account_id, group[0]):
                yield part
        else:
            yield frames.bodies(await desk.store.read_bodies(account_id, group))


def _size(ref: BodyRef) -> int:
    return len(ref.prefix) + ref.length


def _groups(refs: Sequence[BodyRef]) -> Iterator[Sequence[BodyRef]]:
    """References in order whose messages fit into one reply; one that is too large for that comes alone."""
    start = size = 0
    for place, ref in enumerate(refs):
        if place > start and size + _size(ref) > REPLY_BYTES:
            yield refs[start:place]
            start, size = place, 0
        size += _size(ref)
    if start < len(refs):
        yield refs[start:]


async def _pieces(desk: Desk, account_id: AccountId, ref: BodyRef) -> AsyncIterator[bodies_pb2.ReadBodiesResponse]:
    done = 0
    async for chunk in desk.store.stream_body(account_id, ref):
        done += len(chunk)
        yield bodies_pb2.ReadBodiesResponse(bodies=[chunk], continued=done < _size(ref))


async def stream_body(
    desk: Desk, request: bodies_pb2.StreamBodyRequest, caller: Caller
) -> AsyncIterator[bodies_pb2.StreamBodyResponse]:
    """BodyService.StreamBody."""
    refs = values.read_body_refs(request.ref)
    if len(refs) != 1 or request.offset > _size(refs[0]):
        raise StoreError(Reason.INVALID_ARGUMENT)
    async for chunk in desk.store.stream_body(AccountId(request.account_id), refs[0], request.offset):
        yield bodies_pb2.StreamBodyResponse(chunk=chunk)


HANDLERS: Final[Handlers] = {"ReadBodies": read_bodies, "StreamBody": stream_body}
