"""Uploads and downloads (RFC 8620 sections 6.1 and 6.2)."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable
from typing import Final
from urllib.parse import quote

from aiohttp import web

from services.common.limits import without_slot
from services.http.bodies import check_size, read_body
from services.http.handlers.exchange import Exchange
from services.http.handlers.jmap import json_response, reserve
from services.http.jmap.request import limit
from services.http.mail import names
from services.http.mail.blobs import Found
from services.http.replies import Problem

_Chunks = Callable[[int], AsyncIterator[bytes]]
_TYPE: Final = re.compile(
    r"[A-Za-z0-9!#$&^_.+-]{1,127}/[A-Za-z0-9!#$&^_.+-]{1,127}(?: *; *charset=[\"A-Za-z0-9_.:-]{1,40})?\Z"
)
_RANGE: Final = re.compile(r"bytes=(\d{0,18})-(\d{0,18})\Z", re.ASCII)
OPAQUE: Final = "application/octet-stream"
FOREVER: Final = "private, immutable, max-age=31536000"
"""A blob never changes (RFC 8620 section 6.2)."""
MAX_NAME: Final = 255


def _check_account(exchange: Exchange) -> None:
    """Raises Problem 404: there is but the caller's own account."""
    if exchange.values["account"] != names.account(exchange.known.account_id):
        raise Problem(404, "There is no such account.")


async def upload(exchange: Exchange) -> web.Response:
    """POST /jmap/upload/{account}/."""
    _check_account(exchange)
    caller, request, service = exchange.known, exchange.request, exchange.service
    most = service.configuration.value.store.maxmessagesize
    if request.content_length is not None and request.content_length > most:
        raise limit("maxSizeUpload")
    check_size(request, most)
    size = most if request.content_length is None else request.content_length
    with service.usage.one("maxConcurrentUpload", caller.account_id):
        await reserve(exchange, size)
        try:
            data = await read_body(request, most)
            name = await service.blobs.upload(caller.account_id, data)
        finally:
            service.inflight.release(size)
    kind = request.headers.get("Content-Type", OPAQUE)
    answer = {
        "accountId": exchange.values["account"],
        "blobId": str(name),
        "type": kind if _TYPE.match(kind) else OPAQUE,
        "size": len(data),
    }
    return json_response(answer, 201)


async def download(exchange: Exchange) -> web.StreamResponse:
    """GET /jmap/download/{account}/{blob}/{name}?accept=TYPE."""
    _check_account(exchange)
    service, account_id = exchange.service, exchange.known.account_id
    kind = exchange.request.query.get("accept", OPAQUE)
    if not _TYPE.match(kind):
        raise Problem(400, "accept: a media type is wanted.")
    found = await service.blobs.find(account_id, exchange.values["blob"])
    if found is None:
        raise Problem(404, "There is no such blob.")
    tag = f'"{exchange.values["blob"]}"'
    if exchange.request.headers.get("If-None-Match") == tag:
        return web.Response(status=304, headers={"ETag": tag, "Cache-Control": FOREVER})
    headers = {"ETag": tag, "Accept-Ranges": "bytes", "Cache-Control": FOREVER}
    headers |= {"Content-Type": kind, "Content-Disposition": _disposition(exchange.values["name"])}
    if found.path:
        data = await service.blobs.octets(account_id, found)
        if data is None:
            raise Problem(404, "There is no such blob.")
        return await _send(exchange, headers, len(data), lambda start: _whole(data[start:]))
    return await _send(exchange, headers, found.size, lambda start: _streamed(exchange, found, start))


def _disposition(name: str) -> str:
    """Always to be saved: what is in mail is never shown as a page of ours."""
    clean = "".join(each for each in name[:MAX_NAME] if each.isprintable() and each not in "/\\") or "download"
    plain = "".join(each if each.isascii() and each not in '"%' else "_" for each in clean)
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(clean, safe='')}"


async def _whole(data: bytes) -> AsyncIterator[bytes]:
    yield data


async def _streamed(exchange: Exchange, found: Found, start: int) -> AsyncIterator[bytes]:
    async for chunk in exchange.service.blobs.stream(exchange.known.account_id, found, start):
        yield chunk


async def _send(exchange: Exchange, headers: dict[str, str], size: int, chunks: _Chunks) -> web.StreamResponse:
    """All of it, or the range that is asked for (RFC 9110 section 14)."""
    part = _range(exchange.request.headers.get("Range", ""), size)
    start, stop = part or (0, size)
    response = web.StreamResponse(status=206 if part else 200, headers=headers)
    if part:
        response.headers["Content-Range"] = f"bytes {start}-{stop - 1}/{size}"
    response.content_length = left = stop - start
    await exchange.begin(response)
    if exchange.request.method == "HEAD":
        return response
    async for chunk in chunks(start):
        piece = chunk[:left]
        left -= len(piece)
        async with without_slot():
            await response.write(piece)
        if not left:
            break
    await response.write_eof()
    return response


def _range(text: str, size: int) -> tuple[int, int] | None:
    """First octet, and the one after the last; None for all of it, as other units and several ranges are answered.

    Raises Problem 416.
    """
    match = _RANGE.match(text)
    if match is None or match.groups() == ("", ""):
        return None
    first, last = match.groups()
    start = int(first) if first else max(size - int(last), 0)
    stop = min(int(last) + 1, size) if first and last else size
    if start >= stop:
        raise Problem(416, headers={"Content-Range": f"bytes */{size}"})
    return start, stop
