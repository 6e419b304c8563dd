"""SCRAM-SHA-256 and SCRAM-SHA-256-PLUS (RFC 5802, RFC 7677): neither side shows the other the password.

The directory holds `ScramSecret`s. A name without one gets a decoy, made from the name and a key, so that the answers
do not tell which names there are.
"""

from __future__ import annotations

import hmac
import os
import re
from base64 import b64encode
from binascii import Error as Base64Error
from binascii import a2b_base64
from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import pbkdf2_hmac, sha256
from typing import Final

from services.common.sasl.steps import (
    Challenge,
    Proved,
    Rejected,
    Run,
    SaslInvalidError,
    SecretKind,
    SecretWanted,
    Situation,
    name_of,
)

ITERATIONS: Final = 10_000
"""Of new secrets. RFC 7677 section 4 asks for 4096 at least; the client computes them at every login."""
_SECRET: Final = re.compile(r"([1-9][0-9]{0,6}):([A-Za-z0-9+/]+=*)\$([A-Za-z0-9+/]+=*):([A-Za-z0-9+/]+=*)")
_SALT_BYTES: Final = 16
_KEY_BYTES: Final = 32
_NONCE: Final = rb"[\x21-\x2b\x2d-\x7e]+"
_FIRST: Final = re.compile(rb"(n|y|p=([A-Za-z0-9.-]+)),(?:a=([^,]+))?,(n=([^,]+),r=(%b)(?:,[^\0]*)?)" % _NONCE)
_FINAL: Final = re.compile(rb"(c=([A-Za-z0-9+/=]+),r=(%b)(?:,[^\0]*)?),p=([A-Za-z0-9+/=]+)" % _NONCE)


@dataclass(frozen=True, slots=True)
class ScramSecret:
    """What the server keeps of a password (RFC 5802 section 3); it is no password, yet enough to play the server."""

    iterations: int
    salt: bytes
    stored_key: bytes = field(repr=False)
    server_key: bytes = field(repr=False)

    def __str__(self) -> str:
        """The text that a directory holds (RFC 5803), without the scheme."""
        salt, stored, server = (b64encode(each).decode() for each in (self.salt, self.stored_key, self.server_key))
        return f"{self.iterations}:{salt}${stored}:{server}"


def make_secret(password: str, iterations: int = ITERATIONS, salt: bytes | None = None) -> ScramSecret:
    """The secret of a password that SASLprep has prepared. Takes some milliseconds."""
    salt = os.urandom(_SALT_BYTES) if salt is None else salt
    salted = pbkdf2_hmac("sha256", password.encode(), salt, iterations)
    stored_key = sha256(_mac(salted, b"Client Key")).digest()
    return ScramSecret(iterations, salt, stored_key, _mac(salted, b"Server Key"))


def parse_secret(text: str) -> ScramSecret:
    """Read what `str` of one made. Raises ValueError."""
    found = _SECRET.fullmatch(text)
    if found is None:
        raise ValueError("not a SCRAM-SHA-256 secret")
    secret = ScramSecret(int(found[1]), *(_bytes(part.encode()) for part in found.groups()[1:]))
    if {len(secret.stored_key), len(secret.server_key)} != {_KEY_BYTES}:
        raise ValueError("not keys of SHA-256")
    return secret


def _decoy(name: str, situation: Situation) -> ScramSecret:
    """The same for a name each time, in the measures of the secrets that there are, and nobody has its password."""
    like = _parsed(situation.decoy_like) if situation.decoy_like else None
    iterations, size = (like.iterations, len(like.salt)) if like else (ITERATIONS, _SALT_BYTES)
    salt, stored, server = (_mac(situation.decoy_key, part + name.encode()) for part in (b"salt", b"stored", b"server"))
    return ScramSecret(iterations, (salt * (size // len(salt) + 1))[:size], stored, server)


@dataclass(frozen=True, slots=True)
class _First:
    """The client's first message. `header` and `bare` are its two halves as they came."""

    binding: str
    """Name of the channel binding; "" for none."""
    doubts: bool
    """The client could bind and believes that the server cannot (the flag `y`)."""
    header: bytes
    bare: bytes
    name: str
    authorize_as: str
    nonce: bytes


def scram(*, plus: bool) -> Callable[[bytes | None, Situation], Run]:
    """The mechanism, with channel binding (`plus`) or without."""

    def run(initial: bytes | None, situation: Situation) -> Run:
        first = _first((yield Challenge(b"")) if initial is None else initial)
        problem = _unbindable(first, situation, plus)
        if problem:
            yield Rejected(first.name, problem)
            return
        text = yield SecretWanted(first.name, SecretKind.SCRAM_SHA_256)
        secret = _decoy(first.name, situation) if text is None else _parsed(text)
        nonce = first.nonce + situation.nonce.encode()
        asked = b"r=%b,s=%b,i=%d" % (nonce, b64encode(secret.salt), secret.iterations)
        response = yield Challenge(asked)
        final = _FINAL.fullmatch(response)
        if final is None or final[3] != nonce:
            raise SaslInvalidError
        if _decoded(final[2]) != first.header + situation.bindings.get(first.binding, b""):
            yield Rejected(first.name, "the client is bound to another channel")
            return
        message = b",".join((first.bare, asked, final[1]))
        if not _proves(secret, message, _decoded(final[4])) or text is None:
            yield Rejected(first.name, "no SCRAM secret is stored" if text is None else "wrong password")
            return
        if (yield Challenge(b"v=" + b64encode(_mac(secret.server_key, message)))):
            raise SaslInvalidError
        yield Proved(first.name, first.authorize_as)

    return run


def _first(message: bytes) -> _First:
    found = _FIRST.fullmatch(message)
    if found is None:
        raise SaslInvalidError
    header = message[: len(message) - len(found[4])]
    name, authorize_as = _saslname(found[5]), _saslname(found[3] or b"")
    if not name:
        raise SaslInvalidError
    return _First((found[2] or b"").decode(), found[1] == b"y", header, found[4], name, authorize_as, found[6])


def _saslname(octets: bytes) -> str:
    """RFC 5802 section 5.1: `=2C` is a comma, `=3D` an equals sign, and no other equals sign is allowed."""
    plain = octets.replace(b"=2C", b",").replace(b"=3D", b"\0")
    if b"=" in plain or b"\0" in octets:
        raise SaslInvalidError
    return name_of(plain.replace(b"\0", b"="))


def _unbindable(first: _First, situation: Situation, plus: bool) -> str:
    """Why the channel cannot be bound as the client says; "" where it can, or need not be (RFC 5802 section 6)."""
    if bool(first.binding) != plus:
        raise SaslInvalidError
    if first.doubts and situation.binds:
        return "the client did not see that channels are bound here: somebody may be in between"
    if plus and first.binding not in situation.bindings:
        return f"no channel binding {first.binding} here"
    return ""


def _parsed(text: str) -> ScramSecret:
    try:
        return parse_secret(text)
    except ValueError:
        raise SaslInvalidError from None


def _proves(secret: ScramSecret, message: bytes, proof: bytes) -> bool:
    """RFC 5802 section 3: the proof is the client's key, hidden by a signature that the stored key makes."""
    signature = _mac(secret.stored_key, message)
    client_key = bytes(one ^ other for one, other in zip(proof, signature, strict=False))
    return hmac.compare_digest(sha256(client_key).digest(), secret.stored_key)


def _decoded(octets: bytes) -> bytes:
    try:
        return _bytes(octets)
    except ValueError:
        raise SaslInvalidError from None


def _bytes(octets: bytes) -> bytes:
    """Base64, strictly. Raises ValueError."""
    try:
        return a2b_base64(octets, strict_mode=True)
    except Base64Error as error:
        raise ValueError(str(error)) from None


def _mac(key: bytes, message: bytes) -> bytes:
    return hmac.digest(key, message, "sha256")
