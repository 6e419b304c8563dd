"""The exchange that drives a mechanism: base64 lines in, steps out. No I/O.

exchange = Exchange(MECHANISMS["PLAIN"])
step = exchange.begin(initial)            # base64 text of the initial response, or None
while isinstance(step, Challenge):        # send step.line, read a line
    step = exchange.respond(line)
"""

from __future__ import annotations

from binascii import Error as Base64Error
from binascii import a2b_base64
from typing import Final

from services.common.sasl.mechanisms import Mechanism
from services.common.sasl.steps import Run, SaslCancelledError, SaslInvalidError, Step

MAX_RESPONSE: Final = 12_288
"""Bytes of one response line in base64 (the bound of RFC 4954 section 4)."""


class Exchange:
    """One authentication. Every method gives the next step or raises SaslError, after which it is over."""

    __slots__ = ("_mechanism", "_run")

    def __init__(self, mechanism: Mechanism) -> None:
        self._mechanism = mechanism
        self._run: Run | None = None

    def begin(self, initial: bytes | None) -> Step:
        """Start; `initial` is the base64 text given with the command: `=` for an empty one, None for none."""
        response = None if initial is None else b"" if initial == b"=" else _decoded(initial)
        self._run = self._mechanism.run(response)
        return next(self._run)

    def respond(self, line: bytes) -> Step:
        """Go on with the client's line in base64, or `*` to cancel."""
        if line == b"*":
            raise SaslCancelledError
        if self._run is None:
            raise SaslInvalidError
        try:
            return self._run.send(_decoded(line))
        except StopIteration:
            raise SaslInvalidError from None


def _decoded(line: bytes) -> bytes:
    """Strictly: no line breaks, no foreign characters, right padding (RFC 4648 section 3)."""
    if len(line) > MAX_RESPONSE:
        raise SaslInvalidError
    try:
        return a2b_base64(line, strict_mode=True)
    except Base64Error:
        raise SaslInvalidError from None
