"""Addresses that belong together because somebody listed their networks."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import ip_network

from services.common.access.patterns import host


class Networks:
    """A list of networks (`192.0.2.0/24`, `2001:db8::/32`, single addresses). The texts are those that passed the
    option's check.
    """

    __slots__ = ("_networks",)

    def __init__(self, texts: Iterable[str] = ()) -> None:
        """Raises ValueError."""
        self._networks = tuple(ip_network(text, strict=False) for text in texts)

    def __bool__(self) -> bool:
        """Whether any is listed."""
        return bool(self._networks)

    def holds(self, address: str) -> bool:
        """Whether the address is in one of them; what is no address is in none."""
        if not self._networks:
            return False
        client = host(address).address
        return client is not None and any(client in network for network in self._networks)
