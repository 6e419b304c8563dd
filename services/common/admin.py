"""The admin port of a process: `/healthz`, `/readyz`, `/metrics` over HTTP/1.1 (RFC 9112), one request a connection.

It stands on the same connections as the mail protocols, so it is bounded like them: lines, header lines, clients,
seconds. Whoever asks for anything else is told so and closed.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final

from services.common.connection import Answer, Connection
from services.common.farewell import Farewell
from services.common.linebuffer import LineBuffer, LineTooLongError
from services.common.listening import Listener
from services.common.live import Live
from services.common.streamserver import StreamServer, TurnedAway

MAX_LINE: Final = 8192
MAX_HEADERS: Final = 100
CHECK_SECONDS: Final = 2.0
TEXT: Final = "text/plain; charset=utf-8"
METRICS: Final = "text/plain; version=0.0.4; charset=utf-8"
_STATUS: Final[dict[int, str]] = {
    200: "OK",
    400: "Bad Request",
    404: "Not Found",
    405: "Method Not Allowed",
    431: "Request Header Fields Too Large",
    500: "Internal Server Error",
    503: "Service Unavailable",
}

Check = Callable[[], bool | Awaitable[bool]]


@dataclass(frozen=True, slots=True)
class AdminOptions:
    """Fixed: nobody tunes an admin port."""

    maxsessions: int = 64
    maxsessionsperuser: int = 0
    maxsessionsperaddress: int = 0
    maxthreads: int = 16
    logintimeout: int = 10
    idletimeout: int = 1
    writetimeout: int = 10


class Health:
    """Whether the process can serve: named checks, and whether it is on its way up or out."""

    def __init__(self) -> None:
        self.checks: dict[str, Check] = {}
        self.starting = False
        self.draining = False
        self.passing: dict[str, bool] = {}
        """What each check said when it was last asked."""

    async def failing(self) -> list[str]:
        """Names of what is not well, sorted by when they were added; empty when ready."""
        results = await asyncio.gather(*(self._ask(check) for check in self.checks.values()))
        self.passing = dict(zip(self.checks, results, strict=True))
        names = [name for name, result in zip(self.checks, results, strict=True) if not result]
        phases = {"starting": self.starting, "draining": self.draining}
        return [*(phase for phase, now in phases.items() if now), *names]

    async def _ask(self, check: Check) -> bool:
        try:
            result = check()
            if inspect.isawaitable(result):
                result = await asyncio.wait_for(result, CHECK_SECONDS)
        except Exception:
            return False
        return bool(result)


class AdminServer:
    """The port. `page` makes the text of /metrics; it runs in a thread."""

    def __init__(self, health: Health, page: Callable[[], bytes]) -> None:
        self._health = health
        self._page = page
        self._server: StreamServer | None = None

    async def start(self, host: str, port: int) -> None:
        """Listen. Raises OSError."""
        options: Live[Any] = Live(AdminOptions())
        server = StreamServer("admin", lambda at, where: _Request(at, where, self), options, refusals=_REFUSALS)
        await server.listen([Listener(host=host, port=port)])
        self._server = server

    @property
    def port(self) -> int:
        """The port that is listened on, 0 for none."""
        return self._server.addresses[0][2] if self._server is not None else 0

    async def close(self) -> None:
        """Stop listening and cut who is there."""
        if self._server is not None:
            await self._server.close()

    async def healthz(self) -> bytes:
        """The event loop turns: that is all a restart could mend."""
        return _response(200, "ok\n")

    async def readyz(self) -> bytes:
        """Whether clients should be sent here."""
        failing = await self._health.failing()
        return (
            _response(503, "".join(f"{name}: not ready\n" for name in failing)) if failing else _response(200, "ok\n")
        )

    async def metrics(self) -> bytes:
        """What Prometheus scrapes. The checks are asked before, so that what it is told of them is no older."""
        await self._health.failing()
        page = await asyncio.get_running_loop().run_in_executor(None, self._page)
        return _response(200, page, METRICS)


_PAGES: Final[dict[str, Callable[[AdminServer], Awaitable[bytes]]]] = {
    "/healthz": AdminServer.healthz,
    "/readyz": AdminServer.readyz,
    "/metrics": AdminServer.metrics,
}


class _Request(Connection):
    """One client, one request."""

    __slots__ = ("_admin", "_headers", "_lines", "_request")

    def __init__(self, server: StreamServer, listener: Listener, admin: AdminServer) -> None:
        super().__init__(server, listener)
        self._admin = admin
        self._lines = LineBuffer(MAX_LINE)
        self._request: bytes | None = None
        self._headers = 0

    def greeting(self) -> bytes:
        return b""

    def feed(self, data: bytes) -> None:
        self._lines.feed(data)

    def discard(self) -> None:
        self._lines.clear()

    def farewell(self, why: Farewell) -> bytes:
        return b""

    def failure(self, error: Exception) -> bytes:
        self.log.error("admin page failed", error=error)
        return self._last(_response(500, "failed\n"))

    def step(self) -> Answer | None:
        """Take lines until the empty one, then answer."""
        try:
            line = self._lines.next_line()
            while line:
                if self._request is None:
                    self._request = line
                self._headers += 1
                if self._headers > MAX_HEADERS:
                    return self._last(_response(431, "too many header lines\n"))
                line = self._lines.next_line()
        except LineTooLongError:
            return self._last(_response(431, "line too long\n"))
        if line is None:
            return None
        # RFC 9112 section 2.2: an empty line before the request is not one.
        return b"" if self._request is None else self._answer(self._request)

    def _answer(self, request: bytes) -> Answer:
        words = request.decode("latin-1").split(" ")
        if len(words) != 3 or not words[2].startswith("HTTP/1."):
            return self._last(_response(400, "not HTTP/1.1\n"))
        if words[0] not in ("GET", "HEAD"):
            return self._last(_response(405, "GET or HEAD\n"))
        page = _PAGES.get(words[1].partition("?")[0])
        if page is None:
            return self._last(_response(404, "there are /healthz, /readyz and /metrics\n"))
        return self._respond(page, body=words[0] == "GET")

    async def _respond(self, page: Callable[[AdminServer], Awaitable[bytes]], *, body: bool) -> bytes:
        response = await page(self._admin)
        return self._last(response if body else response[: response.index(b"\r\n\r\n") + 4])

    def _last(self, response: bytes) -> bytes:
        self.close()
        return response


def _response(status: int, content: str | bytes, kind: str = TEXT) -> bytes:
    body = content.encode() if isinstance(content, str) else content
    head = (
        f"HTTP/1.1 {status} {_STATUS[status]}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n"
        "Cache-Control: no-store\r\nConnection: close\r\n\r\n"
    )
    return head.encode() + body


_REFUSALS: Final = dict.fromkeys(TurnedAway, _response(503, "busy\n"))
