"""The POP3 service of one process: what its sessions share, where it listens, its words for clients turned away."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from services.common.authentication import Authentication
from services.common.bodyreader import BodyReader
from services.common.listening import Listener, mail_listeners
from services.common.live import Live
from services.common.login import Login
from services.common.options import Configuration
from services.common.store import Store
from services.common.streamserver import StreamServer, TurnedAway
from services.pop.connection import PopConnection
from services.pop.languages import DEFAULT_LANGUAGE, LINES, Text
from services.pop.maildrops import Maildrops
from services.pop.rendered import Rendered
from services.pop.session import Surroundings

REFUSALS: Final[Mapping[TurnedAway, bytes]] = {
    TurnedAway.PROCESS: LINES[DEFAULT_LANGUAGE][Text.TOO_MANY_SESSIONS],
    TurnedAway.ADDRESS: LINES[DEFAULT_LANGUAGE][Text.TOO_MANY_SESSIONS],
    TurnedAway.FILTER: LINES[DEFAULT_LANGUAGE][Text.ADDRESS_BARRED],
    TurnedAway.BAN: LINES[DEFAULT_LANGUAGE][Text.SHUT_OUT],
    TurnedAway.DRAINING: LINES[DEFAULT_LANGUAGE][Text.SHUTTING_DOWN],
}


class PopFrontEnd:
    """POP3, as `services.common.service.run` runs it (`FrontEnd`)."""

    refusals = REFUSALS

    def __init__(self, configuration: Live[Configuration], store: Store, bodies: BodyReader, login: Login) -> None:
        self._configuration = configuration
        options = configuration.part(lambda value: value.pop)
        self.maildrops = Maildrops(store, options)
        authentication = Authentication("pop", login, configuration)
        self._shared = Surroundings(options, authentication, self.maildrops, bodies, Rendered())

    def connect(self, server: StreamServer, listener: Listener) -> PopConnection:
        """See `FrontEnd.connect`."""
        return PopConnection(server, listener, self._shared)

    def listeners(self) -> list[Listener]:
        """See `FrontEnd.listeners`."""
        options = self._configuration.value.pop
        return mail_listeners(options, tls=bool(self._configuration.value.tls.certfile))

    async def close(self) -> None:
        """See `FrontEnd.close`."""
        await self.maildrops.settled()
