"""One LMTP connection: the shared connection's rules, with the machine and the handlers inside."""

from __future__ import annotations

from collections.abc import Awaitable

from services.common.connection import Answer, Connection
from services.common.farewell import Clock, Farewell
from services.common.listening import Listener
from services.common.streamserver import StreamServer
from services.lmtp import handlers, replies
from services.lmtp.machine import Chunk, Message, ProtocolError
from services.lmtp.replies import Text
from services.lmtp.session import Session, Surroundings


class LmtpConnection(Connection):
    """Speaks LMTP with one client, which is a mail transfer agent: there is no login, and so no login clock."""

    __slots__ = ("_session",)

    first_clock = Clock.IDLE

    def __init__(self, server: StreamServer, listener: Listener, shared: Surroundings) -> None:
        super().__init__(server, listener)
        self._session = Session(self, shared)

    def greeting(self) -> bytes:
        """See `Connection.greeting`."""
        shared = self._session.shared
        if shared.clients.allows(self.address):
            return replies.greeting(shared.hostname)
        self._session.refuse()
        self.log.warning("client is not in lmtp.allowedclients")
        return Text.NOT_ALLOWED.value

    def feed(self, data: bytes) -> None:
        """See `Connection.feed`."""
        self._session.machine.feed(data)

    def step(self) -> Answer | None:
        """See `Connection.step`."""
        session = self._session
        try:
            event = session.machine.next()
        except ProtocolError as error:
            return self._protocol_error(error)
        if event is None:
            return None
        if isinstance(event, Message):
            self.command = "DATA"
            answer = handlers.message(session, event)
        elif isinstance(event, Chunk):
            self.command = "BDAT"
            answer = handlers.chunk(session, event)
        else:
            self.command = event.verb
            answer = handlers.COMMANDS[event.verb].run(session, event)
        return self._judge(answer) if isinstance(answer, bytes) else self._judge_later(answer)

    async def _judge_later(self, work: Awaitable[bytes]) -> bytes:
        return self._judge(await work)

    def _judge(self, reply: bytes) -> bytes:
        """Name the result, and let the clock run that fits what is waited for now."""
        if reply[:1] in (b"4", b"5"):
            # 4.3.x is about the system (RFC 3463 section 3.4), everything else about the mail and who sends it.
            self.result = "error" if reply[4:8] == b"4.3." else "no"
        receiving = self._session.machine.receiving
        if receiving:
            # It is measured when the message or chunk is complete.
            self.command = ""
        if receiving is not (self._clock is Clock.DATA):
            self.set_clock(Clock.DATA if receiving else Clock.IDLE)
        return reply

    def failure(self, error: Exception) -> bytes:
        """It is not known how many replies are due, so the session ends with one that fits everywhere."""
        self.result = "error"
        if not isinstance(error, ConnectionResetError):
            self.log.error("command failed", error=error, command=self.command)
        self.close()
        return Text.FAILED.value

    def farewell(self, why: Farewell) -> bytes:
        """RFC 5321 section 3.8: 421 at any time, for shutting down and for a time-out."""
        text = Text.SHUTTING_DOWN if why in (Farewell.SHUTDOWN, Farewell.KICKED) else Text.TIMEOUT
        return text.value

    def discard(self) -> None:
        """See `Connection.discard`."""
        self._session.machine.restart()

    def secured(self) -> None:
        """See `Connection.secured`."""
        self._session.restart()

    def ended(self) -> None:
        """What was not complete is not delivered; its memory goes back now, not when the collector comes by."""
        self._session.machine.close()
        self._session.drop()

    def at_rest(self) -> bool:
        """A message that is on its way is taken to its end, within the drain."""
        return self._session.transaction is None

    def _protocol_error(self, error: ProtocolError) -> bytes:
        self.command, self.result = "", "bad"
        if error.fatal:
            self.close()
        return replies.FAULTS[error.fault].value
