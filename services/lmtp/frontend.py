"""The LMTP service of one process: what its sessions share, where it listens, its words for clients turned away."""

from __future__ import annotations

from collections.abc import Mapping
from socket import gethostname
from typing import Final

from services.common.directory import Directory
from services.common.inflight import Inflight
from services.common.listening import Listener
from services.common.live import Live
from services.common.options import Configuration
from services.common.store import Store
from services.common.streamserver import StreamServer, TurnedAway
from services.lmtp.clients import AllowedClients
from services.lmtp.connection import LmtpConnection
from services.lmtp.recipients import Recipients
from services.lmtp.replies import Text
from services.lmtp.session import Surroundings

REFUSALS: Final[Mapping[TurnedAway, bytes]] = {
    TurnedAway.PROCESS: Text.TOO_MANY_SESSIONS.value,
    TurnedAway.ADDRESS: Text.TOO_MANY_SESSIONS.value,
    TurnedAway.FILTER: Text.NOT_ALLOWED.value,
    TurnedAway.BAN: Text.NOT_ALLOWED.value,
    TurnedAway.DRAINING: Text.SHUTTING_DOWN.value,
}
SOCKET_MODE: Final = 0o666
"""Whoever reaches the socket may deliver, like whoever reaches the port; its folder's permissions say who does."""


class LmtpFrontEnd:
    """LMTP, as `services.common.service.run` runs it (`FrontEnd`)."""

    refusals = REFUSALS

    def __init__(
        self,
        configuration: Live[Configuration],
        store: Store,
        directory: Directory,
        hostname: str | None = None,
        *,
        worker: int = 0,
    ) -> None:
        self._configuration = configuration
        self._worker = worker
        options = configuration.part(lambda value: value.lmtp)
        self._shared = Surroundings(
            configuration,
            store,
            Recipients(directory),
            AllowedClients(options),
            Inflight(lambda: options.value.inflightbytes),
            hostname or gethostname(),
        )

    def connect(self, server: StreamServer, listener: Listener) -> LmtpConnection:
        """See `FrontEnd.connect`."""
        return LmtpConnection(server, listener, self._shared)

    def listeners(self) -> list[Listener]:
        """See `FrontEnd.listeners`. Beside the port, which all processes share, the Unix socket is the first one's."""
        options = self._configuration.value.lmtp
        found = [Listener(options.listen, options.port)]
        if options.proxyport:
            found.append(Listener(options.listen, options.proxyport, proxied=True))
        if options.socket and not self._worker:
            found.append(Listener(path=options.socket, mode=SOCKET_MODE))
        return found

    async def close(self) -> None:
        """See `FrontEnd.close`."""
