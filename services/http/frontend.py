"""The HTTP service of one process: where it listens, and its words for clients that are turned away."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from services.common.listening import Listener
from services.common.streamserver import StreamServer, TurnedAway
from services.http.connection import HttpConnection
from services.http.replies import turned_away
from services.http.routes import Router
from services.http.service import HttpService

REFUSALS: Final[Mapping[TurnedAway, bytes]] = {
    TurnedAway.PROCESS: turned_away(503, "The service has as many connections as it takes."),
    TurnedAway.ADDRESS: turned_away(503, "There are too many connections from your address."),
    TurnedAway.FILTER: turned_away(403, "Access from your address is not allowed."),
    TurnedAway.BAN: turned_away(403, "Access from your address is closed for now."),
    TurnedAway.DRAINING: turned_away(503, "The service is going down."),
}


class HttpFrontEnd:
    """HTTP, as `services.common.service.run` runs it (`FrontEnd`)."""

    refusals = REFUSALS

    def __init__(self, service: HttpService) -> None:
        self._service = service
        self._router = Router(service)

    def connect(self, server: StreamServer, listener: Listener) -> HttpConnection:
        """See `FrontEnd.connect`."""
        return HttpConnection(server, listener, self._router)

    def listeners(self) -> list[Listener]:
        """See `FrontEnd.listeners`."""
        configuration = self._service.configuration.value
        options = configuration.http
        found = [Listener(options.listen, options.port)]
        if options.enablesslport and configuration.tls.certfile:
            found.append(Listener(options.listen, options.sslport, tls=True))
        return found

    async def close(self) -> None:
        """See `FrontEnd.close`."""
        await self._service.close()
