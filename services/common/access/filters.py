"""The grammar of `domainallowed` and `domainnotallowed`, and the decision over a list of each.

    filter  := services ":" clients
    services, clients := spec {(blank | ",") spec} [EXCEPT services | clients]
    spec    := service | service "@" host        and       host | user "@" host

`a EXCEPT b EXCEPT c` is `a EXCEPT (b EXCEPT c)`. The host after a service is the server's own end. Nobody is asked for
the names of users (identd, RFC 1413): every user is UNKNOWN. Sources: administration guide 6.3, sections 23.7.1-23.7.3.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from services.common.access.patterns import MAX_FILTER, FilterError, Host, host_pattern

SERVICES: Final = frozenset({"pop", "imap", "http", "smtp"})
_EVERYTHING: Final = ("ALL", "*")
_UNNAMED: Final = ("ALL", "*", "UNKNOWN")
"""User parts that match a user of unknown name."""
_WORD: Final = re.compile(r"[^\s,]+")
MAX_EXCEPTS: Final = 32


@dataclass(frozen=True, slots=True)
class Visit:
    """A client at a service: what is asked about. `tls`: the session is under TLS now."""

    service: str
    client: Host
    server: Host = Host(None)  # noqa: RUF009 - a frozen value
    tls: bool = False


@dataclass(frozen=True, slots=True)
class Spec:
    """One word of a list."""

    matches: Callable[[Visit], bool]
    names: bool = False


@dataclass(frozen=True, slots=True)
class SpecList:
    """Words, of which one must match, and what is excepted from them."""

    specs: tuple[Spec, ...]
    excepted: SpecList | None = None

    def matches(self, visit: Visit) -> bool:
        """Whether the list takes the visit in. Raises NameNeeded."""
        if not any(spec.matches(visit) for spec in self.specs):
            return False
        return self.excepted is None or not self.excepted.matches(visit)

    @property
    def names(self) -> bool:
        """Whether host names may be needed."""
        return any(spec.names for spec in self.specs) or (self.excepted is not None and self.excepted.names)


@dataclass(frozen=True, slots=True)
class Filter:
    """One filter, with the text that it was read from."""

    text: str
    services: SpecList
    clients: SpecList

    def matches(self, visit: Visit) -> bool:
        """Whether it speaks of the visit. Raises NameNeeded."""
        return self.services.matches(visit) and self.clients.matches(visit)

    @property
    def names(self) -> bool:
        """Whether host names may be needed to decide."""
        return self.services.names or self.clients.names


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether a visit is allowed, and the text of the filter or rule that says so ("" for none: the default)."""

    allowed: bool
    rule: str = ""
    because: str = ""


def decide(visit: Visit, allow: Sequence[Filter], deny: Sequence[Filter]) -> Decision:
    """Allow filters, then deny filters; the first that matches decides. Raises NameNeeded.

    Without a match the visit is allowed, except where there are allow filters and no deny filters.
    """
    for each in allow:
        if each.matches(visit):
            return Decision(True, each.text, "an allow filter matches")
    for each in deny:
        if each.matches(visit):
            return Decision(False, each.text, "a deny filter matches")
    if allow and not deny:
        return Decision(False, "", "no allow filter matches and there are no deny filters")
    return Decision(True, "", "no filter matches")


def parse_filter(text: str) -> Filter:
    """Read one filter. Raises FilterError."""
    if len(text) > MAX_FILTER:
        raise FilterError("a filter is too long", MAX_FILTER)
    colon = _colon(text)
    if colon < 0:
        raise FilterError("a colon between services and clients is missing", len(text))
    services = parse_list(text[:colon], 0, _service)
    return Filter(text.strip(), services, parse_list(text[colon + 1 :], colon + 1, client_spec))


def _colon(text: str) -> int:
    """The first colon that is not within an IPv6 address in brackets."""
    bracket = 0
    for position, char in enumerate(text):
        bracket += (char == "[") - (char == "]")
        if char == ":" and bracket <= 0:
            return position
    return -1


def parse_list(text: str, start: int, spec: Callable[[str, int], Spec]) -> SpecList:
    """Read a list whose first character is at `start` of the whole. Raises FilterError."""
    parts: list[list[Spec]] = [[]]
    for word in _WORD.finditer(text):
        if word[0].upper() != "EXCEPT":
            parts[-1].append(spec(word[0], start + word.start()))
            continue
        if not parts[-1] or len(parts) > MAX_EXCEPTS:
            raise FilterError(
                "EXCEPT has nothing before it" if not parts[-1] else "too much EXCEPT", start + word.start()
            )
        parts.append([])
    if not parts[-1]:
        raise FilterError("something is missing", start + len(text))
    found: SpecList | None = None
    for part in reversed(parts):
        found = SpecList(tuple(part), found)
    assert found is not None  # noqa: S101 - there is at least one part
    return found


def _service(text: str, position: int) -> Spec:
    name, at, where = text.partition("@")
    everything = name.upper() in _EVERYTHING
    wanted = name.lower()
    if not everything and wanted not in SERVICES:
        raise FilterError("a service is one of pop, imap, http, smtp, ALL", position)
    if not at:
        return Spec(lambda visit: everything or visit.service == wanted)
    end = host_pattern(where, position + len(name) + 1)
    return Spec(lambda visit: (everything or visit.service == wanted) and end.matches(visit.server), end.names)


def client_spec(text: str, position: int) -> Spec:
    """A client as a filter names it: `host` or `user@host`. Raises FilterError."""
    user, at, where = text.rpartition("@")
    if at and not user:
        raise FilterError("netgroups are not supported", position)
    end = host_pattern(where, position + len(user) + len(at))
    if not at or user.upper() in _UNNAMED:
        return Spec(lambda visit: end.matches(visit.client), end.names)
    return Spec(lambda _: False)
