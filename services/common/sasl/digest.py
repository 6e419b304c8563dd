"""CRAM-MD5 (RFC 2195) and APOP (RFC 1939 section 7): the server knows the password in clear and checks a digest of it.

Both are old and weak, and offered only where they are switched on.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Callable
from hashlib import md5
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

_RESPONSE: Final = re.compile(rb"(.+) ([0-9a-f]{32})", re.DOTALL)


def timestamp(nonce: str) -> bytes:
    """What is digested with the password: a text in the form of a message id that is never sent twice."""
    return f"<{nonce}@mailkeep.invalid>".encode()


def cram_md5(initial: bytes | None, situation: Situation) -> Run:
    """RFC 2195: the server begins; the response is the name and a keyed digest."""
    if initial is not None:
        raise SaslInvalidError
    stamp = timestamp(situation.nonce)
    yield from _check((yield Challenge(stamp)), lambda password: hmac.digest(password, stamp, "md5"))


def apop(initial: bytes | None, situation: Situation) -> Run:
    """APOP's argument is its only response, and the greeting was its challenge (`situation.nonce`)."""
    stamp = timestamp(situation.nonce)
    yield from _check(initial or b"", lambda password: md5(stamp + password, usedforsecurity=False).digest())


def _check(response: bytes, digest: Callable[[bytes], bytes]) -> Run:
    found = _RESPONSE.fullmatch(response)
    if found is None:
        raise SaslInvalidError
    name = name_of(found[1])
    password = yield SecretWanted(name, SecretKind.CLEARTEXT)
    # An unknown name costs the same, and no password is "".
    right = hmac.compare_digest(digest((password or "").encode()).hex().encode(), found[2])
    if right and password:
        yield Proved(name)
    else:
        yield Rejected(name, "wrong password" if password else "no cleartext password is stored")
