"""What clients prove themselves with, as it stands in requests: Basic, cookies, tokens of forms. No I/O.

A login's secret is 32 random octets; the client alone keeps it. Its cookie holds the account's number, so that the
store finds the login by its key, and the secret. What the store keeps is the secret's digest.
"""

from __future__ import annotations

import base64
import binascii
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Final

from services.common.domain import AccountId

SECRET_BYTES: Final = 32
MAX_CREDENTIALS: Final = 4_096
_COOKIE: Final = re.compile(r"([0-9a-f]{1,15})\.([A-Za-z0-9_-]{43})\Z")
_TOKEN: Final = re.compile(r"[A-Za-z0-9._~+/-]{1,8000}=*")
_HOST: Final = re.compile(r"(?:[A-Za-z0-9._-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?\Z")


@dataclass(frozen=True, slots=True)
class LoginCookie:
    """A login as a browser keeps it."""

    account_id: AccountId
    secret: bytes = field(repr=False)

    @property
    def digest(self) -> bytes:
        """The name of the login in the store."""
        return blake2b(self.secret, digest_size=32).digest()

    @property
    def form_token(self) -> str:
        """What forms of this login's pages carry, so that no other site's form acts for it."""
        return blake2b(b"form", key=self.secret, digest_size=16).hexdigest()

    def matches(self, token: str) -> bool:
        """Whether a form has the token; in constant time."""
        return secrets.compare_digest(self.form_token.encode(), token.encode("utf-8", "replace"))

    def __str__(self) -> str:
        return f"{self.account_id:x}.{base64.urlsafe_b64encode(self.secret).decode().rstrip('=')}"


def new_cookie(account_id: AccountId) -> LoginCookie:
    """A new login's."""
    return LoginCookie(account_id, secrets.token_bytes(SECRET_BYTES))


def read_cookie(text: str) -> LoginCookie | None:
    """None for what no login can have."""
    match = _COOKIE.match(text)
    if match is None:
        return None
    return LoginCookie(AccountId(int(match[1], 16)), base64.urlsafe_b64decode(match[2] + "="))


def cookie_name(tls: bool) -> str:
    """Over TLS the prefix binds it to this very host and to TLS (RFC 6265bis section 4.1.3.2)."""
    return "__Host-mailkeep" if tls else "mailkeep"


def cookie_header(cookie: LoginCookie | None, *, tls: bool) -> str:
    """Set-Cookie; None takes the cookie away."""
    value, age = ("", "; Max-Age=0") if cookie is None else (str(cookie), "")
    secure = "; Secure" if tls else ""
    return f"{cookie_name(tls)}={value}; Path=/; HttpOnly; SameSite=Lax{secure}{age}"


def cookies(header: str) -> Mapping[str, str]:
    """Names and values of a Cookie field; the first of a name counts."""
    found: dict[str, str] = {}
    for part in header.split(";"):
        name, equals, value = part.strip().partition("=")
        if equals:
            found.setdefault(name, value)
    return found


def read_basic(header: str) -> tuple[str, str] | None:
    """Name and password of an Authorization field (RFC 7617), in UTF-8; None for anything else."""
    scheme, _, value = header.strip().partition(" ")
    if scheme.lower() != "basic" or len(value) > MAX_CREDENTIALS:
        return None
    try:
        name, colon, password = base64.b64decode(value.strip(), validate=True).decode().partition(":")
    except (binascii.Error, ValueError):
        return None
    return (name, password) if colon else None


def read_bearer(header: str) -> str | None:
    """The token of an Authorization field (RFC 6750 section 2.1); None for anything else."""
    scheme, _, token = header.strip().partition(" ")
    return token.strip() if scheme.lower() == "bearer" and _TOKEN.fullmatch(token.strip()) else None


def is_host(text: str) -> bool:
    """Whether a Host field can be put into an address."""
    return _HOST.match(text) is not None


def from_here(*, site: str, origin: str, host: str, tls: bool) -> bool:
    """Whether a browser says that a request comes from a page of ours, or is no browser and says nothing.

    `site` is Sec-Fetch-Site, `origin` is Origin, both "" where the request has none.
    """
    if site:
        return site in ("same-origin", "none")
    return not origin or origin.lower() == f"{'https' if tls else 'http'}://{host}".lower()
