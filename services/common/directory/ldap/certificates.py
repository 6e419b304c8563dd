"""Whom a client's certificate means, as searches of the directory. No I/O."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from services.common.certmap import CertificateQuery
from services.common.clientcert import Dn
from services.common.directory.ldap.entries import Profile
from services.common.directory.ldap.filters import escape_dn, escape_filter

ANYBODY = "(objectClass=*)"


@dataclass(frozen=True, slots=True)
class CertificateSearch:
    """One search: below `base` (or there, `exact`), by `filter`."""

    base: str
    filter: str
    exact: bool = False


def searches(query: CertificateQuery, profile: Profile, root: str) -> Iterator[CertificateSearch]:
    """The searches in their order, until one finds exactly one entry. `root` is the whole tree."""
    if query.subject_attribute:
        # The attribute may be a name to the directory, or only text: then blanks count.
        forms = (escape_filter(dn_text(query.subject, separator)) for separator in (",", ", "))
        yield CertificateSearch(root, f"(|{''.join(f'({query.subject_attribute}={form})' for form in forms)})")
    if query.base is None and not query.filters:
        return
    base = root if query.base is None else dn_text(query.base)
    wanted = [_any_of(_attributes(name, profile), values) for name, values in query.filters]
    yield CertificateSearch(base, f"(&{''.join(wanted)})" if wanted else ANYBODY, query.exact)


def dn_text(dn: Dn, separator: str = ",") -> str:
    """The name as text (RFC 4514)."""
    return separator.join("+".join(f"{name}={escape_dn(value)}" for name, value in rdn) for rdn in dn)


def _attributes(name: str, profile: Profile) -> tuple[str, ...]:
    """What holds such a part of a subject in this directory."""
    special = {"mail": profile.addresses, "uid": tuple(profile.account.split())}
    return special.get(name, (name,))


def _any_of(names: tuple[str, ...], values: tuple[str, ...]) -> str:
    return f"(|{''.join(f'({name}={escape_filter(value)})' for name in names for value in values)})"
