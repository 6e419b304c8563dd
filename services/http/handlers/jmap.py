"""The session object, and requests (RFC 8620 sections 2 and 3)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any, Final

from aiohttp import web

from services.common.limits import without_slot
from services.http.bodies import check_size, read_body
from services.http.credentials import is_host
from services.http.handlers.exchange import Exchange
from services.http.jmap.methods import KNOWN
from services.http.jmap.request import Request, limit, read_request
from services.http.jmap.run import run
from services.http.jmap.session import MAX_CALLS, session_object, session_state
from services.http.jmap.work import Work
from services.http.mail import names
from services.http.replies import Problem, unavailable

JSON: Final = "application/json"
AT_ONCE: Final = 128 << 10
"""Octets of a request that are read in the event loop; larger ones in a thread."""
WAIT_SECONDS: Final = 30.0
"""How long a request waits for memory."""


def json_response(value: Mapping[str, Any], status: int = 200) -> web.Response:
    """JSON in UTF-8."""
    body = json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")
    return web.Response(body=body, status=status, content_type=JSON)


def limits(exchange: Exchange) -> Mapping[str, int]:
    """What the session object says of sizes, as it is now."""
    configuration = exchange.service.configuration.value
    return {
        "maxSizeRequest": configuration.http.maxpostsize,
        "maxSizeUpload": configuration.store.maxmessagesize,
    }


def base_of(exchange: Exchange) -> str:
    """Where the client found us; "" where it does not say."""
    host = exchange.request.headers.get("Host", "")
    return f"{'https' if exchange.secure else 'http'}://{host}" if is_host(host) else ""


async def session(exchange: Exchange) -> web.Response:
    """GET /.well-known/jmap."""
    caller = exchange.known
    account = names.account(caller.account_id)
    response = json_response(session_object(caller.name, account, base_of(exchange), limits(exchange)))
    response.headers["Cache-Control"] = "no-cache, no-store, must-revalidate"
    return response


async def api(exchange: Exchange) -> web.Response:
    """POST /jmap."""
    caller, request, service = exchange.known, exchange.request, exchange.service
    if request.content_type != JSON:
        raise Problem(415, "A request is application/json.")
    most = service.options.maxpostsize
    size = min(request.content_length if request.content_length is not None else most, most)
    with service.usage.one("maxConcurrentRequests", caller.account_id):
        _check_request_size(exchange, most)
        await reserve(exchange, size)
        try:
            answer = await answered(exchange, await _read(await read_body(request, most)))
        finally:
            service.inflight.release(size)
    return json_response(answer)


async def answered(exchange: Exchange, asked: Request) -> dict[str, Any]:
    """The response object of a request."""
    caller = exchange.known
    state = session_state(caller.name, names.account(caller.account_id), limits(exchange))
    return await run(Work(exchange.service, caller), asked, state, exchange.connection.server.observer)


async def reserve(exchange: Exchange, size: int) -> None:
    """Take memory for what arrives; no slot is held meanwhile. Raises Problem 503."""
    async with without_slot():
        if not await exchange.service.inflight.reserve(size, WAIT_SECONDS):
            raise unavailable()


async def _read(body: bytes) -> Request:
    if len(body) <= AT_ONCE:
        return read_request(body, KNOWN, MAX_CALLS)
    return await asyncio.to_thread(read_request, body, KNOWN, MAX_CALLS)


def _check_request_size(exchange: Exchange, most: int) -> None:
    """Raises Problem: the limit by its name (RFC 8620 section 3.6.1)."""
    length = exchange.request.content_length
    if length is not None and length > most:
        raise limit("maxSizeRequest")
    check_size(exchange.request, most)
