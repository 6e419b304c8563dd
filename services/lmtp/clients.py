"""Which clients may deliver (`lmtp.allowedclients`)."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

from services.common.live import Live
from services.common.options import LmtpOptions
from services.common.peer import LOCAL_ADDRESS


class AllowedClients:
    """The networks of the option, ready to be asked; a reload replaces them."""

    __slots__ = ("_networks",)

    def __init__(self, options: Live[LmtpOptions]) -> None:
        self._networks: Sequence[IPv4Network | IPv6Network] = ()
        self._take(options.value)
        options.subscribe(self._take)

    def _take(self, options: LmtpOptions) -> None:
        self._networks = [ip_network(text, strict=False) for text in options.allowedclients]

    def allows(self, address: str) -> bool:
        """Whether the client at `address` may deliver. Who can open the Unix socket may."""
        if address == LOCAL_ADDRESS:
            return True
        try:
            client = ip_address(address.partition("%")[0])
        except ValueError:
            return False
        return any(client in network for network in self._networks)
