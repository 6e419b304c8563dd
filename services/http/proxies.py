"""Requests that trusted proxies pass on: whose they are, and whether that client may connect."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final

from aiohttp import web

from services.common.access.httpforwarding import (
    FORWARDED,
    X_FORWARDED,
    Element,
    forwarded_elements,
    read_client,
    x_forwarded_elements,
)
from services.common.door import TurnedAway
from services.http.replies import Problem

if TYPE_CHECKING:
    from services.http.connection import HttpConnection

Read = Callable[[web.BaseRequest], list[Element]]
FIELDS: Final[Mapping[str, Read]] = {
    FORWARDED: lambda request: forwarded_elements(request.headers.getall("Forwarded", [])),
    X_FORWARDED: lambda request: x_forwarded_elements(
        request.headers.getall("X-Forwarded-For", []), request.headers.getall("X-Forwarded-Proto", [])
    ),
}
"""What the values of `http.forwardedfields` read."""
REFUSALS: Final[Mapping[TurnedAway, tuple[int, str]]] = {
    TurnedAway.FILTER: (403, "Access from your address is not allowed."),
    TurnedAway.BAN: (403, "Access from your address is closed for now."),
    TurnedAway.ADDRESS: (503, "There are too many connections from your address."),
}


async def find_client(request: web.BaseRequest, connection: HttpConnection, fields: str) -> None:
    """Let the connection know whose request it is, where a trusted proxy says so. Raises Problem."""
    if not connection.trusted:
        return
    try:
        client = read_client(FIELDS[fields](request), connection.server.trusts)
    except ValueError:
        raise Problem(400, "What the proxy says of its client is not understood.") from None
    turned_away = await connection.comes_from(client)
    if turned_away is not None:
        raise Problem(*REFUSALS[turned_away])
