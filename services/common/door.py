"""Who is let in at one service: filters, limits of addresses, and whom trusted front ends speak for.

A client is judged by its true address. One behind a balancer has it from the start (the PROXY header comes before
anything else); one behind a front end that is trusted by `access.trustedproxies` has it when the front end names it
(XCLIENT, ID). Until then such a connection is let in unjudged, and if no client is named at all the front end's own
address is judged when it logs in.
"""

from __future__ import annotations

from enum import Enum
from typing import Any, Final, Protocol

from services.common.access.marks import address_number
from services.common.access.networks import Networks
from services.common.access.patterns import Host, HostName, NameNeeded, host
from services.common.access.realms import SessionLimits
from services.common.access.service import ServiceFilters
from services.common.accessoptions import AccessOptions
from services.common.badguys import BadGuys
from services.common.hostnames import HostNames
from services.common.live import Live
from services.common.sessions import SessionRegistry
from services.common.telemetry import SessionLog


class TurnedAway(Enum):
    """Why a client that connects is not let in. A protocol has its words for each in a table (`refusals`)."""

    PROCESS = "process"
    ADDRESS = "address"
    DRAINING = "draining"
    FILTER = "filter"
    BAN = "ban"


PROXY: Final = "proxy"
"""The metric's reason for clients of a proxy port that are cut without a word: no header, or from nowhere trusted."""


class Visitor(Protocol):
    """A connection as it stands at the door."""

    address: str
    ends: tuple[Host, Host] | None
    """The client and the server with the names that the filters asked for; None where they did not."""

    @property
    def server_address(self) -> str: ...

    @property
    def log(self) -> SessionLog: ...


class Door:
    """The filters, limits and trusted networks of one service as they are now; a reload replaces them.

    `options` are the service's; one that has no filters or realms among them (LMTP, the admin port) lets all pass, and
    so does one without `badguys`, where nobody logs in.
    """

    def __init__(
        self,
        service: str,
        options: Live[Any],
        registry: SessionRegistry,
        access: Live[AccessOptions] | None = None,
        names: HostNames | None = None,
        badguys: BadGuys | None = None,
    ) -> None:
        self._service = service
        self._registry = registry
        self._names = names or HostNames()
        self._badguys = badguys
        self._filters = ServiceFilters()
        self._limits = SessionLimits()
        self._trusted = Networks()
        self._resolves = False
        self._take_options(options.value)
        options.subscribe(self._take_options)
        if access is not None:
            self._take_access(access.value)
            access.subscribe(self._take_access)

    def trusts(self, address: str) -> bool:
        """Whether a balancer or front end at the address is believed."""
        return self._trusted.holds(address)

    def needs_names(self, visitor: Visitor) -> bool:
        """Whether the filters need host names to judge this client: `find_names` first, then `judge`."""
        if not self._filters.names:
            return False
        try:
            self._filters.decide(self._service, host(visitor.address), host(visitor.server_address))
        except NameNeeded:
            return True
        return False

    async def find_names(self, visitor: Visitor) -> None:
        """Look up what the filters want to know."""
        client = await self._names.find(visitor.address)
        there = visitor.server_address
        server = await self._names.find(there) if self._filters.server_names else HostName()
        visitor.ends = host(visitor.address, client), host(there, server)

    def bars(self, visitor: Visitor) -> TurnedAway | None:
        """Why nobody at this address is let in: a ban, a filter; None where somebody may be."""
        if self._badguys is not None and self._badguys.banned(visitor.address):
            visitor.log.info("refused: shut out")
            return TurnedAway.BAN
        return None if self._passes(visitor) else TurnedAway.FILTER

    def _passes(self, visitor: Visitor) -> bool:
        """Whether the service's filters let the client in. Names that were not looked up are unknown."""
        if not self._filters:
            return True
        client, server = visitor.ends or (host(visitor.address, HostName()), host(visitor.server_address, HostName()))
        decision = self._filters.decide(self._service, client, server)
        if not decision.allowed:
            visitor.log.info("refused by filter", rule=decision.rule or "none", why=decision.because)
        return decision.allowed

    def judge(self, visitor: Visitor) -> TurnedAway | None:
        """Why a client of this address is not let in, or None. To be asked before it is counted."""
        why = self.bars(visitor)
        if why is not None:
            return why
        # A proxy that speaks for itself has as many connections as it has clients.
        limit = 0 if self.trusts(visitor.address) else self._limits.of(visitor.address)
        if limit and self._registry.from_address(visitor.address) >= limit:
            visitor.log.info("connection limit reached", limit=limit)
            return TurnedAway.ADDRESS
        return None

    def let_in(self, visitor: Visitor) -> None:
        """The client is known by its address now: look its name up for the log, where that is wanted."""
        if self._resolves and address_number(visitor.address) is not None:
            self._names.prefetch(visitor.address)

    def host_name(self, visitor: Visitor) -> str:
        """The client's name for the log; "" where it is not known (yet) or not wanted."""
        name = self._names.known(visitor.address) if self._resolves else None
        return name.text if name is not None and name.known else ""

    def _take_options(self, options: Any) -> None:
        self._filters = ServiceFilters(getattr(options, "domainallowed", ()), getattr(options, "domainnotallowed", ()))
        self._limits = SessionLimits(getattr(options, "connlimits", ()), options.maxsessionsperaddress)

    def _take_access(self, options: AccessOptions) -> None:
        self._trusted = Networks(options.trustedproxies)
        self._resolves = options.dnsresolveclient
