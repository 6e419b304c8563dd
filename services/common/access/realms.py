"""How many sessions an address may have, by where it is: `connlimits`.

A realm is `IP|MASK:NUMBER` or `NETWORK/LENGTH:NUMBER`, IPv6 in brackets or not: the number follows the last colon. An
address has the limit of the first realm that holds it. Source: technical reference wiki, "Connlimits Option".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import ip_network

from services.common.access.patterns import FilterError, Pattern, host, host_pattern

MAX_NUMBER = 1_000_000


@dataclass(frozen=True, slots=True)
class Realm:
    """Addresses, and how many sessions each of them may have; 0 is no limit."""

    addresses: Pattern
    number: int


def parse_realm(text: str) -> Realm:
    """Read one realm. Raises FilterError."""
    where, colon, number = text.rpartition(":")
    if not colon or not (number.isascii() and number.isdecimal()) or len(number) > 7 or int(number) > MAX_NUMBER:
        raise FilterError("the number of sessions is missing", len(where) + len(colon))
    network = where.strip().replace("|", "/")
    if not network or "/" not in network:
        raise FilterError("a network is missing", 0)
    try:
        ip_network(network.replace("[", "").replace("]", ""))
    except ValueError:
        raise FilterError("this is no network", 0) from None
    return Realm(host_pattern(network, 0), int(number))


def check_realm(text: str) -> bool:
    """Whether this is a realm: True, or FilterError, which says why not."""
    parse_realm(text)
    return True


class SessionLimits:
    """The limit of each address: of the first realm that holds it, else `default`. 0 is no limit."""

    def __init__(self, realms: Sequence[str] = (), default: int = 0) -> None:
        """The texts are those that passed `check_realm`. Raises FilterError."""
        self._realms = tuple(map(parse_realm, realms))
        self._default = default

    def of(self, address: str) -> int:
        """Sessions that the address may have."""
        if self._realms:
            client = host(address)
            for realm in self._realms:
                if realm.addresses.matches(client):
                    return realm.number
        return self._default
