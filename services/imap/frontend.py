"""The IMAP service of one process: where it listens, and its words for clients that are turned away."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from services.common.listening import Listener, mail_listeners
from services.common.streamserver import StreamServer, TurnedAway
from services.imap.connection import ImapConnection
from services.imap.replies import bye
from services.imap.service import ImapService

REFUSALS: Final[Mapping[TurnedAway, bytes]] = {
    TurnedAway.PROCESS: bye(b"Too many sessions", b"LIMIT"),
    TurnedAway.ADDRESS: bye(b"Too many sessions from this address", b"LIMIT"),
    TurnedAway.FILTER: bye(b"Access from your address is not allowed"),
    TurnedAway.BAN: bye(b"Access from your address is closed for now"),
    TurnedAway.DRAINING: bye(b"The service is going down", b"UNAVAILABLE"),
}


class ImapFrontEnd:
    """IMAP, as `services.common.service.run` runs it (`FrontEnd`)."""

    refusals = REFUSALS

    def __init__(self, service: ImapService) -> None:
        self._service = service

    def connect(self, server: StreamServer, listener: Listener) -> ImapConnection:
        """See `FrontEnd.connect`."""
        return ImapConnection(server, listener, self._service)

    def listeners(self) -> list[Listener]:
        """See `FrontEnd.listeners`."""
        configuration = self._service.configuration.value
        options = configuration.imap
        return mail_listeners(options, tls=bool(configuration.tls.certfile))

    async def close(self) -> None:
        """See `FrontEnd.close`."""
        await self._service.close()
