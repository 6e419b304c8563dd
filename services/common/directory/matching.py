"""Which account of the users file a client's certificate means. No I/O."""

from __future__ import annotations

from functools import lru_cache

from services.common.certmap import CertificateQuery
from services.common.clientcert import Dn, parse_dn
from services.common.directory import Entry


def matches(entry: Entry, query: CertificateQuery) -> bool:
    """Whether the entry is like the query says.

    What an entry has is its `dn` with that name's parts, its local part as `uid`, and its addresses as `mail`. The file
    holds no certificates, so that `verify` fits none; `subject_attribute` is the `dn`, whatever it is called.
    """
    dn = _dn(entry.dn)
    if query.verify:
        return False
    if query.subject_attribute and dn == query.subject:
        return True
    return _is_below(dn, query) and all(set(_values(entry, dn, name)) & set(wanted) for name, wanted in query.filters)


def _is_below(dn: Dn, query: CertificateQuery) -> bool:
    base = query.base
    if base is None:
        return bool(query.filters)
    return dn == base if query.exact else dn[-len(base) :] == base


def _values(entry: Entry, dn: Dn, attribute: str) -> tuple[str, ...]:
    if attribute == "mail":
        return (entry.account, *entry.aliases)
    parts = tuple(value for rdn in dn for name, value in rdn if name == attribute)
    return (*parts, entry.account.partition("@")[0]) if attribute == "uid" else parts


@lru_cache(maxsize=16_384)
def _dn(text: str) -> Dn:
    try:
        return parse_dn(text)
    except ValueError:
        return ()
