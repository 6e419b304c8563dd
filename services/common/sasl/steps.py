"""What a mechanism yields: questions to the client, questions to the server's own side, and the end.

A mechanism is a generator. `Challenge` is answered with the client's response (bytes), a `Wanted` step with what the
server's side knows, and the last step is an `End`.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, TypeAlias

from services.common.loginnames import prepare_name
from services.common.saslprep import saslprep


class SaslError(Exception):
    """The exchange is over without credentials."""


class SaslCancelledError(SaslError):
    """The client sent `*`."""


class SaslInvalidError(SaslError):
    """A response that is too long, is not base64, or is not what the mechanism takes."""


class SecretKind(Enum):
    """What a directory may hold of a password for mechanisms that never see it; the value is how its text begins."""

    SCRAM_SHA_256 = "SCRAM-SHA-256$"
    """`SCRAM-SHA-256$iterations:salt$StoredKey:ServerKey` (RFC 5803)."""
    CLEARTEXT = "{CLEARTEXT}"


@dataclass(frozen=True, slots=True)
class Situation:
    """What a mechanism may know of the connection and the process.

    `bindings` has the channel's bytes by the binding's name (RFC 5929); `binds`: a -PLUS mechanism was offered.
    `nonce` is text of this exchange alone. `decoy_key` makes secrets for names that are unknown, so that they look like
    the others, `decoy_like` being one of those ("" where none was seen yet).
    """

    bindings: Mapping[str, bytes] = field(default_factory=dict)
    binds: bool = False
    nonce: str = ""
    decoy_key: bytes = field(default=b"", repr=False)
    decoy_like: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Challenge:
    """What the client is asked, undecoded."""

    data: bytes

    @property
    def line(self) -> bytes:
        """The challenge in base64, as POP3 and IMAP send it after `+ `."""
        return b64encode(self.data)


@dataclass(frozen=True, slots=True)
class SecretWanted:
    """Answered with the stored text of that kind, without how it begins; None where the account has none."""

    name: str
    kind: SecretKind


@dataclass(frozen=True, slots=True)
class CertificateWanted:
    """Answered with the name of the account that the client's certificate means; None where it means none."""

    authorize_as: str


@dataclass(frozen=True, slots=True)
class TokenWanted:
    """Answered with the name that a bearer token was given to; None where it is not valid here."""

    token: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Credentials:
    """An end: a name and its password, which is still to be checked.

    `authorize_as` of every end is "" or the identity to act as (RFC 4422 section 3.4.1).
    """

    name: str
    password: str = field(repr=False)
    authorize_as: str = ""


@dataclass(frozen=True, slots=True)
class Proved:
    """An end: the client has shown that it is `name`."""

    name: str
    authorize_as: str = ""


@dataclass(frozen=True, slots=True)
class Rejected:
    """An end: the client has not shown that it is `name` ("" where it did not get to say one); `why` is for the log."""

    name: str
    why: str
    authorize_as: str = ""


Wanted: TypeAlias = SecretWanted | CertificateWanted | TokenWanted
End: TypeAlias = Credentials | Proved | Rejected
Step: TypeAlias = Challenge | Wanted | End
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
