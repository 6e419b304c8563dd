"""One HTTP connection: aiohttp reads its requests and writes its answers, on the connections of all our protocols.

Admission, filters, limits, clocks, `mailkeep who` and `kick`, traffic and the drain are those of
`services.common.connection`; aiohttp sees `Outlet` in place of the transport. The clocks: LOGIN from the first byte of
a request until its header is complete, none while it is handled (whoever reads its body has a clock of his own), IDLE
between requests, the write clock while the client does not read.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from typing import TYPE_CHECKING, Any, Final, Protocol, cast

from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from services.common.channel import CLOSING, LOST, RUNNING
from services.common.connection import Answer, Connection
from services.common.farewell import Clock, Farewell
from services.common.peer import Forwarded
from services.common.telemetry import SESSION
from services.http.replies import STANDING_HEADERS, problem_bytes, turned_away

if TYPE_CHECKING:
    from services.common.door import TurnedAway
    from services.common.listening import Listener
    from services.common.streamserver import StreamServer

MAX_LINE: Final = 8_190
"""Bytes of a request line, and of one header field."""
MAX_HEADERS: Final = 64
READ_BUFFER: Final = 65_536
LINGER_SECONDS: Final = 2.0
"""How long the rest of a body that was refused is read and dropped, so that the answer arrives."""
HANDLED_SECONDS: Final = 86_400.0
"""While a request is handled no clock of the connection's runs; it is looked at again after so long."""
_LOG: Final = logging.getLogger("mailkeep.aiohttp")
_TOO_SLOW: Final = turned_away(408, "The request took too long to arrive.")


class Handling(Protocol):
    """What answers requests: `services.http.routes.Router`."""

    async def answer(self, request: web.BaseRequest, connection: HttpConnection) -> web.StreamResponse:
        """The answer, whatever happens inside."""


class HttpConnection(Connection):
    """One client."""

    __slots__ = ("_before", "_gone", "_handling", "_requests", "_talk", "_verdict")

    forwards = True

    def __init__(self, server: StreamServer, listener: Listener, handling: Handling) -> None:
        super().__init__(server, listener)
        self._handling = handling
        self._talk: _Talk | None = None
        self._before = b""
        self._requests = 0
        self._verdict: TurnedAway | None = None
        self._gone: set[Callable[[], None]] = set()

    # ---- as Connection wants it -------------------------------------------------------------------------------------
    def greeting(self) -> bytes:
        """Nothing is said: the client begins. From now on aiohttp reads what it says."""
        self._talk = _Talk(self)
        self._talk.connection_made(Outlet(self))
        if self._before:
            self.server.loop.call_soon(self._feed_held)
        else:
            self.set_clock(Clock.LOGIN)
        return b""

    def feed(self, data: bytes) -> None:
        """Not asked for: `data_received` is its own."""

    def step(self) -> Answer | None:
        """Not asked for."""
        return None

    def failure(self, error: Exception) -> bytes:
        """Not asked for: the router answers every fault."""
        return b""

    def discard(self) -> None:
        """There is no STARTTLS."""

    def farewell(self, why: Farewell) -> bytes:
        """A request that never became whole is told so; an idle connection is closed without a word."""
        return _TOO_SLOW if why is Farewell.LOGIN and self._requests == 0 and self.received else b""

    def ended(self) -> None:
        """The client is gone."""
        self._tell_gone()

    def dismiss(self, why: Farewell) -> None:
        """Let the connection end; streams to the client end now."""
        super().dismiss(why)
        self._tell_gone()

    def at_rest(self) -> bool:
        """Whether no request has begun to arrive."""
        return self._clock is Clock.IDLE or not self.received

    # ---- for handlers -----------------------------------------------------------------------------------------------
    @property
    def leaving(self) -> bool:
        """Whether the connection is to end, or has ended."""
        return self._goodbye is not None or bool(self._state & (LOST | CLOSING))

    def when_gone(self, call: Callable[[], None]) -> None:
        """Call once the client is gone or the connection is to end; for answers that go on for long."""
        self._gone.add(call)

    def forget(self, call: Callable[[], None]) -> None:
        """Do not call it any more."""
        self._gone.discard(call)

    async def comes_from(self, client: Forwarded | None) -> TurnedAway | None:
        """A trusted proxy says whose request this is (None: its own); why it may not be answered, or None.

        A proxy carries the requests of many on one connection: who is judged is the client of the last one.
        """
        named = client or self.speaks_for_itself()
        if named != self.forwarded or self.unjudged:
            self._believe(named)
            self.unjudged, self.ends = False, None
            self._verdict = await self.server.rejudge(self)
        return self._verdict

    def belongs_to(self, user: str) -> bool:
        """The connection is used by `user` now; False where the account has as many as it may."""
        return self.user == user or self.admit_again(user)

    def admit_again(self, user: str) -> bool:
        """A connection may change hands: a proxy carries requests of many."""
        server = self.server
        if not server.registry.authenticated(self.session_id, user, server.options.value.maxsessionsperuser):
            server.observer.login(server.service, "sessions")
            self.log.warning("request refused", why="sessions", name=user)
            return False
        self.user = user
        return True

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """One request from its header to the end of its answer's head; aiohttp sends what remains."""
        self._requests += 1
        self._state |= RUNNING
        self._deadline = self.server.wheel.now + HANDLED_SECONDS
        SESSION.set(self)
        try:
            response = await self._handling.answer(request, self)
        finally:
            self._state &= ~RUNNING
            self.set_clock(Clock.IDLE)
        if self._goodbye is not None:
            response.force_close()
        return response

    def rested(self) -> None:
        """An answer was written whole: a good moment to leave where that is due."""
        self._leave_if_possible()

    # ---- asyncio.Protocol -------------------------------------------------------------------------------------------
    def data_received(self, data: bytes) -> None:
        """Input, for aiohttp; before the client is let in it waits."""
        self.received += len(data)
        self.server.traffic.received += len(data)
        if self._state & CLOSING:
            self._set_aside(data)
        elif self._talk is None:
            self._before += data
            self._pause_reading()
        else:
            self._take_input(data)

    def eof_received(self) -> bool:
        """The client says no more; what it asked already is answered (RFC 9112 section 9.6)."""
        self._eof = True
        if self.at_rest():
            self._leave_if_possible()
        return not self.encrypted and not self._state & CLOSING

    def pause_writing(self) -> None:
        """The client does not read."""
        super().pause_writing()
        if self._talk is not None:
            self._talk.pause_writing()

    def resume_writing(self) -> None:
        """It does again."""
        super().resume_writing()
        if self._talk is not None:
            self._talk.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        """The client is gone."""
        super().connection_lost(exc)
        if self._talk is not None:
            self._talk.connection_lost(exc)
        self._tell_gone()

    # ---- for the outlet ---------------------------------------------------------------------------------------------
    def hang_up(self) -> None:
        """aiohttp wants no more of this client: deliver what was written and close."""
        if not self._state & (CLOSING | LOST):
            self._close(linger=self._reading and not self.encrypted)

    def read_on(self, wanted: bool) -> None:
        """aiohttp's flow control of what the client sends."""
        if not wanted:
            self._pause_reading()
        elif not self._reading and not self._state & LOST:
            self._reading = True
            cast("asyncio.ReadTransport", self._transport).resume_reading()

    def underneath(self) -> asyncio.Transport:
        """The transport itself."""
        return cast("asyncio.Transport", self._transport)

    # ---- inside -----------------------------------------------------------------------------------------------------
    def _pump(self) -> None:
        """aiohttp decides by itself when it goes on."""

    def _take_input(self, data: bytes) -> None:
        if self._clock is Clock.IDLE and not self._state & RUNNING:
            self.set_clock(Clock.LOGIN)
        if self._talk is not None:
            self._talk.data_received(data)

    def _feed_held(self) -> None:
        held, self._before = self._before, b""
        if not self._state & (CLOSING | LOST):
            self.read_on(True)
            self._take_input(held)

    def _tell_gone(self) -> None:
        for call in tuple(self._gone):
            call()


class _Manager:
    """What aiohttp's protocol wants to know of its server."""

    handler_cancellation = False
    requests_count = 0

    def __init__(self, connection: HttpConnection) -> None:
        self._connection = connection
        self.request_handler: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]] = connection.handle
        self.request_factory = self._request

    def connection_made(self, handler: RequestHandler, transport: asyncio.Transport) -> None:
        """Nothing: our own server counts."""

    def connection_lost(self, handler: RequestHandler, exc: BaseException | None = None) -> None:
        """Nothing."""

    def _request(self, message: Any, payload: Any, protocol: Any, writer: Any, task: Any) -> web.BaseRequest:
        return web.BaseRequest(message, payload, protocol, writer, task, self._connection.server.loop)


class _Talk(RequestHandler):
    """aiohttp's half of the connection, with our own words for what is no HTTP."""

    __slots__ = ("_ours",)

    def __init__(self, connection: HttpConnection) -> None:
        self._ours = connection
        super().__init__(
            cast("web.Server", _Manager(connection)),
            loop=connection.server.loop,
            keepalive_timeout=0,
            tcp_keepalive=False,
            logger=_LOG,
            access_log=cast("logging.Logger", None),
            max_line_size=MAX_LINE,
            max_field_size=MAX_LINE,
            max_headers=MAX_HEADERS,
            lingering_time=LINGER_SECONDS,
            read_bufsize=READ_BUFFER,
            auto_decompress=False,
        )

    def _process_keepalive(self) -> None:
        """The wheel has the clocks."""
        self._keepalive_handle = None

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """Send what remains of an answer."""
        result = await super().finish_response(request, resp, start_time)
        self._ours.server.loop.call_soon(self._ours.rested)
        return result

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """What came is no HTTP/1.1 (400); faults of ours never come this far."""
        if status >= 500 and not isinstance(exc, ConnectionError):
            self._ours.log.error("request failed", error=exc)
        if request.writer.output_size > 0:
            raise ConnectionResetError
        title = "This is no HTTP request." if status < 500 else "The request failed."
        response = web.Response(status=status, body=problem_bytes(status, title), headers=STANDING_HEADERS)
        response.content_type = "application/problem+json"
        response.force_close()
        return response


class Outlet(asyncio.Transport):
    """The transport as aiohttp sees it."""

    __slots__ = ("_connection",)

    def __init__(self, connection: HttpConnection) -> None:
        self._connection = connection

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Counted and bounded by the connection."""
        self._connection.write(bytes(data))

    def writelines(self, list_of_data: Iterable[bytes | bytearray | memoryview]) -> None:
        """Together."""
        self._connection.write(b"".join(list_of_data))

    def close(self) -> None:
        """Once everything is delivered."""
        self._connection.hang_up()

    def abort(self) -> None:
        """At once."""
        self._connection.abort()

    def is_closing(self) -> bool:
        """Whether it is to be closed."""
        return self._connection.underneath().is_closing()

    def can_write_eof(self) -> bool:
        """Half-closed connections are not used by HTTP."""
        return False

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Of the transport itself."""
        return self._connection.underneath().get_extra_info(name, default)

    def get_write_buffer_size(self) -> int:
        """Bytes that the client has not taken yet."""
        return self._connection.underneath().get_write_buffer_size()

    def pause_reading(self) -> None:
        """Until `resume_reading`."""
        self._connection.read_on(False)

    def resume_reading(self) -> None:
        """Read on."""
        self._connection.read_on(True)
