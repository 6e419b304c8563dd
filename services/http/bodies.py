"""Reading what a request carries: never more than is wanted, never for longer than it takes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qsl

from aiohttp import web

from services.common.limits import without_slot
from services.http.callers import came_from_here
from services.http.replies import Problem

if TYPE_CHECKING:
    from services.http.connection import HttpConnection

STALL_SECONDS: Final = 60.0
"""How long a body may stand still while it arrives."""
MAX_FORM: Final = 16_384
MAX_FIELDS: Final = 32
FORM: Final = "application/x-www-form-urlencoded"


async def read_body(request: web.BaseRequest, limit: int) -> bytes:
    """The whole body. Raises Problem: 413 before anything is kept of a larger one, 408, 415 for encoded ones."""
    check_size(request, limit)
    await go_on(request)
    parts: list[bytes] = []
    size = 0
    async for chunk in chunks(request):
        size += len(chunk)
        if size > limit:
            raise too_large(limit)
        parts.append(chunk)
    return b"".join(parts)


def check_size(request: web.BaseRequest, limit: int) -> None:
    """Refuse by what the header says. An encoded body could be of any size once decoded: it is not taken."""
    if request.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise Problem(415, "Bodies are taken as they are, without Content-Encoding.", headers={"Accept-Encoding": ""})
    if request.content_length is not None and request.content_length > limit:
        raise too_large(limit)


def too_large(limit: int) -> Problem:
    """413."""
    return Problem(413, f"The request may have {limit} bytes.")


async def go_on(request: web.BaseRequest) -> None:
    """Tell a client that waits for it to send its body (RFC 9110 section 10.1.1)."""
    if request.headers.get("Expect", "").lower() == "100-continue":
        writer = request.writer
        await writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        writer.output_size = 0


async def chunks(request: web.BaseRequest) -> AsyncIterator[bytes]:
    """The body as it arrives; a slot of `maxthreads` is not held meanwhile."""
    content = request.content
    while not content.at_eof():
        async with _arriving():
            chunk = await content.readany()
        if chunk:
            yield chunk


@asynccontextmanager
async def _arriving() -> AsyncIterator[None]:
    try:
        async with without_slot(), asyncio.timeout(STALL_SECONDS):
            yield
    except TimeoutError:
        raise Problem(408, "The request took too long to arrive.") from None


async def read_form(request: web.BaseRequest) -> Mapping[str, str]:
    """The fields of a form; the last of a name counts. Raises Problem."""
    if request.content_type != FORM:
        raise Problem(415, "A form is wanted.")
    body = await read_body(request, MAX_FORM)
    try:
        fields = parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=MAX_FIELDS, errors="strict")
    except ValueError:
        raise Problem(400, "This is no form.") from None
    return dict(fields)


async def read_own_form(request: web.BaseRequest, connection: HttpConnection) -> Mapping[str, str]:
    """A form of one of our pages; those of other sites are refused."""
    if not came_from_here(request, connection.peer.tls):
        raise Problem(403, "The request comes from another site.")
    return await read_form(request)
