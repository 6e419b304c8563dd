"""Traces: which part of a command took how long, from the front end into the store.

Here is what code that is traced needs, and nothing that a trace is sent with (`services.common.otlp`). A command that
is traced has a span in `SPAN`; what it does inside `within` is a part of it. Where none is traced, that is one look-up.

Between processes a span travels as its context: 16 octets of the trace's id and 8 of its own, in a call of Exchange as
they are, in gRPC's metadata as `traceparent` (W3C Trace Context, section 3.2).
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from typing import Final, Protocol, TypeVar

from services.common.errors import StoreError, result_of

T = TypeVar("T")
R = TypeVar("R")

CONTEXT_BYTES: Final = 24
TRACEPARENT: Final = "traceparent"
_TRACEPARENT: Final = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}")
_TRACE_BYTES: Final = 16
ERROR: Final = "error"
CANCELLED: Final = "cancelled"


class Span(Protocol):
    """A part of a traced command. Methods are cheap, never raise and never block."""

    @property
    def context(self) -> bytes:
        """What another process needs to go on with it."""

    @property
    def trace_id(self) -> str:
        """The trace's id in hexadecimal, as logs have it."""

    @property
    def open(self) -> bool:
        """Whether it has not ended. Tasks that a command leaves behind still have its span, and are no part of it."""

    def rename(self, name: str) -> None:
        """What it is for became known."""

    def part(self, name: str) -> Span:
        """A span inside this one, from now on."""

    def call(self, name: str) -> Span:
        """A span inside this one for a call to another process, from now on."""

    def end(self, result: str = "ok") -> None:
        """It is over; `result` as in the metrics, or CANCELLED."""


class Tracer(Protocol):
    """Where spans come from, and go to when they end."""

    def begin(self, name: str, session_id: str) -> Span | None:
        """A span for a client's command; None for one that is not traced."""

    def join(self, name: str, context: bytes) -> Span | None:
        """A span for what another process asks for as part of a trace; None where `context` is none."""

    async def close(self) -> None:
        """Send what has ended, within some seconds."""


SPAN: Final[ContextVar[Span | None]] = ContextVar("span", default=None)
"""What the running task is working for; None: it is not traced."""


def current() -> Span | None:
    """The span that the running task works for."""
    span = SPAN.get()
    return span if span is not None and span.open else None


def current_context() -> bytes:
    """The context of the current span, b"" for none."""
    span = current()
    return b"" if span is None else span.context


def within_span(span: Span | None, work: Callable[[], R]) -> R:
    """Run what is done at once, and what it begins, as part of a span, or of none."""
    token = SPAN.set(span)
    try:
        return work()
    finally:
        SPAN.reset(token)


def within(name: str, work: Awaitable[T], refusals: tuple[type[Exception], ...] = ()) -> Awaitable[T]:
    """`work`, as a part of the current span where there is one. `refusals` are exceptions that are answers."""
    span = current()
    return work if span is None else _timed(span.part(name), work, refusals)


def calling(name: str, work: Awaitable[T]) -> Awaitable[T]:
    """As `within`, for work that another process does."""
    span = current()
    return work if span is None else _timed(span.call(name), work, ())


async def _timed(span: Span, work: Awaitable[T], refusals: tuple[type[Exception], ...]) -> T:
    token, result = SPAN.set(span), CANCELLED
    try:
        done = await work
        result = "ok"
        return done
    except Exception as error:
        result = result_of(error.reason) if isinstance(error, StoreError) else ERROR
        if isinstance(error, refusals):
            result = "no"
        raise
    finally:
        SPAN.reset(token)
        span.end(result)


def traceparent(context: bytes) -> str:
    """A context as metadata has it; only commands that are sampled have one."""
    return f"00-{context[:_TRACE_BYTES].hex()}-{context[_TRACE_BYTES:].hex()}-01"


def read_traceparent(text: str) -> bytes:
    """The context of a `traceparent`, b"" where it is none."""
    found = _TRACEPARENT.fullmatch(text)
    return b"" if found is None else bytes.fromhex(found[1] + found[2])
