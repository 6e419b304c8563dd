"""Which clients may deliver (`lmtp.allowedclients`)."""

from __future__ import annotations

from services.common.access.networks import Networks
from services.common.live import Live
from services.common.options import LmtpOptions
from services.common.peer import LOCAL_ADDRESS


class AllowedClients:
    """The networks of the option, ready to be asked; a reload replaces them."""

    __slots__ = ("_networks",)

    def __init__(self, options: Live[LmtpOptions]) -> None:
        self._networks = Networks()
        self._take(options.value)
        options.subscribe(self._take)

    def _take(self, options: LmtpOptions) -> None:
        self._networks = Networks(options.allowedclients)

    def allows(self, address: str) -> bool:
        """Whether the client at `address` may deliver. Who can open the Unix socket may."""
        return address == LOCAL_ADDRESS or self._networks.holds(address)
