"""The filters of one service, as its options have them."""

from __future__ import annotations

from collections.abc import Sequence

from services.common.access.filters import Decision, Filter, Visit, decide, parse_filter
from services.common.access.patterns import FilterError, host

NAMES_UNKNOWN = "host names are not looked up here: only addresses, networks and ALL can be used"


def check_filter(text: str) -> bool:
    """Whether a service can be given this filter: True, or FilterError, which says why not."""
    _usable(text)
    return True


def _usable(text: str) -> Filter:
    found = parse_filter(text)
    if found.names:
        raise FilterError(NAMES_UNKNOWN, text.find(":") + 1)
    return found


class ServiceFilters:
    """`domainallowed` and `domainnotallowed`, read once. The texts are those that passed `check_filter`."""

    def __init__(self, allowed: Sequence[str] = (), notallowed: Sequence[str] = ()) -> None:
        """Raises FilterError."""
        self._allow = tuple(map(_usable, allowed))
        self._deny = tuple(map(_usable, notallowed))

    def __bool__(self) -> bool:
        """Whether there is anything to ask."""
        return bool(self._allow or self._deny)

    def decide(self, service: str, client: str, server: str = "") -> Decision:
        """Whether a client with the address `client` may connect to the service's address `server`."""
        return decide(Visit(service, host(client), host(server)), self._allow, self._deny)
