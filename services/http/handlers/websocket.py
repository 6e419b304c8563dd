"""JMAP over WebSocket (RFC 8887).

Requests of one connection are answered in turn, and changes are told between them. Nothing is compressed: a small
message could grow without measure.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any, Final

from aiohttp import WSCloseCode, WSMsgType, web

from services.common.limits import without_slot
from services.http.callers import came_from_here
from services.http.following import TYPES, Follower
from services.http.handlers.events import PAUSE
from services.http.handlers.exchange import Exchange
from services.http.handlers.jmap import AT_ONCE, answered
from services.http.jmap.methods import KNOWN
from services.http.jmap.request import read_json, request_of
from services.http.jmap.session import MAX_CALLS
from services.http.replies import Problem

PROTOCOL: Final = "jmap"
HEARTBEAT_SECONDS: Final = 60.0


async def talk(exchange: Exchange) -> web.StreamResponse:
    """GET /jmap/ws."""
    request, connection = exchange.request, exchange.connection
    offered = [each.strip() for each in request.headers.get("Sec-WebSocket-Protocol", "").split(",")]
    if request.headers.get("Upgrade", "").lower() != "websocket" or PROTOCOL not in offered:
        raise Problem(426, "A WebSocket of the protocol jmap is wanted.", headers={"Upgrade": "websocket"})
    if exchange.known.login is not None and not came_from_here(request, exchange.secure):
        raise Problem(403, "The request comes from another site.")
    socket = web.WebSocketResponse(
        protocols=(PROTOCOL,),
        heartbeat=HEARTBEAT_SECONDS,
        compress=False,
        max_msg_size=exchange.service.options.maxpostsize,
        timeout=5.0,
    )
    exchange.dress(socket)
    await socket.prepare(request)
    conversation = _Conversation(exchange, socket)
    leave = _leaving(connection.server.loop, socket)
    connection.when_gone(leave)
    try:
        await conversation.run()
    finally:
        connection.forget(leave)
        await conversation.close()
    return socket


def _leaving(loop: asyncio.AbstractEventLoop, socket: web.WebSocketResponse) -> Any:
    """Closes the socket once, when the connection is to end."""
    tasks: list[asyncio.Task[bool]] = []

    def leave() -> None:
        if not tasks and not socket.closed:
            tasks.append(loop.create_task(socket.close(code=WSCloseCode.GOING_AWAY)))

    return leave


class _Conversation:
    """One socket: requests in turn, and what is pushed between them."""

    def __init__(self, exchange: Exchange, socket: web.WebSocketResponse) -> None:
        self._exchange = exchange
        self._socket = socket
        self._pushing: asyncio.Task[None] | None = None

    async def run(self) -> None:
        """Until the client goes. No slot is held while it says nothing."""
        while True:
            async with without_slot():
                message = await self._socket.receive()
            if message.type is WSMsgType.TEXT:
                await self._take(message.data)
            elif message.type is WSMsgType.BINARY:
                # RFC 8887 section 4.3.1: text only.
                await self._socket.close(code=WSCloseCode.UNSUPPORTED_DATA)
            elif message.type in (WSMsgType.CLOSE, WSMsgType.CLOSING, WSMsgType.CLOSED, WSMsgType.ERROR):
                return

    async def close(self) -> None:
        """Nothing more is pushed."""
        if self._pushing is not None:
            self._pushing.cancel()
            await asyncio.gather(self._pushing, return_exceptions=True)
            self._pushing = None

    async def _take(self, text: str) -> None:
        number: Any = None
        try:
            body = text.encode("utf-8", "surrogatepass")
            document = read_json(body) if len(body) <= AT_ONCE else await asyncio.to_thread(read_json, body)
            kind = document.get("@type") if isinstance(document, dict) else None
            if kind == "WebSocketPushEnable":
                await self._enable(document)
            elif kind == "WebSocketPushDisable":
                await self.close()
            else:
                number = document.get("id") if isinstance(document, dict) else None
                await self._answer(document, number, kind)
        except Problem as problem:
            await self._say({"@type": "RequestError", "requestId": number, **json.loads(problem.body)})

    async def _answer(self, document: Any, number: Any, kind: Any) -> None:
        """A request; what it is answered with carries its id (RFC 8887 section 4.3.2)."""
        if kind != "Request" or not isinstance(number, str | None):
            document = None
        asked = request_of(document, KNOWN, MAX_CALLS)
        account_id = self._exchange.known.account_id
        with self._exchange.service.usage.one("maxConcurrentRequests", account_id):
            answer = await answered(self._exchange, asked)
        told = {"requestId": number} if number is not None else {}
        await self._say({"@type": "Response", **told, **answer})

    async def _enable(self, document: Mapping[str, Any]) -> None:
        """Tell changes from now on, or from a state that the client knows (RFC 8887 section 4.3.5)."""
        types, state = document.get("dataTypes"), document.get("pushState")
        known = types is None or (isinstance(types, list) and all(isinstance(each, str) for each in types))
        if not known or not isinstance(state, str | None):
            request_of(None, KNOWN, MAX_CALLS)
        await self.close()
        follower = Follower(self._exchange.service.store, self._exchange.known, TYPES if types is None else types)
        await follower.start(state or "")
        self._pushing = asyncio.get_running_loop().create_task(self._push(follower))

    async def _push(self, follower: Follower) -> None:
        push, wake = self._exchange.service.push, asyncio.Event()
        push.listen(follower.account_id, wake.set)
        try:
            while not self._socket.closed:
                told = await follower.next()
                if told is not None:
                    await self._say({**told, "pushState": follower.position})
                    await asyncio.sleep(PAUSE)
                await wake.wait()
                wake.clear()
        except ConnectionError:
            pass
        finally:
            push.forget(follower.account_id, wake.set)

    async def _say(self, value: Mapping[str, Any]) -> None:
        text = json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace").decode()
        async with without_slot():
            await self._socket.send_str(text)
