"""The tiny line protocol as a whole service process: `python -m tests.support.lineservice`, in the place of IMAP."""

from __future__ import annotations

from collections.abc import Mapping

from services.common.listening import Listener
from services.common.service import Runtime, run
from services.common.streamserver import StreamServer, TurnedAway
from tests.support.lineserver import REFUSALS, LineConnection, Shared


class LineFrontEnd:
    """See `services.common.service.FrontEnd`."""

    refusals: Mapping[TurnedAway, bytes] = REFUSALS

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._shared = Shared()

    def connect(self, server: StreamServer, listener: Listener) -> LineConnection:
        """See `FrontEnd.connect`."""
        return LineConnection(server, listener, self._shared)

    def listeners(self) -> list[Listener]:
        """See `FrontEnd.listeners`."""
        options = self._runtime.configuration.value.imap
        return [Listener(host=options.listen, port=options.port)]

    async def close(self) -> None:
        """See `FrontEnd.close`."""


if __name__ == "__main__":
    run("imap", LineFrontEnd)
