"""What a trusted front end says of its client in its own protocol: XCLIENT in POP3, ID in IMAP.

The names are those that other mail servers' proxies send. Attributes that mean nothing here (ports, session names,
counters of hops) are passed over.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from services.common.access.patterns import host
from services.common.peer import Forwarded


@dataclass(frozen=True, slots=True)
class Attributes:
    """Names, in capitals, of what matters: the client's address, the address that it connected to, and whether it
    speaks TLS with the front end.
    """

    client: str
    server: str
    transport: str


XCLIENT: Final = Attributes("ADDR", "DESTADDR", "CLIENT-TRANSPORT")
"""POP3. `IPV6:` before an address is how Postfix writes one."""
ID: Final = Attributes("X-ORIGINATING-IP", "X-CONNECTED-IP", "X-CLIENT-TRANSPORT")
"""IMAP (the fields of RFC 2971)."""


def read_forwarded(names: Attributes, said: Mapping[str, str]) -> Forwarded | None:
    """The client in what was said (names in capitals); None where no client is named. Raises ValueError."""
    if names.client not in said:
        return None
    server = said.get(names.server)
    transport = said.get(names.transport)
    return Forwarded(
        _address(said[names.client]),
        "" if server is None else _address(server),
        tls=None if transport is None else transport.upper().startswith("TLS"),
        relayed=True,
    )


def _address(text: str) -> str:
    found = host(text.upper().removeprefix("IPV6:").lower()).address
    if found is None:
        raise ValueError(f"{text[:40]!r} is no address")
    return str(found)
