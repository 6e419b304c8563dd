"""Push by server-sent events (RFC 8620 section 7.3)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Collection
from typing import Final

from aiohttp import web

from services.common.limits import without_slot
from services.http.following import TYPES, Follower
from services.http.handlers.exchange import Exchange
from services.http.replies import Problem

MIN_PING: Final = 30
MAX_PING: Final = 300
PAUSE: Final = 0.1
"""Between two events: what happens meanwhile goes as one."""


async def stream(exchange: Exchange) -> web.StreamResponse:
    """GET /jmap/eventsource."""
    query = exchange.request.query
    types = _types(query.get("types", "*"))
    close_after = query.get("closeafter", "no")
    if close_after not in ("no", "state"):
        raise Problem(400, "closeafter is state or no.")
    ping = _ping(query.get("ping", "0"))
    follower = Follower(exchange.service.store, exchange.known, types)
    await follower.start(exchange.request.headers.get("Last-Event-ID", ""))
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "X-Accel-Buffering": "no"})
    await exchange.begin(response)
    if exchange.request.method == "HEAD":
        return response
    async with without_slot():
        await _tell(exchange, response, follower, ping, once=close_after == "state")
    response.force_close()
    return response


def _types(text: str) -> Collection[str]:
    if text == "*":
        return TYPES
    found = text.split(",")
    # Types of others may be asked for; they never change here (RFC 8620 section 7.3).
    if not all(each.isascii() and each.isalnum() for each in found):
        raise Problem(400, "types: names with commas between them, or *.")
    return found


def _ping(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise Problem(400, "ping is a number of seconds.")
    return min(max(int(text), MIN_PING), MAX_PING) if int(text) else 0


async def _tell(exchange: Exchange, response: web.StreamResponse, follower: Follower, ping: int, *, once: bool) -> None:
    connection, push = exchange.connection, exchange.service.push
    wake = asyncio.Event()
    connection.when_gone(wake.set)
    push.listen(follower.account_id, wake.set)
    try:
        while not connection.leaving:
            told = await follower.next()
            if told is not None:
                data = json.dumps(told)
                await response.write(f"event: state\nid: {follower.position}\ndata: {data}\n\n".encode())
                if once:
                    return
                await asyncio.sleep(PAUSE)
            if not await _woken(wake, ping):
                await response.write(b'event: ping\ndata: {"interval":%d}\n\n' % ping)
    finally:
        push.forget(follower.account_id, wake.set)
        connection.forget(wake.set)


async def _woken(wake: asyncio.Event, ping: int) -> bool:
    """Wait until something may have happened; False where it is time for a ping first."""
    try:
        async with asyncio.timeout(ping or None):
            await wake.wait()
    except TimeoutError:
        return False
    wake.clear()
    return True
