"""One IMAP client: the shared connection's rules, with the machine and the handlers inside.

Bytes go into the machine; each event it gives back has a row in `_EVENTS`. A command that can be answered from what is
known is answered in the same call, without a task. Nothing runs, and no timer is set, for a session that idles.
"""

from __future__ import annotations

from asyncio import CancelledError
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from services.common.connection import Connection
from services.common.errors import FAULTS, Reason, StoreError, result_of
from services.common.farewell import Clock, Farewell
from services.common.later import Later
from services.common.limits import without_slot
from services.common.sasl.exchange import MAX_RESPONSE
from services.imap import replies
from services.imap.commands import Append
from services.imap.events import CONTINUE_LITERAL, Continuation, NeedData, NeedLiteral, ProtocolError, Request
from services.imap.handlers import COMMANDS, capabilities, names_in, withheld_in
from services.imap.handlers.append import FORESEEN, in_vain
from services.imap.handlers.spec import Handler
from services.imap.machine import BEFORE_LOGIN, ImapMachine, Limits
from services.imap.session import (
    STATE_OF,
    Answer,
    LineAnswer,
    Malformed,
    NotAuthenticated,
    Refused,
    Selected,
    Session,
    State,
)

if TYPE_CHECKING:
    from services.common.listening import Listener
    from services.common.streamserver import StreamServer
    from services.imap.service import ImapService

MEMORY_SECONDS: Final = 30.0
"""How long an APPEND waits for memory."""
PUSH_BYTES: Final = 65_536
"""What an idling client may leave unread before more is told to it."""
SMALL_NONSYNC: Final = 4096
"""LITERAL- (RFC 7888 section 5)."""
_FAREWELLS: Final[dict[Farewell, tuple[bytes, bytes]]] = {
    Farewell.LOGIN: (b"Login took too long", b""),
    Farewell.IDLE: (b"Idle for too long", b""),
    Farewell.DATA: (b"The data stopped coming", b""),
    Farewell.SHUTDOWN: (b"The service is going down", b"UNAVAILABLE"),
    Farewell.KICKED: (b"Ended by an administrator", b""),
}


class ImapConnection(Connection):
    """Speaks IMAP with one client; to its session it is the wire."""

    __slots__ = ("_announced", "_asked", "_asking", "_reserved", "_settled", "machine", "session")

    forwards = True

    def __init__(self, server: StreamServer, listener: Listener, service: ImapService) -> None:
        super().__init__(server, listener)
        self.session = Session(service, self)
        self.machine = ImapMachine(names_in(State.NOT_AUTHENTICATED), BEFORE_LOGIN)
        self._settled: tuple[object, object, object] = (None, None, None)
        """The state, the enabled extensions and the configuration that the machine was told of."""
        self._asking: LineAnswer | None = None
        self._asked = ""
        """The command that asked for a line."""
        self._announced = False
        self._reserved = 0
        """Bytes of `Inflight` that an arriving APPEND holds."""

    # ---- what the connection asks for
    def greeting(self) -> bytes:
        """`* OK` with the capabilities (RFC 9051 section 7.1)."""
        session = self.session
        return replies.greeting(session.options.banner, capabilities(session))

    def feed(self, data: bytes) -> None:
        """See `Connection.feed`."""
        self.machine.receive(data)

    def step(self) -> Answer | None:
        """See `Connection.step`."""
        session, machine = self.session, self.machine
        state, enabled, configuration = self._settled
        if (
            session.state is not state
            or session.enabled is not enabled
            or session.service.configuration.value is not configuration
        ):
            self._settle()
        while True:
            event = machine.next()
            if type(event) is Request:
                return self._perform(event)
            if type(event) is NeedData:
                return None
            answer = _EVENTS[type(event)](self, event)
            if answer is not None:
                return answer

    def failure(self, error: Exception) -> bytes:
        """One of three: the client's mistake (BAD), a refusal (NO), a fault (logged; a NO that tells nothing)."""
        session = self.session
        if isinstance(error, Malformed):
            self.result = "bad"
            return replies.tagged(session.tag, b"BAD", error.text, error.code)
        self.result = "no"
        if isinstance(error, Refused):
            refusal = replies.tagged(session.tag, b"NO", error.text, error.code)
            return session.updates() + refusal + error.goodbye
        if isinstance(error, StoreError):
            self.result = result_of(error.reason)
            if error.reason in FAULTS:
                self.log.error("store failed", command=self.command, reason=error.reason.name)
            return session.updates() + replies.refused(session.tag, error.reason)
        self.result = "error"
        if isinstance(error, ConnectionResetError):
            return b""
        self.log.error("command failed", error=error, command=self.command)
        return replies.refused(session.tag, Reason.INTERNAL)

    def farewell(self, why: Farewell) -> bytes:
        """`* BYE` (RFC 9051 section 7.1.5)."""
        return replies.bye(*_FAREWELLS[why])

    def discard(self) -> None:
        """See `Connection.discard`."""
        self.machine.clear()

    def secured(self) -> None:
        """TLS is on: what was learnt before it is void (RFC 9051 section 6.2.1)."""
        self.session.state = NotAuthenticated()
        self.session.client = ""

    def ended(self) -> None:
        """See `Connection.ended`."""
        state = self.session.state
        if isinstance(state, Selected):
            state.view.shared.watchers.discard(self.announce)
        # Session and connection know each other: without this half a message would stay until the collector comes by.
        self.machine.close()
        self._give_back()
        self.session.leave_mailbox()

    def at_rest(self) -> bool:
        """Not in the middle of a literal or of a line of commands."""
        return not self.machine.in_literal and not self.machine.buffered

    def resume_writing(self) -> None:
        """See `asyncio.Protocol`."""
        super().resume_writing()
        if self._asking is not None:
            self.announce()

    # ---- what the session asks for (`services.imap.session.Wire`)
    def ask(self, prompt: bytes, answer: LineAnswer) -> bytes:
        """See `Wire.ask`."""
        self._asking, self._asked = answer, self.command or self._asked
        self.command = ""
        self.machine.expect_line(MAX_RESPONSE)
        return b"+ %b\r\n" % prompt

    def announce(self) -> None:
        """See `Wire.announce`. Changes that come together are told together."""
        if not self._announced:
            self._announced = True
            self.server.loop.call_soon(self._push)

    def _push(self) -> None:
        self._announced = False
        if self._asking is not None and self._transport.get_write_buffer_size() < PUSH_BYTES:
            self.write(self.session.updates())

    # ---- events
    def _perform(self, request: Request) -> Answer:
        spec = COMMANDS[request.name]
        session = self.session
        session.tag = request.tag
        session.mute_expunge = spec.uses_seqs
        self.command = request.name
        if self._clock is Clock.DATA:
            self.set_clock(Clock.IDLE)
        if self._reserved or session.presumed:
            return self._with_care(spec.handler, request.command)
        return spec.handler(session, request.command)

    def _with_care(self, handler: Handler, command: Any) -> Answer:
        """A command that something is to be done after: memory given back, or the account's number found right."""
        if self._reserved:
            return self._holding(handler, command)
        answer = handler(self.session, command)
        return answer if isinstance(answer, bytes) else self._proved(answer, handler, command)

    async def _holding(self, handler: Handler, command: Any) -> bytes:
        """An APPEND: its message is in memory until it is answered."""
        try:
            answer = handler(self.session, command)
            return answer if isinstance(answer, bytes) else await self._proved(answer, handler, command)
        finally:
            self._give_back()

    async def _proved(self, answer: Coroutine[Any, Any, bytes] | Later[Any], handler: Handler, command: Any) -> bytes:
        """The answer, from the account as it now is where the one that was presumed is no more."""
        session = self.session
        try:
            reply = await answer
        except StoreError as error:
            if not session.presumed or error.reason is not Reason.ACCOUNT_NOT_FOUND:
                raise
        else:
            session.presumed = False
            return reply
        await session.renew_account()
        again = handler(session, command)
        return again if isinstance(again, bytes) else await again

    def _continue(self, event: Continuation) -> Answer:
        asking, self._asking = self._asking, None
        self.command = self._asked
        if asking is None:  # the machine gives lines only where one was asked for
            raise Malformed(b"Nothing was asked")
        return asking(event.line)

    def _literal(self, event: NeedLiteral) -> Answer | None:
        if event.append is None:
            return self._go_ahead(event)
        if event.sync and event.size >= FORESEEN:
            self.command = ""
            return self._foresee(event, event.append)
        return self._make_room(event)

    async def _foresee(self, event: NeedLiteral, append: Append) -> bytes:
        """Ask for a large message only where it will be taken."""
        with self._refusing_if_cancelled():
            refusal = await in_vain(self.session, append.mailbox, event.size)
        if refusal is not None:
            self.machine.refuse_literal(refusal.text.decode(), refusal.code.decode())
            return b""
        answer = self._make_room(event)
        return (answer if isinstance(answer, bytes) else await answer) if answer else b""

    def _make_room(self, event: NeedLiteral) -> Answer | None:
        if not self.session.service.inflight.try_reserve(event.size):
            self.command = ""
            return self._wait_for_memory(event)
        self._reserved += event.size
        return self._go_ahead(event)

    def _go_ahead(self, event: NeedLiteral) -> bytes | None:
        """A message that arrives has a clock of its own; nothing puts the login's clock forward."""
        self.machine.accept_literal()
        if self.user:
            self.set_clock(Clock.DATA)
        if not event.sync:
            return None
        self.command = ""
        return CONTINUE_LITERAL

    async def _wait_for_memory(self, event: NeedLiteral) -> bytes:
        """While the client waits its bytes stay unread, so nothing more arrives meanwhile."""
        with self._refusing_if_cancelled():
            async with without_slot():
                reserved = await self.session.service.inflight.reserve(event.size, MEMORY_SECONDS)
        if not reserved:
            self.machine.refuse_literal("Too much mail is arriving", "UNAVAILABLE")
            return b""
        self._reserved += event.size
        return self._go_ahead(event) or b""

    @contextmanager
    def _refusing_if_cancelled(self) -> Iterator[None]:
        """The end of a drain must not leave the literal offered."""
        try:
            yield
        except CancelledError:
            self.machine.refuse_literal("The service is going down", "UNAVAILABLE")
            raise

    def _protocol_error(self, error: ProtocolError) -> bytes:
        self._give_back()
        self.command, self.result = "", "bad" if error.condition == "BAD" else "no"
        if self._clock is Clock.DATA:
            self.set_clock(Clock.IDLE)
        if error.fatal:
            self.log.info("too many mistakes")
            self.close()
        return replies.protocol_error(error)

    def _give_back(self) -> None:
        if self._reserved:
            self.session.service.inflight.release(self._reserved)
            self._reserved = 0

    def _settle(self) -> None:
        """Tell the machine what is legal, and how much of it, since the session changed."""
        session, machine = self.session, self.machine
        self._settled = (session.state, session.enabled, session.service.configuration.value)
        state = STATE_OF[type(session.state)]
        machine.allowed = names_in(state)
        machine.utf8 = session.revision2 or "UTF8=ACCEPT" in session.enabled
        withheld = withheld_in(state)
        private = not withheld or session.service.authentication.takes_passwords(self.peer)
        machine.withheld = frozenset() if private else withheld
        machine.limits = BEFORE_LOGIN if state is State.NOT_AUTHENTICATED else self._limits()

    def _limits(self) -> Limits:
        configuration = self.session.service.configuration.value
        limits = Limits(message=configuration.store.maxmessagesize)
        if configuration.imap.literal == "LITERAL-":
            return Limits(message=limits.message, nonsync=SMALL_NONSYNC)
        return limits


_EVENTS: Final[dict[type[Any], Callable[[ImapConnection, Any], Answer | None]]] = {
    Continuation: ImapConnection._continue,
    NeedLiteral: ImapConnection._literal,
    ProtocolError: ImapConnection._protocol_error,
}
