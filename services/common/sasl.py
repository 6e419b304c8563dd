"""Server side of SASL (RFC 4422): mechanisms as generators, and the exchange that drives one. No I/O.

A mechanism is a row of `MECHANISMS`. Its generator yields steps: a `Challenge` is sent to the client and answered with
the client's response; any other step is for the server's own side to answer or, as `Credentials`, the end. A mechanism
that asks for a stored key (SCRAM) or for the TLS layer's certificate (EXTERNAL) is a further row that yields a further
kind of step; nothing here changes for it.

    exchange = Exchange(MECHANISMS["PLAIN"])
    step = exchange.begin(initial)            # base64 text of the initial response, or None
    while isinstance(step, Challenge):        # send step.line, read a line
        step = exchange.respond(line)
"""

from __future__ import annotations

from base64 import b64encode
from binascii import Error as Base64Error
from binascii import a2b_base64
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import Final

from services.common.saslprep import saslprep

MAX_RESPONSE: Final = 12_288
"""Bytes of one response line in base64 (the bound of RFC 4954 section 4)."""


class SaslError(Exception):
    """The exchange is over without credentials."""


class SaslCancelledError(SaslError):
    """The client sent `*`."""


class SaslInvalidError(SaslError):
    """A response that is too long, is not base64, or is not what the mechanism takes."""


@dataclass(frozen=True, slots=True)
class Challenge:
    """What the client is asked, undecoded."""

    data: bytes

    @property
    def line(self) -> bytes:
        """The challenge in base64, as POP3 and IMAP send it after `+ `."""
        return b64encode(self.data)


@dataclass(frozen=True, slots=True)
class Credentials:
    """Who says to be whom. `authorize_as` is "" or the identity to act as (RFC 4422 section 3.4.1)."""

    name: str
    password: str = field(repr=False)
    authorize_as: str = ""

    @property
    def for_another(self) -> bool:
        """Whether the client asks to act as somebody else than it logs in as."""
        return self.authorize_as not in ("", self.name)


Step = Challenge | Credentials
Run = Generator[Step, bytes, None]


def _plain(initial: bytes | None) -> Run:
    """RFC 4616: `[authzid] NUL authcid NUL passwd`."""
    message = (yield Challenge(b"")) if initial is None else initial
    parts = message.split(b"\0")
    if len(parts) != 3:
        raise SaslInvalidError
    authorize_as, name, password = (_text(part) for part in parts)
    yield _credentials(name, password, authorize_as)


def _login(initial: bytes | None) -> Run:
    """LOGIN, never standardised: a name and a password, each asked for; an initial response is the name."""
    name = (yield Challenge(b"Username:")) if initial is None else initial
    password = yield Challenge(b"Password:")
    yield _credentials(_text(name), _text(password))


def _text(octets: bytes) -> str:
    try:
        return saslprep(octets.decode())
    except ValueError:
        raise SaslInvalidError from None


def _credentials(name: str, password: str, authorize_as: str = "") -> Credentials:
    """RFC 4616 section 2: neither may be empty."""
    if not name or not password:
        raise SaslInvalidError
    return Credentials(name, password, authorize_as)


@dataclass(frozen=True, slots=True)
class Mechanism:
    """One row. `plaintext`: the password crosses the wire, so that the login policy may want TLS first."""

    name: str
    run: Callable[[bytes | None], Run]
    plaintext: bool


MECHANISMS: Final[dict[str, Mechanism]] = {
    row.name: row
    for row in (
        Mechanism("PLAIN", _plain, plaintext=True),
        Mechanism("LOGIN", _login, plaintext=True),
    )
}


def offered(*, plaintext: bool) -> tuple[str, ...]:
    """Names of the mechanisms for CAPA and CAPABILITY, in table order; `plaintext`: passwords may cross the wire."""
    return tuple(row.name for row in MECHANISMS.values() if plaintext or not row.plaintext)


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
