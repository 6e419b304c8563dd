"""The names that DNS has for addresses: looked up without blocking, remembered, and never waited for for long.

A name counts only if it leads back to its address; one that does not is `spoofed`. Where DNS does not answer, the name
is unknown for the time being: filters go on with UNKNOWN (`services.common.access`), and the log says so.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Sequence
from time import monotonic
from typing import TYPE_CHECKING, Final

from services.common.access.nameservers import parse_nameserver
from services.common.access.patterns import HostName
from services.common.telemetry import NO_OBSERVER, Observer, session_logger

if TYPE_CHECKING:
    from dns.asyncresolver import Resolver

SECONDS: Final = 3.0
"""A look-up takes no longer, with its way back."""
KEPT: Final = 300.0
KEPT_OUTAGE: Final = 10.0
REMEMBERED: Final = 10_000
AT_ONCE: Final = 100

UNAVAILABLE: Final = "unavailable"


def _result(name: HostName) -> str:
    """The metric's word for an answer."""
    return ("spoofed" if name.spoofed else "named") if name.text else "unnamed"


class HostNames:
    """Finds names. `nameservers` (texts that `parse_nameserver` reads) stand for the system's where given."""

    def __init__(
        self,
        nameservers: Sequence[str] = (),
        seconds: float = SECONDS,
        observer: Observer = NO_OBSERVER,
    ) -> None:
        self._nameservers = nameservers
        self._seconds = seconds
        self._observer = observer
        self._resolver: Resolver | None = None
        self._known: OrderedDict[str, tuple[float, HostName]] = OrderedDict()
        self._asking: dict[str, asyncio.Task[HostName]] = {}
        self._room = asyncio.Semaphore(AT_ONCE)

    def known(self, address: str) -> HostName | None:
        """The name where it was found not long ago."""
        until, name = self._known.get(address, (0.0, None))
        return name if until > monotonic() else None

    async def find(self, address: str) -> HostName:
        """The name of an IP address, after `seconds` at the latest. Does not raise; equal questions are asked once."""
        name = self.known(address)
        self._observer.cache("dns", name is not None)
        if name is not None:
            return name
        return await asyncio.shield(self._asking.get(address) or self._ask_for(address))

    def prefetch(self, address: str) -> None:
        """Begin to look a name up that nobody waits for; not where others wait for theirs."""
        if self.known(address) is None and address not in self._asking and len(self._asking) < AT_ONCE:
            self._ask_for(address)

    def _ask_for(self, address: str) -> asyncio.Task[HostName]:
        task = self._asking[address] = asyncio.create_task(self._find(address))
        task.add_done_callback(lambda _: self._asking.pop(address, None))
        return task

    async def _find(self, address: str) -> HostName:
        # Here, because most processes never ask, and the library takes its time to import.
        from dns.exception import DNSException

        kept, started, result = KEPT, monotonic(), ""
        try:
            async with asyncio.timeout(self._seconds), self._room:
                name = await self._ask(address)
        except (DNSException, OSError, TimeoutError) as error:
            session_logger("dns").warning(
                "no answer: the host counts as unknown", host=address, why=type(error).__name__
            )
            name, kept, result = HostName(), KEPT_OUTAGE, UNAVAILABLE
        self._observer.dns_lookup(result or _result(name), monotonic() - started)
        self._known[address] = (monotonic() + kept, name)
        self._known.move_to_end(address)
        if len(self._known) > REMEMBERED:
            self._known.popitem(last=False)
        return name

    async def _ask(self, address: str) -> HostName:
        """Raises DNSException where nobody answers."""
        from dns.resolver import NXDOMAIN, NoAnswer

        resolver = self._open()
        try:
            answer = await resolver.resolve_address(address, lifetime=self._seconds)
        except (NXDOMAIN, NoAnswer):
            return HostName()
        text = str(answer[0].target).rstrip(".").lower()
        try:
            kind = "AAAA" if ":" in address else "A"
            back = await resolver.resolve(f"{text}.", kind, search=False, lifetime=self._seconds)
        except (NXDOMAIN, NoAnswer):
            return HostName(text, spoofed=True)
        return HostName(text, spoofed=address not in {str(each.address) for each in back})

    def _open(self) -> Resolver:
        from dns.asyncresolver import Resolver
        from dns.nameserver import Do53Nameserver

        if self._resolver is None:
            self._resolver = Resolver(configure=not self._nameservers)
            if self._nameservers:
                self._resolver.nameservers = [Do53Nameserver(*parse_nameserver(text)) for text in self._nameservers]
        return self._resolver
