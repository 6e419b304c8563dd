"""One client's connection, whatever it speaks: bytes in, one command at a time, bytes out, with clocks and back pressure.

A protocol derives from `Connection` and fills in the first group of methods below; `services.common.streamserver` makes
the connections. The rules:

- `feed` gets what arrives, `step` runs the next complete command of it. A `bytes` answer is the fast path: it is
  written at once, without a task. A coroutine is run in a task, under a slot of `maxthreads`, and nothing else of this
  client runs until its answer is written. `None` means that no command is complete.
- While a command runs, while the client does not read what was sent, and while TLS begins, no further command is
  looked at; what arrives then stops being read. So the input held is bounded by one read of the transport.
- One client may have `SHARE` commands answered before the others get their turn.
- After the last byte the connection is closed politely: what was written is delivered, or the write clock ends it.
- `ended` is called once, when the client is gone and nothing of it runs any more.
- A command that runs when the client goes is not cancelled (a POP3 QUIT must take effect, RFC 1939 section 6); only
  the end of a drain cancels. `drain` raises ConnectionResetError then, so that long answers stop.
"""

from __future__ import annotations

import ssl
from asyncio import BaseTransport, CancelledError, Future, Protocol, ReadTransport, Task, WriteTransport, sleep
from collections.abc import Callable, Coroutine
from enum import Enum, IntEnum
from time import perf_counter
from typing import TYPE_CHECKING, Any, ClassVar, Final, TypeAlias, cast

from services.common.limits import holding, without_slot
from services.common.sessions import LOCAL_ADDRESS
from services.common.telemetry import SessionLog
from services.common.tls import CertificateUnavailable

if TYPE_CHECKING:
    from services.common.streamserver import Listener, StreamServer, TurnedAway

Answer: TypeAlias = "bytes | Coroutine[Any, Any, bytes]"
"""What a command gives back: all that remains to be sent, now or later."""

SHARE: Final = 64
WRITE_BUFFER: Final = 65_536
LINGER_SECONDS: Final = 2.0
LINGER_BYTES: Final = 65_536
HANDSHAKE_SECONDS: Final = 30.0
SHUTDOWN_SECONDS: Final = 5.0
KICK_SECONDS: Final = 5.0

# Why no command is looked at; 0 when one may be. Together one number, because it is tested for each piece of input.
_RUNNING: Final = 1
_UNREAD: Final = 2
_RESTING: Final = 4
_SHAKING: Final = 8
_CLOSING: Final = 16
_LOST: Final = 32


class Clock(IntEnum):
    """Which time-out runs. LOGIN is not put forward by anything; IDLE by each command that is understood (a result
    other than `bad`); DATA by every byte that arrives (a literal, a message).
    """

    LOGIN = 0
    IDLE = 1
    DATA = 2


class Farewell(Enum):
    """Why the server ends the session by itself."""

    LOGIN = "login took too long"
    IDLE = "idle for too long"
    DATA = "data stopped coming"
    SHUTDOWN = "the service is going down"
    KICKED = "ended by an administrator"


class Connection(Protocol):
    """One client. Subclasses declare `__slots__` and call `super().__init__(server, listener)`."""

    __slots__ = (
        "_clock",
        "_deadline",
        "_delivered",
        "_early",
        "_eof",
        "_goodbye",
        "_linger",
        "_loop",
        "_reading",
        "_registered",
        "_state",
        "_task",
        "_transport",
        "_unread_deadline",
        "_waiter",
        "_want_close",
        "_want_tls",
        "address",
        "command",
        "due",
        "listener",
        "local",
        "received",
        "result",
        "sent",
        "server",
        "session_id",
        "tls",
        "user",
    )

    first_clock: ClassVar[Clock] = Clock.LOGIN
    """The clock that runs from the start."""

    # ---- to be filled in by the protocol ----------------------------------------------------------------------------
    def greeting(self) -> bytes:
        """What the server says first: the client is let in and, on a TLS port, the handshake is done."""
        raise NotImplementedError

    def feed(self, data: bytes) -> None:
        """Take what arrived. Must not run anything and must not raise."""
        raise NotImplementedError

    def step(self) -> Answer | None:
        """Run the next complete command; None where there is none.

        Sets `command` to the name under which it is measured ("" for not at all) and `result` unless it is `ok`.
        Expected failures are answers; an exception comes back through `failure`.
        """
        raise NotImplementedError

    def failure(self, error: Exception) -> bytes:
        """The answer to a command that raised, at once or in its coroutine. Sets `result`; must not raise."""
        raise NotImplementedError

    def farewell(self, why: Farewell) -> bytes:
        """The last words before the server closes by itself; b"" for none (RFC 1939 section 3: idle in POP3)."""
        raise NotImplementedError

    def discard(self) -> None:
        """Forget what came before the TLS handshake and was not looked at (RFC 2595 section 2.4)."""
        raise NotImplementedError

    def secured(self) -> None:
        """STARTTLS succeeded: forget what the client said before (RFC 3207 section 4.2)."""

    def ended(self) -> None:
        """The client is gone and nothing runs: release what the session holds. Must not raise."""

    def at_rest(self) -> bool:
        """Whether this is a good moment to say goodbye; asked after each command of a session that has to go."""
        return True

    # ---- for the protocol to use ------------------------------------------------------------------------------------
    def __init__(self, server: StreamServer, listener: Listener) -> None:
        self.server = server
        self.listener = listener
        self.session_id = server.registry.new_id()
        self.address = ""
        """The client's IP address, or `sessions.LOCAL_ADDRESS` on a Unix socket."""
        self.local = False
        """Whether the client is on this machine: a loopback address or a Unix socket."""
        self.tls = False
        """Whether TLS protects the connection."""
        self.user = ""
        """The canonical account name after `admit`."""
        self.command = ""
        self.result = "ok"
        self.received = 0
        self.sent = 0
        self.due = 0
        self._clock = self.first_clock
        self._deadline = 0.0
        self._delivered = 0
        self._early: list[bytes] | None = None
        self._eof = False
        self._goodbye: Farewell | None = None
        self._linger = 0
        self._loop = server.loop
        self._reading = True
        self._registered = False
        self._state = 0
        self._task: Task[None] | None = None
        self._transport: WriteTransport = cast("WriteTransport", None)
        self._unread_deadline = 0.0
        self._waiter: Future[None] | None = None
        self._want_close = False
        self._want_tls = False

    @property
    def log(self) -> SessionLog:
        """Writes lines that carry the session's id, address and user. Made when asked for: most sessions never do."""
        return SessionLog(self.server.service, self.session_id, self.address, self.user)

    @property
    def client_certificate(self) -> dict[str, Any] | None:
        """The verified certificate of the client as `ssl.SSLSocket.getpeercert` has it; None without one."""
        return self._transport.get_extra_info("peercert") or None

    @property
    def tls_available(self) -> bool:
        """Whether STARTTLS can be offered: there is a certificate and TLS is not on yet."""
        return not self.tls and self.server.tls is not None and self.server.tls.available

    def admit(self, user: str) -> bool:
        """The client is `user` from now on and the idle clock replaces the login clock.

        False, and nothing changed, where the account has as many sessions as it may.
        """
        if not self.server.registry.authenticated(
            self.session_id, user, self.server.options.value.maxsessionsperuser
        ):
            return False
        self.user = user
        self.set_clock(Clock.IDLE)
        return True

    def write(self, data: bytes) -> None:
        """Queue bytes for the client; nothing once it is gone."""
        if data and not self._state & _LOST:
            self.sent += len(data)
            self.server.traffic.sent += len(data)
            self._transport.write(data)

    async def drain(self) -> None:
        """Let others run, and wait (without a slot) until the client has read enough.

        Long answers call it every 256 KiB or so. Raises ConnectionResetError once the client is gone.
        """
        if not self._state & (_UNREAD | _LOST):
            await sleep(0)
        if self._state & _UNREAD and not self._state & _LOST:
            async with without_slot():
                self._waiter = self._loop.create_future()
                await self._waiter
        if self._state & _LOST:
            raise ConnectionResetError

    def start_tls(self) -> None:
        """Begin the TLS handshake once the running command's answer is written; unread input is discarded."""
        self._want_tls = True

    def close(self) -> None:
        """Close once the running command's answer is written (QUIT, LOGOUT, too many errors)."""
        self._want_close = True

    def set_clock(self, clock: Clock) -> None:
        """Let another time-out run, from now."""
        self._clock = clock
        self._start_clock()

    def wake(self) -> None:
        """Look for a command again: a protocol's own event (not input) made `step` able to go on."""
        self._pump()

    # ---- for the server ---------------------------------------------------------------------------------------------
    def begin_drain(self) -> None:
        """Say goodbye and close, as soon as the running command is answered and `at_rest` agrees."""
        self.dismiss(Farewell.SHUTDOWN)

    def kick(self) -> None:
        """End the session: at once, or when the running command is answered, and within some seconds anyway."""
        self.dismiss(Farewell.KICKED)
        if not self._state & _CLOSING:
            self._deadline = self.server.wheel.now + KICK_SECONDS
            self.server.wheel.schedule(self, self._deadline)

    def dismiss(self, why: Farewell) -> None:
        """Let the session end: its farewell is said when that is possible."""
        if self._goodbye is None or why is Farewell.KICKED:
            self._goodbye = why
            self._leave_if_possible()

    def abort(self) -> None:
        """Cut the connection now; what was not delivered is lost. A running command is left alone."""
        if not self._state & _LOST and self._transport is not None:
            self._transport.abort()

    def cancel(self) -> None:
        """Cut the connection and whatever runs: the end of a drain."""
        if self._task is not None:
            self._task.cancel()
        self.abort()

    def look(self, now: float) -> float | None:
        """The wheel's turn: act on what ran out (`services.common.clocks.Timed`)."""
        if self._state & _LOST:
            return None
        if self._state & _UNREAD and now >= self._unread_deadline and not self._client_reads(now):
            self.abort()
            return None
        if now < self._deadline:
            return min(self._deadline, self._unread_deadline) if self._state & _UNREAD else self._deadline
        if self._state & (_CLOSING | _SHAKING) or self._goodbye is Farewell.KICKED:
            self.abort()
            return None
        if not self._state & _RUNNING:
            self.dismiss(Farewell[self._clock.name])
        return now + self.server.wheel.tick

    # ---- asyncio.Protocol -------------------------------------------------------------------------------------------
    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        self.address, self.local = peer(transport)
        self._start_clock()
        turned_away = self.server.admit(self)
        if turned_away is not None:
            self._turn_away(turned_away)
        elif self.listener.tls:
            self._shake_hands(self._welcome)
        else:
            self._welcome()

    def data_received(self, data: bytes) -> None:
        size = len(data)
        self.received += size
        self.server.traffic.received += size
        state = self._state
        if state & (_CLOSING | _SHAKING):
            self._set_aside(data)
            return
        if self._clock is Clock.DATA:
            self._deadline = self.server.wheel.now + self.server.patience[Clock.DATA]
        self.feed(data)
        if state:
            self._pause_reading()
        else:
            self._pump()

    def eof_received(self) -> bool | None:
        self._eof = True
        if self._state & _CLOSING:
            return False
        self._leave_if_possible()
        # A client that closes its side after its last command still gets the answers; TLS knows no half-close.
        return not self.tls and not self._state & (_CLOSING | _SHAKING)

    def pause_writing(self) -> None:
        self._state |= _UNREAD
        self._delivered = self._delivered_now()
        self._unread_deadline = self.server.wheel.now + self.server.options.value.writetimeout
        self.server.wheel.schedule(self, self._unread_deadline)

    def resume_writing(self) -> None:
        self._state &= ~_UNREAD
        self._wake_writer()
        self._pump()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._state & _LOST:
            return
        self._state |= _LOST | _CLOSING
        self._wake_writer()
        self.server.forget(self)
        if not self._state & _RUNNING:
            self._end()

    # ---- inside -----------------------------------------------------------------------------------------------------
    def _welcome(self) -> None:
        self._registered = True
        self.server.registered(self)
        self._start_clock()
        self.write(self.greeting())

    def _start_clock(self) -> None:
        wheel = self.server.wheel
        self._deadline = wheel.now + self.server.patience[self._clock]
        wheel.schedule(self, self._deadline)

    def _pump(self) -> None:
        """Answer what is complete, up to this client's share."""
        share = SHARE
        while not self._state:
            started = perf_counter()
            self.result = "ok"
            try:
                answer = self.step()
            except Exception as error:
                answer = self.failure(error)
            if answer is None:
                break
            if not isinstance(answer, bytes):
                self._state |= _RUNNING
                self._task = self._loop.create_task(self._run(answer, started))
                return
            self._answered(answer, started)
            share -= 1
            if not share:
                self._rest()
                return
        self._leave_if_possible()
        self._resume_reading()

    async def _run(self, answer: Coroutine[Any, Any, bytes], started: float) -> None:
        try:
            async with holding(self.server.slots):
                reply = await answer
        except CancelledError:
            answer.close()
            self.abort()
            reply = b""
        except Exception as error:
            reply = b"" if self._state & _LOST else self.failure(error)
        self._task = None
        self._state &= ~_RUNNING
        self._answered(reply, started)
        if self._state & _LOST:
            self._end()
        else:
            self._pump()

    def _answered(self, reply: bytes, started: float) -> None:
        self.write(reply)
        server = self.server
        if self.command:
            server.observer.command(server.service, self.command, self.result, perf_counter() - started)
        if self._clock is Clock.IDLE and self.result != "bad":
            self._deadline = server.wheel.now + server.patience[Clock.IDLE]
        if self._want_close:
            self._close()
        elif self._want_tls:
            self._want_tls = False
            self.discard()
            self._shake_hands(self.secured)

    def _rest(self) -> None:
        self._state |= _RESTING
        self._pause_reading()
        self._loop.call_soon(self._rested)

    def _rested(self) -> None:
        self._state &= ~_RESTING
        self._pump()

    def _leave_if_possible(self) -> None:
        """Say goodbye where one is due: nothing runs, and the client has no more to say or has to go."""
        if self._state & _SHAKING and self._goodbye is not None:
            self.abort()
        elif self._goodbye is not None:
            if not self._state & (_RUNNING | _CLOSING) and (self._goodbye is not Farewell.SHUTDOWN or self.at_rest()):
                self.write(self.farewell(self._goodbye))
                self._close()
        elif self._eof and not self._state:
            self._close()

    def _close(self) -> None:
        """Nothing more is said; let what was written arrive.

        Closing while unread input lies in the socket would reset the connection and could take the last reply with it,
        so where the client may still be sending, its input is dropped for a moment first.
        """
        self._state |= _CLOSING
        wheel = self.server.wheel
        if self.tls or self._eof or self._goodbye is None or not self._transport.can_write_eof():
            self._deadline = wheel.now + self.server.options.value.writetimeout
            self._transport.close()
        else:
            self._deadline = wheel.now + LINGER_SECONDS
            self._transport.write_eof()
            self._resume_reading()
        wheel.schedule(self, self._deadline)

    def _turn_away(self, why: TurnedAway) -> None:
        """Say why there is no room, then close."""
        self._goodbye = Farewell.SHUTDOWN

        def refuse() -> None:
            self.write(self.server.refusals[why])
            self._close()

        if self.listener.tls:
            self._shake_hands(refuse)
        else:
            refuse()

    def _set_aside(self, data: bytes) -> None:
        if self._state & _SHAKING:
            # Decrypted already: the handshake is over and its task is about to go on.
            self._early = [*(self._early or ()), data]
            return
        self._linger += len(data)
        if self._linger > LINGER_BYTES:
            self.abort()

    def _shake_hands(self, then: Callable[[], None]) -> None:
        self._state |= _SHAKING
        self._pause_reading()
        self._task = self._loop.create_task(self._handshake(then))

    async def _handshake(self, then: Callable[[], None]) -> None:
        tls = self.server.tls
        try:
            if tls is None:
                raise ConnectionAbortedError
            transport = await self._loop.start_tls(
                self._transport,
                self,
                tls.context,
                server_side=True,
                ssl_handshake_timeout=HANDSHAKE_SECONDS,
                ssl_shutdown_timeout=SHUTDOWN_SECONDS,
            )
        except (OSError, ssl.SSLError, CertificateUnavailable):
            transport = None
        self._task = None
        if transport is None or self._state & _LOST:
            self._transport.abort()
            return
        self._take_up(cast("WriteTransport", transport))
        then()
        early, self._early = self._early, None
        for data in early or ():
            self.data_received(data)
        self._pump()

    def _take_up(self, transport: WriteTransport) -> None:
        transport.set_write_buffer_limits(high=WRITE_BUFFER)
        self._transport = transport
        self._state &= ~_SHAKING
        self._reading = True
        self.tls = True

    def _pause_reading(self) -> None:
        if self._reading and not self._state & _LOST:
            self._reading = False
            cast("ReadTransport", self._transport).pause_reading()

    def _resume_reading(self) -> None:
        if not self._reading and not self._state & (_LOST | _RUNNING | _UNREAD | _RESTING | _SHAKING):
            self._reading = True
            cast("ReadTransport", self._transport).resume_reading()

    def _client_reads(self, now: float) -> bool:
        """Whether anything was delivered since the write clock was started; if so it starts again."""
        delivered = self._delivered_now()
        if delivered <= self._delivered:
            return False
        self._delivered = delivered
        self._unread_deadline = now + self.server.options.value.writetimeout
        return True

    def _delivered_now(self) -> int:
        return self.sent - self._transport.get_write_buffer_size()

    def _wake_writer(self) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def _end(self) -> None:
        """The client is gone and nothing runs."""
        if self._registered:
            self._registered = False
            self.ended()


def peer(transport: BaseTransport) -> tuple[str, bool]:
    """The client's address, and whether it is on this machine."""
    name = transport.get_extra_info("peername")
    if not isinstance(name, tuple):
        return LOCAL_ADDRESS, True
    address = str(name[0]).removeprefix("::ffff:")
    return address, address.startswith("127.") or address == "::1"
