"""`mailAllowedServiceAccess` of an account, `mailDomainAllowedServiceAccess` of its domain.

Rules separated by `$`, each `+` or `-`, services, `:`, clients. Real directories hold lower case, services that this
server does not have, and rules without a sign (taken as `+`): all are understood. Source: schema reference 5.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from services.common.access.filters import Decision, Filter, Spec, Visit, client_spec, decide, parse_list
from services.common.access.patterns import FilterError

UNDER_TLS: Final = {"imaps": "imap", "pops": "pop", "https": "http"}
"""Names that mean a service only where the session is under TLS when it logs in."""
_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
MAX_RULES: Final = 256
MAX_TEXT: Final = 65_536


@dataclass(frozen=True, slots=True)
class ServiceRules:
    """One attribute's rules, read."""

    allow: tuple[Filter, ...] = ()
    deny: tuple[Filter, ...] = ()

    def decide(self, visit: Visit) -> Decision:
        """Whether the account may log in by this visit. Raises NameNeeded."""
        return decide(visit, self.allow, self.deny)


def decide_login(attributes: Iterable[str], visit: Visit) -> Decision:
    """Whether an account may log in by this visit: each of the attributes, its domain's and its own, has to permit it.

    The decision is the last attribute's, or that of the first one that refuses. One that cannot be read refuses: what
    was meant to keep somebody out must not let him in. Raises NameNeeded.
    """
    decision = Decision(True, "", "there are no access rules")
    for text in attributes:
        try:
            decision = _kept_rules(text).decide(visit)
        except FilterError as error:
            return Decision(False, text, f"the access rules cannot be read: {error}")
        if not decision.allowed:
            return decision
    return decision


def parse_rules(text: str) -> ServiceRules:
    """Read the attribute; one without any rule allows everything. Raises FilterError."""
    if len(text) > MAX_TEXT or text.count("$") >= MAX_RULES:
        raise FilterError("too many rules", min(len(text), MAX_TEXT))
    allow: list[Filter] = []
    deny: list[Filter] = []
    start = 0
    for part in text.split("$"):
        if part.strip():
            (deny if part.lstrip().startswith("-") else allow).append(_rule(part, start))
        start += len(part) + 1
    return ServiceRules(tuple(allow), tuple(deny))


# Thousands of accounts share a few texts, and every login asks.
_kept_rules: Final = lru_cache(maxsize=1024)(parse_rules)


def _rule(text: str, start: int) -> Filter:
    """A rule whose first character is at `start` of the attribute."""
    signed = len(text) - len(text.lstrip())
    skip = signed + (text[signed] in "+-")
    colon = text.find(":", skip)
    if colon < 0:
        raise FilterError("a colon between services and clients is missing", start + len(text))
    services = parse_list(text[skip:colon], start + skip, _service)
    return Filter(text.strip(), services, parse_list(text[colon + 1 :], start + colon + 1, client_spec))


def _service(text: str, position: int) -> Spec:
    name = text.lower()
    if name in ("all", "*"):
        return Spec(lambda _: True)
    if not _NAME.fullmatch(text):
        raise FilterError("this is no name of a service", position)
    tls = name in UNDER_TLS
    wanted = UNDER_TLS.get(name, name)
    return Spec(lambda visit: visit.service == wanted and (visit.tls or not tls))
