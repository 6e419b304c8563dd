"""One POP3 connection: the shared connection's rules, with the machine and the handlers inside."""

from __future__ import annotations

from services.common.connection import Answer, Connection
from services.common.directory import DirectoryUnavailable
from services.common.errors import StoreError, result_of
from services.common.farewell import Farewell
from services.common.listening import Listener
from services.common.streamserver import StreamServer
from services.pop import authentication, replies
from services.pop.commands import Response
from services.pop.handlers import COMMANDS
from services.pop.languages import Text
from services.pop.machine import ProtocolError
from services.pop.session import Authorization, RefusedError, Session, Surroundings, Transaction


class PopConnection(Connection):
    """Speaks POP3 with one client."""

    __slots__ = ("_session",)

    forwards = True

    def __init__(self, server: StreamServer, listener: Listener, shared: Surroundings) -> None:
        super().__init__(server, listener)
        self._session = Session(self, shared)

    def greeting(self) -> bytes:
        """RFC 1939 section 4, with a timestamp where APOP is offered; one line, whatever the banner holds.

        Other servers' proxies look for `[XCLIENT]` before they send one.
        """
        session = self._session
        offer, banner = "[XCLIENT] " * self.trusted, " ".join(session.shared.options.value.banner.split())
        return f"+OK {offer}{banner}{authentication.timestamp(session)}\r\n".encode()

    def feed(self, data: bytes) -> None:
        """See `Connection.feed`."""
        self._session.machine.feed(data)

    def step(self) -> Answer | None:
        """See `Connection.step`."""
        session = self._session
        try:
            command = session.machine.next()
        except ProtocolError as error:
            return self._protocol_error(error)
        if command is None:
            return None
        if isinstance(command, Response):
            self.command = "AUTH"
            return self._respond(command)
        self.command = command.verb
        return COMMANDS[command.verb].run(session, session.state, command)

    def failure(self, error: Exception) -> bytes:
        """See `Connection.failure`."""
        lines = self._session.lines
        self.result = "no"
        if isinstance(error, RefusedError):
            return lines[error.text]
        if isinstance(error, StoreError):
            self.result = result_of(error.reason)
            return lines[replies.REASONS[error.reason]]
        self.result = "error"
        if isinstance(error, DirectoryUnavailable):
            return lines[Text.TEMPORARY]
        if not isinstance(error, ConnectionResetError):
            self.log.error("command failed", error=error, command=self.command)
        return lines[Text.TEMPORARY]

    def farewell(self, why: Farewell) -> bytes:
        """Nothing after a time-out (RFC 1939 section 3), which the client would take for the reply to a command."""
        return self._session.lines[Text.SHUTTING_DOWN] if why is Farewell.SHUTDOWN else b""

    def discard(self) -> None:
        """See `Connection.discard`."""
        self._session.machine.restart()

    def secured(self) -> None:
        """See `Connection.secured`."""
        self._session.restart()

    def ended(self) -> None:
        """The lock goes with the client, and no mark takes effect (RFC 1939 section 6)."""
        state = self._session.state
        if isinstance(state, Transaction):
            self._session.shared.maildrops.abandon(state)

    def _respond(self, command: Response) -> Answer:
        state = self._session.state
        if isinstance(state, Authorization):
            return authentication.respond(self._session, state, command)
        raise RefusedError(Text.STATE)

    def _protocol_error(self, error: ProtocolError) -> bytes:
        self.command, self.result = "", "bad"
        if error.fatal:
            self.close()
        return self._session.lines[replies.FAULTS[error.fault]]
