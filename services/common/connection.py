"""One client's connection, whatever it speaks: bytes in, one command at a time, bytes out; clocks and back pressure.

A protocol derives from `Connection` and fills in the first group of methods below; `services.common.streamserver` makes
the connections. The rules:

- `feed` gets what arrives, `step` runs the next complete command of it. A `bytes` answer is the fast path: it is
  written at once, without a task. A coroutine is run in a task, under a slot of `maxthreads`, and nothing else of this
  client runs until its answer is written; a `Later` is the same without a task. `None` means that no command is
  complete.
- While a command runs, while the client does not read what was sent, and while TLS begins, no further command is
  looked at; what arrives then stops being read. So the input held is bounded by one read of the transport.
- One client may have `SHARE` commands answered before the others get their turn.
- After the last byte the connection is closed politely: what was written is delivered, or the write clock ends it.
- `ended` is called once, when the client is gone and nothing of it runs any more.
- A command that runs when the client goes is not cancelled (a POP3 QUIT must take effect, RFC 1939 section 6); only
  the end of a drain cancels. `drain` raises ConnectionResetError then, so that long answers stop.
"""

from __future__ import annotations

from asyncio import BaseTransport, CancelledError, Future
from collections.abc import Callable, Coroutine
from dataclasses import replace
from functools import partial
from time import perf_counter
from typing import TYPE_CHECKING, Any, ClassVar, Final, TypeAlias, cast

from services.common.access.patterns import Host
from services.common.channel import CLOSING, LOST, RESTING, RUNNING, SHAKING, UNREAD, Channel
from services.common.farewell import DATA, EXPIRY, IDLE, Clock, Farewell
from services.common.later import Later, Reply
from services.common.limits import in_slot, without_slot
from services.common.peer import Forwarded, Peer
from services.common.telemetry import SESSION, SessionLog
from services.common.tracing import SPAN, Span, Tracer, within_span

if TYPE_CHECKING:
    from services.common.listening import Listener
    from services.common.streamserver import StreamServer

Answer: TypeAlias = "bytes | Coroutine[Any, Any, bytes] | Later[Any]"
"""What a command gives back: all that remains to be sent, now or later."""

SHARE: Final = 64
KICK_SECONDS: Final = 5.0


class Connection(Channel):
    """One client. Subclasses declare `__slots__` and call `super().__init__(server, listener)`."""

    __slots__ = (
        "_clock",
        "_goodbye",
        "_origin",
        "_span",
        "_want_close",
        "_want_tls",
        "_welcomed",
        "command",
        "ends",
        "result",
        "session_id",
        "unjudged",
        "user",
    )

    first_clock: ClassVar[Clock] = Clock.LOGIN
    """The clock that runs from the start."""
    forwards: ClassVar[bool] = False
    """Whether a trusted front end can say in this protocol for whom it speaks (`forward`)."""

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

    # ---- for the protocol to use, beside `write`, `drain`, `tls`, `address` ... of Channel --------------------------
    def __init__(self, server: StreamServer, listener: Listener) -> None:
        super().__init__(server, listener)
        self.session_id = server.registry.new_id()
        self.user = ""
        """The canonical account name after `admit`."""
        self.command = ""
        self.result = "ok"
        self._clock = self.first_clock
        self._goodbye: Farewell | None = None
        self._span: Span | None = None
        """Of the command that runs, where it is traced."""
        self._origin = ""
        """The address of who speaks the protocol with us; "" where a balancer did not say it."""
        self._want_close = False
        self._want_tls = False
        self._welcomed = False
        self.ends: tuple[Host, Host] | None = None
        """The client and the server with the names that the service's filters asked for; None where they did not."""
        self.unjudged = False
        """A trusted front end is at the other end and has not said for whom; see `services.common.door`."""

    @property
    def log(self) -> SessionLog:
        """Writes lines that carry the session's id, address and user. Made when asked for: most sessions never do."""
        return SessionLog(self.server.service, self.session_id, self.address, self.user)

    def admit(self, user: str) -> bool:
        """The client is `user` from now on and the idle clock replaces the login clock.

        False, and nothing changed, where the account has as many sessions as it may.
        """
        server = self.server
        if not server.registry.authenticated(self.session_id, user, server.options.value.maxsessionsperuser):
            server.observer.login(server.service, "sessions")
            self.log.warning("login refused", why="sessions", name=user)
            return False
        self.user = user
        name = server.door.host_name(self)
        self.log.info("logged in", tls=self.tls, **({"host": name} if name else {}))
        self.set_clock(Clock.IDLE)
        return True

    @property
    def peer(self) -> Peer:
        """See `Channel.peer`. A front end that has named no client until its login is judged by its own address."""
        peer = super().peer
        if self.unjudged and self.server.door.bars(self) is not None:
            return replace(peer, barred=True)
        return peer

    @property
    def trusted(self) -> bool:
        """Whether the other end may say for whom it speaks, by `forward`.

        A client behind a balancer is not trusted because the balancer is; a front end behind one may be.
        """
        return bool(self._origin) and self.server.door.trusts(self._origin)

    def speaks_for_itself(self) -> Forwarded:
        """What a trusted front end says of a client when it says nothing: it is the client."""
        return Forwarded(self._origin, relayed=True)

    async def forward(self, forwarded: Forwarded) -> bytes:
        """A trusted front end says who the client is: filters and limits judge that one.

        The words for a client that must go, with which the connection closes; b"" where it may stay.
        """
        self._believe(forwarded)
        self.log.info("named by a front end", front=self._origin, tls=self.tls)
        self.unjudged = False
        self.ends = None
        async with without_slot():
            turned_away = await self.server.rejudge(self)
        if turned_away is None:
            return b""
        self.close()
        return self.server.refusals[turned_away]

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
        if not self._state & CLOSING:
            self._deadline = self.server.wheel.now + KICK_SECONDS
            self.server.wheel.schedule(self, self._deadline)

    def dismiss(self, why: Farewell) -> None:
        """Let the session end: its farewell is said when that is possible."""
        if self._goodbye is None or why is Farewell.KICKED:
            self._goodbye = why
            self._leave_if_possible()

    def cancel(self) -> Future[Any] | None:
        """Cut the connection and whatever runs: the end of a drain. Returns what has to be waited for."""
        task = self._task
        if task is not None:
            task.cancel()
        self.abort()
        return task

    def look(self, now: float) -> float | None:
        """The wheel's turn: act on what ran out (`services.common.clocks.Timed`)."""
        state = self._state
        if state & LOST:
            return None
        if state & UNREAD and now >= self._unread_deadline and not self._client_reads(now):
            self.abort()
            return None
        if now < self._deadline:
            return min(self._deadline, self._unread_deadline) if state & UNREAD else self._deadline
        if state & (CLOSING | SHAKING) or self._goodbye is Farewell.KICKED:
            self.abort()
            return None
        if not state & RUNNING:
            self.dismiss(EXPIRY[self._clock])
        return now + self.server.wheel.tick

    # ---- asyncio.Protocol -------------------------------------------------------------------------------------------
    def connection_made(self, transport: BaseTransport) -> None:
        """A client is there; on a TLS port its handshake is done."""
        self._take(transport)
        self._start_clock()
        if self.forwarded is None or self.forwarded.address:
            self._origin = self.address
        self.unjudged = self.forwards and self.trusted
        if self.server.needs_names(self):
            # What comes before the greeting is kept like what comes while a command runs.
            self._state |= RUNNING
            self._task = self.server.loop.create_task(self._welcome_later())
        else:
            self._welcome()

    async def _welcome_later(self) -> None:
        try:
            await self.server.find_names(self)
        except CancelledError:
            self.abort()
        except Exception as error:
            # The host is of unknown name then; a client must not wait for ever.
            self.log.error("host name look-up failed", error=error)
        self._task = None
        self._state &= ~RUNNING
        if not self._state & LOST:
            self._welcome()
            self._pump()

    def _welcome(self) -> None:
        turned_away = self.server.admit(self)
        if turned_away is None:
            self._welcomed = True
            self.write(self.greeting())
        elif not self._transport.is_closing():
            self.write(self.server.refusals[turned_away])
            self._close(linger=True)

    def data_received(self, data: bytes) -> None:
        """Input. What cannot be looked at now is the last that is read for now."""
        size = len(data)
        self.received += size
        self.server.traffic.received += size
        state = self._state
        if state & (CLOSING | SHAKING):
            self._set_aside(data)
            return
        if self._clock is DATA:
            self._deadline = self.server.wheel.now + self.server.patience[DATA]
        self.feed(data)
        if state:
            self._pause_reading()
        else:
            self._pump()

    def eof_received(self) -> bool:
        """The client says no more, and still gets its answers; under TLS, which knows no half-close, it is gone."""
        self._eof = True
        if not self._state & CLOSING:
            self._leave_if_possible()
        return not self.encrypted and not self._state & (CLOSING | SHAKING)

    def connection_lost(self, exc: Exception | None) -> None:
        """The client is gone."""
        if self._state & LOST:
            return
        self._state |= LOST | CLOSING
        self._wake_writer()
        self.server.forget(self)
        if not self._state & RUNNING:
            self._end()

    # ---- inside -----------------------------------------------------------------------------------------------------
    def _start_clock(self) -> None:
        wheel = self.server.wheel
        self._deadline = wheel.now + self.server.patience[self._clock]
        wheel.schedule(self, self._deadline)

    def _pump(self) -> None:
        """Answer what is complete, up to this client's share, and send the answers together."""
        if self._held is None:
            self._held = b""
        waiting = self._answer_all()
        self._release()
        if waiting:
            if self._goodbye is not None or self._eof:
                self._leave_if_possible()
            if not self._reading:
                self._resume_reading()

    def _answer_all(self) -> bool:
        """Whether it is the client's turn now; else a command runs, or the others have theirs."""
        share, tracer = SHARE, self.server.tracer
        while not self._state:
            started = perf_counter()
            self.result = "ok"
            try:
                answer = self.step() if tracer is None else self._traced_step(tracer)
            except Exception as error:
                answer = self.failure(error)
            if answer is None:
                break
            if not isinstance(answer, bytes):
                self._state |= RUNNING
                self._begin(answer, started)
                return False
            self._answered(answer, started)
            share -= 1
            if not share:
                self._rest()
                return False
        return True

    def _traced_step(self, tracer: Tracer) -> Answer | None:
        """`step` with a span, where chance has it so; whatever the command begins finds it."""
        self._span = tracer.begin(self.server.service, self.session_id)
        return within_span(self._span, self.step)

    def _end_span(self, span: Span) -> None:
        self._span = None
        if self.command:
            span.rename(f"{self.server.service} {self.command}")
            span.end(self.result)

    def _begin(self, answer: Coroutine[Any, Any, bytes] | Later[Any], started: float) -> None:
        if type(answer) is Later:
            if self.server.slots.try_acquire():
                self._task = answer.future
                answer.future.add_done_callback(partial(self._came, answer.reply, started))
                return
            answer = answer.answer()
        self._task = self.server.loop.create_task(self._run(cast("Coroutine[Any, Any, bytes]", answer), started))

    def _came(self, make: Callable[[Any], Reply], started: float, future: Future[Any]) -> None:
        """What the answer of a command hangs on is there."""
        self.server.slots.release()
        self._task = None
        reply: Reply = b""
        try:
            reply = make(future.result())
        except CancelledError:
            self.abort()
        except Exception as error:
            if not self._state & LOST:
                reply = self.failure(error)
        if isinstance(reply, bytes):
            self._over(reply, started)
        else:
            self._begin(reply, started)

    async def _run(self, answer: Coroutine[Any, Any, bytes], started: float) -> None:
        reply = b""
        SESSION.set(self)
        if self._span is not None:
            SPAN.set(self._span)
        try:
            reply = await in_slot(self.server.slots, answer)
        except CancelledError:
            self.abort()
        except Exception as error:
            if not self._state & LOST:
                reply = self.failure(error)
        self._task = None
        self._over(reply, started)

    def _over(self, reply: bytes, started: float) -> None:
        """The command that ran is answered."""
        self._state &= ~RUNNING
        self._answered(reply, started)
        if self._state & LOST:
            self._end()
        else:
            self._pump()

    def _answered(self, reply: bytes, started: float) -> None:
        if reply:
            self.write(reply)
        server, result = self.server, self.result
        if self._span is not None:
            self._end_span(self._span)
        if self.command:
            server.observer.command(server.service, self.command, result, perf_counter() - started)
        if self._clock is IDLE and result != "bad":
            self._deadline = server.wheel.now + server.patience[IDLE]
        if not (self._want_close or self._want_tls) or self._state & LOST:
            return
        if self._want_close:
            self._close(linger=False)
        else:
            self._want_tls = False
            self.discard()
            self._shake_hands(self.secured)

    def _rest(self) -> None:
        self._state |= RESTING
        self._pause_reading()
        self.server.loop.call_soon(self._rested)

    def _rested(self) -> None:
        self._state &= ~RESTING
        self._pump()

    def _leave_if_possible(self) -> None:
        """Say goodbye where one is due: nothing runs, and the client has no more to say or has to go."""
        why, state = self._goodbye, self._state
        if why is None:
            if self._eof and not state:
                self._close(linger=False)
        elif state & SHAKING:
            self.abort()
        elif not state & (RUNNING | CLOSING) and (why is not Farewell.SHUTDOWN or self.at_rest()):
            self.write(self.farewell(why))
            self._close(linger=True)

    def _end(self) -> None:
        """The client is gone and nothing runs."""
        if self._welcomed:
            self._welcomed = False
            self.ended()
