"""Where directory servers are, as the option writes it. No I/O."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

_PLACE: Final = re.compile(r"(?:(ldaps?)://)?(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::([0-9]{1,5}))?/?", re.IGNORECASE)
_PORTS: Final = {"ldap": 389, "ldaps": 636}


@dataclass(frozen=True, slots=True)
class Place:
    """A server's host and port; `tls` from the first byte (ldaps)."""

    host: str
    port: int
    tls: bool

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"ldap{'s' if self.tls else ''}://{host}:{self.port}"


def parse_place(text: str) -> Place:
    """`ldaps://host`, `ldap://host:port`, or as in Messaging Server `host` or `host:port`. Raises ValueError."""
    match = _PLACE.fullmatch(text.strip())
    if match is None:
        raise ValueError("ldap://HOST[:PORT] or ldaps://HOST[:PORT]")
    scheme = (match[1] or "ldap").lower()
    port = int(match[3]) if match[3] else _PORTS[scheme]
    if not 0 < port < 65_536:
        raise ValueError("a port from 1 to 65535")
    return Place(match[2].strip("[]"), port, scheme == "ldaps")
