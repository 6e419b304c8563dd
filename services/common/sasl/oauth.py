"""OAUTHBEARER (RFC 7628) and XOAUTH2 (its ancestor): the client shows a token that an authorization server signed."""

from __future__ import annotations

import json
import re
from typing import Final

from services.common.sasl.steps import (
    Challenge,
    Proved,
    Rejected,
    Run,
    SaslInvalidError,
    Situation,
    TokenWanted,
    name_of,
)

_TOKEN: Final = rb"[A-Za-z0-9._~+/-]+=*"
_BEARER: Final = re.compile(
    rb"(?:n|y|p=[A-Za-z0-9.-]+),(?:a=([^,\x01]*))?,\x01((?:[A-Za-z]+=[\x20-\x7e\t\r\n]*\x01)*)\x01"
)
_AUTH: Final = re.compile(rb"(?i:Bearer) +(%b)" % _TOKEN)
_XOAUTH2: Final = re.compile(rb"user=([^\x01]*)\x01auth=(?i:Bearer) +(%b)\x01\x01" % _TOKEN)
_KVSEP: Final = b"\x01"


def oauthbearer(initial: bytes | None, situation: Situation) -> Run:
    """RFC 7628 section 3.1: a GS2 header whose identity may be empty, then `auth=Bearer token` among other values."""
    message = (yield Challenge(b"")) if initial is None else initial
    found = _BEARER.fullmatch(message)
    if found is None:
        raise SaslInvalidError
    values = dict(pair.split(b"=", 1) for pair in found[2].split(_KVSEP) if pair)
    auth = _AUTH.fullmatch(values.get(b"auth", b""))
    if auth is None:
        raise SaslInvalidError
    name = (found[1] or b"").replace(b"=2C", b",").replace(b"=3D", b"=")
    yield from _check(name_of(name), auth[1], {"status": "invalid_token"})


def xoauth2(initial: bytes | None, situation: Situation) -> Run:
    """`user=NAME ^A auth=Bearer TOKEN ^A ^A`, never standardised; what Google and Microsoft documented."""
    message = (yield Challenge(b"")) if initial is None else initial
    found = _XOAUTH2.fullmatch(message)
    if found is None:
        raise SaslInvalidError
    yield from _check(name_of(found[1]), found[2], {"status": "401", "schemes": "Bearer"})


def _check(authorize_as: str, token: bytes, error: dict[str, str]) -> Run:
    """A refusal is told as JSON first, which the client answers with something empty (RFC 7628 section 3.2.3)."""
    name = yield TokenWanted(token.decode())
    if name is None:
        yield Challenge(json.dumps(error).encode())
        yield Rejected(authorize_as, "the token is not valid here")
        return
    yield Proved(name, authorize_as)
