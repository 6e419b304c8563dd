"""The filters of one service, as its options have them."""

from __future__ import annotations

from collections.abc import Sequence

from services.common.access.filters import Decision, Visit, decide, parse_filter
from services.common.access.patterns import Host, host


def check_filter(text: str) -> bool:
    """Whether this is a filter: True, or FilterError, which says why not."""
    parse_filter(text)
    return True


class ServiceFilters:
    """`domainallowed` and `domainnotallowed`, read once. The texts are those that passed `check_filter`."""

    def __init__(self, allowed: Sequence[str] = (), notallowed: Sequence[str] = ()) -> None:
        """Raises FilterError."""
        self._allow = tuple(map(parse_filter, allowed))
        self._deny = tuple(map(parse_filter, notallowed))
        filters = (*self._allow, *self._deny)
        self.names = any(each.names for each in filters)
        """Whether a decision may need the names of hosts."""
        self.server_names = any(each.services.names for each in filters)
        """Whether it may need the server's own."""

    def __bool__(self) -> bool:
        """Whether there is anything to ask."""
        return bool(self._allow or self._deny)

    def decide(self, service: str, client: Host, server: Host | None = None) -> Decision:
        """Whether `client` may connect to the service at `server`. Raises NameNeeded."""
        return decide(Visit(service, client, server or host("")), self._allow, self._deny)
