"""The exchange that drives a mechanism: base64 lines in, steps out. No I/O.

exchange = Exchange(MECHANISMS["PLAIN"])
step = exchange.begin(initial)            # base64 text of the initial response, or None
while isinstance(step, Challenge):        # send step.line, read a line
    step = exchange.respond(line)
"""

from __future__ import annotations

from binascii import Error as Base64Error
from binascii import a2b_base64
from collections.abc import Callable
from typing import Final

from services.common.sasl.mechanisms import Mechanism
from services.common.sasl.steps import Challenge, Run, SaslCancelledError, SaslInvalidError, Situation, Step, Wanted

MAX_RESPONSE: Final = 12_288
"""Bytes of one response line in base64 (the bound of RFC 4954 section 4)."""


class Exchange:
    """One authentication. Every method gives the next step or raises SaslError, after which it is over."""

    __slots__ = ("_mechanism", "_run", "_situation", "_step")

    def __init__(self, mechanism: Mechanism, situation: Situation) -> None:
        self._mechanism = mechanism
        self._situation = situation
        self._run: Run | None = None
        self._step: Step | None = None

    def begin(self, initial: bytes | None) -> Step:
        """Start; `initial` is the base64 text given with the command: `=` for an empty one, None for none."""
        response = None if initial is None else b"" if initial == b"=" else _decoded(initial)
        return self.begin_decoded(response)

    def begin_decoded(self, initial: bytes | None) -> Step:
        """Start with a response that came otherwise than in base64."""
        run = self._run = self._mechanism.run(initial, self._situation)
        return self._next(lambda: next(run))

    def respond(self, line: bytes) -> Step:
        """Go on with the client's line in base64, or `*` to cancel."""
        if line == b"*":
            raise SaslCancelledError
        run = self._run
        if run is None or not isinstance(self._step, Challenge):
            raise SaslInvalidError
        response = _decoded(line)
        return self._next(lambda: run.send(response))

    def supply(self, answer: str | None) -> Step:
        """Go on with what was wanted of the server's side."""
        run = self._run
        if run is None or not isinstance(self._step, Wanted):
            raise SaslInvalidError
        return self._next(lambda: run.send(answer))

    def _next(self, advance: Callable[[], Step]) -> Step:
        self._step = None
        try:
            step = self._step = advance()
        except StopIteration:
            raise SaslInvalidError from None
        return step


def _decoded(line: bytes) -> bytes:
    """Strictly: no line breaks, no foreign characters, right padding (RFC 4648 section 3)."""
    if len(line) > MAX_RESPONSE:
        raise SaslInvalidError
    try:
        return a2b_base64(line, strict_mode=True)
    except Base64Error:
        raise SaslInvalidError from None
