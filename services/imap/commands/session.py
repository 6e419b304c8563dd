"""Commands about the session itself: any state and before login (RFC 9051 sections 6.1 and 6.2)."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Capability:
    """CAPABILITY, RFC 9051 section 6.1.1."""


@dataclass(frozen=True, slots=True)
class Noop:
    """NOOP, RFC 9051 section 6.1.2."""


@dataclass(frozen=True, slots=True)
class Logout:
    """LOGOUT, RFC 9051 section 6.1.3."""


@dataclass(frozen=True, slots=True)
class Id:
    """ID, RFC 2971. `fields` is None for NIL; names are in lower case, a value None was NIL."""

    fields: tuple[tuple[str, str | None], ...] | None = None


@dataclass(frozen=True, slots=True)
class StartTls:
    """STARTTLS, RFC 9051 section 6.2.1."""


@dataclass(frozen=True, slots=True)
class Authenticate:
    """AUTHENTICATE, RFC 9051 section 6.2.2.

    `initial` is the initial response as sent, in base64 ("=" is an empty one), None without; `mechanism` in capitals.
    """

    mechanism: str
    initial: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Login:
    """LOGIN, RFC 9051 section 6.2.3."""

    user: str
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class ProxyAuth:
    """PROXYAUTH, Messaging Server's own: the account that a store administrator goes on as."""

    user: str


@dataclass(frozen=True, slots=True)
class Enable:
    """ENABLE, RFC 9051 section 6.3.1. Names in capitals, in the order sent."""

    capabilities: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Idle:
    """IDLE, RFC 9051 section 6.3.13; its end, DONE, is a `Continuation`."""
