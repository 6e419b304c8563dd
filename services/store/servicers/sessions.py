"""SessionService."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from mailproto.store.v1 import sessions_pb2
from services.common.domain import SessionInfo
from services.common.errors import Reason, StoreError
from services.common.storeclient import values
from services.store.processes import Attached
from services.store.servicers.caller import Caller
from services.store.servicers.desk import Desk
from services.store.servicers.method import Handlers, Link

PAGE: Final = 10_000
_KICKS: Final = 1_000
"""Commands for one process that wait for it to read."""

Frames = Link[sessions_pb2.AttachSessionsRequest, sessions_pb2.AttachSessionsResponse]


async def attach_sessions(desk: Desk, link: Frames, caller: Caller) -> None:
    """SessionService.AttachSessions."""
    kicks: asyncio.Queue[list[str]] = asyncio.Queue(_KICKS)

    def kick(ids: list[str]) -> None:
        if kicks.full():
            raise StoreError(Reason.RESOURCE_EXHAUSTED)
        kicks.put_nowait(ids)

    with desk.processes.attached(caller.process, kick) as attached:
        teller = asyncio.create_task(_tell(link, kicks))
        try:
            await desk.until_over(_listen(link, attached), teller)
        finally:
            teller.cancel()
            await asyncio.gather(teller, return_exceptions=True)


async def _listen(link: Frames, attached: Attached) -> None:
    while (request := await link.read()) is not None:
        opened = [values.read_session(session, attached.process) for session in request.opened]
        attached.update(opened, list(request.closed))


async def _tell(link: Frames, kicks: asyncio.Queue[list[str]]) -> None:
    while True:
        await link.write(sessions_pb2.AttachSessionsResponse(kick=await kicks.get()))


async def list_sessions(
    desk: Desk, request: sessions_pb2.ListSessionsRequest, caller: Caller
) -> sessions_pb2.ListSessionsResponse:
    """SessionService.ListSessions. The token is the process and id of the last session of the page before."""
    if request.page_size < 0:
        raise StoreError(Reason.INVALID_ARGUMENT)
    size = min(request.page_size or PAGE, PAGE)
    after = tuple(request.page_token.split("\n")) if request.page_token else ()
    found = desk.processes.sessions(_matcher(request.filter))
    page = [info for info in found if (info.process, info.session_id) > after][: size + 1]
    token = f"{page[size - 1].process}\n{page[size - 1].session_id}" if len(page) > size else ""
    return sessions_pb2.ListSessionsResponse(
        sessions=[values.session(info) for info in page[:size]], next_page_token=token
    )


async def kick_sessions(
    desk: Desk, request: sessions_pb2.KickSessionsRequest, caller: Caller
) -> sessions_pb2.KickSessionsResponse:
    """SessionService.KickSessions."""
    if not request.filter.ByteSize():
        raise StoreError(Reason.INVALID_ARGUMENT)
    return sessions_pb2.KickSessionsResponse(kicked=desk.processes.kick(_matcher(request.filter)))


def _matcher(wanted: sessions_pb2.SessionFilter) -> Callable[[SessionInfo], bool]:
    """Whether a session has everything that the filter names."""
    names = [(field.name, value) for field, value in wanted.ListFields()]
    return lambda info: all(getattr(info, name) == value for name, value in names)


HANDLERS: Final[Handlers] = {
    "AttachSessions": attach_sessions,
    "ListSessions": list_sessions,
    "KickSessions": kick_sessions,
}
