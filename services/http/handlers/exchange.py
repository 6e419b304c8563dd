"""What a handler is given: the request, its connection, the service, and who asks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from aiohttp import web

from services.http.replies import HSTS, STANDING_HEADERS, Problem

if TYPE_CHECKING:
    from services.http.callers import Caller
    from services.http.connection import HttpConnection
    from services.http.service import HttpService


@dataclass(slots=True)
class Exchange:
    """One request on its way to its answer. `values` are the parts of the path that the route names."""

    request: web.BaseRequest
    connection: HttpConnection
    service: HttpService
    values: Mapping[str, str] = field(default_factory=dict)
    caller: Caller | None = None
    result: str = "ok"
    """The metric's word for how it went: ok, no (refused) or error."""

    @property
    def secure(self) -> bool:
        """Whether TLS protects what is said, wherever it ends."""
        return self.connection.peer.tls

    def dress(self, response: web.StreamResponse) -> None:
        """Put the headers on that every answer has."""
        for header, value in STANDING_HEADERS.items():
            response.headers.setdefault(header, value)
        if self.secure:
            response.headers.setdefault("Strict-Transport-Security", HSTS)

    async def begin(self, response: web.StreamResponse) -> None:
        """Send the head of an answer whose body follows piece by piece."""
        self.dress(response)
        if self.connection.leaving:
            response.force_close()
        await response.prepare(self.request)

    @property
    def known(self) -> Caller:
        """Who asks; the route makes sure that there is somebody."""
        if self.caller is None:
            raise Problem(401)
        return self.caller


def page(content: bytes, policy: str, status: int = 200) -> web.Response:
    """A page for people."""
    return web.Response(
        body=content, status=status, content_type="text/html", charset="utf-8",
        headers={"Content-Security-Policy": policy},
    )  # fmt: skip


def see_other(place: str) -> web.Response:
    """Go there next (303)."""
    return web.Response(status=303, headers={"Location": place})
