"""What a mechanism yields: questions to the client, questions to the server's own side, and the end.

A mechanism is a generator. `Challenge` is answered with the client's response (bytes), the `Wanted` steps with what
the server's side knows; what comes last is one of the `End`s.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Generator
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from services.common.loginnames import prepare_name
from services.common.saslprep import saslprep


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
    """An end: who says to be whom. `authorize_as` is "" or the identity to act as (RFC 4422 section 3.4.1)."""

    name: str
    password: str = field(repr=False)
    authorize_as: str = ""

    @property
    def for_another(self) -> bool:
        """Whether the client asks to act as somebody else than it logs in as."""
        return self.authorize_as not in ("", self.name)


Step: TypeAlias = Challenge | Credentials
Run: TypeAlias = Generator[Step, Any, None]


def name_of(octets: bytes) -> str:
    """A login name as it is compared (RFC 8265). Raises SaslInvalidError."""
    try:
        return prepare_name(octets.decode())
    except ValueError:
        raise SaslInvalidError from None


def password_of(octets: bytes) -> str:
    """A password as it is compared (RFC 4616 section 2, RFC 4013). Raises SaslInvalidError."""
    try:
        return saslprep(octets.decode())
    except ValueError:
        raise SaslInvalidError from None
