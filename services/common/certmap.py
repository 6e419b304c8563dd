"""`certmap.conf`: which account a client's certificate means, in the format of Messaging Server. No I/O.

    certmap default default
    default:FilterComps e

    certmap staff   CN=Staff CA, O=Example, C=DE
    staff:DNComps   ou, o, c
    staff:FilterComps uid
    staff:verifycert on

A map is chosen by the certificate's issuer, `default` where no other fits. `DNComps` picks parts of the certificate's
subject that make up where to search (absent: the whole subject is the entry's own name; empty: the whole tree),
`FilterComps` those that the entry must have (absent or empty: none), `verifycert on` wants the entry to hold the very
certificate, `CmapLdapAttr` names an attribute of entries that holds their certificates' subjects.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from services.common.clientcert import ClientCertificate, Dn, attribute_name, parse_dn

DEFAULT: Final = "default"
_ATTRIBUTE: Final = re.compile("[A-Za-z][A-Za-z0-9;-]*")
COMPONENTS: Final = frozenset({"cn", "ou", "o", "c", "l", "st", "uid", "dc", "mail"})
"""Parts of a subject that a map may name; `e` is `mail`."""


class CertmapError(Exception):
    """The file cannot be used; one problem a line."""


@dataclass(frozen=True, slots=True)
class CertificateQuery:
    """What the entry of a certificate's owner has to be like.

    `base` is the name below which (or at which, `exact`) it lies, None for the whole tree. `filters` are attributes, of
    each of which it must have one of the values. `subject_attribute`, where not "", is tried first: the attribute that
    holds `subject`. `certificate` is what the entry must hold where `verify` says so.
    """

    base: Dn | None
    exact: bool
    filters: tuple[tuple[str, tuple[str, ...]], ...]
    subject: Dn
    subject_attribute: str = ""
    verify: bool = False
    certificate: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class Map:
    """One `certmap` of the file; `issuer` None is the default one."""

    name: str
    issuer: Dn | None
    dn_components: tuple[str, ...] | None = None
    filter_components: tuple[str, ...] = ()
    verify: bool = False
    subject_attribute: str = ""

    def query(self, certificate: ClientCertificate) -> CertificateQuery | None:
        """What to look for; None where the certificate lacks a part that the map names.

        Such a one can only be found by the attribute that holds subjects, where there is one.
        """
        named = (*self.filter_components, *(self.dn_components or ()))
        asked = CertificateQuery(
            None, False, (), certificate.subject, self.subject_attribute, self.verify, certificate.der
        )
        if not all(certificate.values(name) for name in named):
            return asked if self.subject_attribute else None
        filters = tuple((name, certificate.values(name)) for name in self.filter_components)
        base: Dn | None = certificate.subject
        if self.dn_components is not None:
            base = tuple(rdn for rdn in certificate.subject if {name for name, _ in rdn} & set(self.dn_components))
        exact = self.dn_components is None and not filters
        return replace(asked, base=base or None, exact=exact, filters=filters)


def choose(maps: Sequence[Map], certificate: ClientCertificate) -> Map | None:
    """The map for a certificate: that of its issuer, else the default one."""
    fitting = [each for each in maps if each.issuer == certificate.issuer]
    fitting += [each for each in maps if each.issuer is None]
    return fitting[0] if fitting else None


def parse_certmap(text: str) -> tuple[Map, ...]:
    """Read the file. Raises CertmapError with every problem."""
    maps: dict[str, Map] = {}
    problems: list[str] = []
    for number, line in _lines(text):
        try:
            _take(line, maps)
        except ValueError as error:
            problems.append(f"line {number}: {error}")
    if not maps and not problems:
        problems.append("there is no certmap in it")
    if problems:
        raise CertmapError("; ".join(problems))
    return tuple(maps.values())


def _lines(text: str) -> Iterator[tuple[int, str]]:
    for number, line in enumerate(text.splitlines(), 1):
        stripped = line.strip()
        if stripped and not stripped.startswith("#"):
            yield number, stripped


def _take(line: str, maps: dict[str, Map]) -> None:
    word, _, rest = line.partition(" ")
    if word.lower() == "certmap":
        name, _, issuer = rest.strip().partition(" ")
        if not name or not issuer.strip() or name in maps:
            raise ValueError("certmap NAME ISSUER, each name once")
        maps[name] = Map(name, None if issuer.strip() == DEFAULT else _issuer(issuer))
        return
    name, colon, rest = line.partition(":")
    key, _, value = rest.strip().partition(" ")
    if not colon or name not in maps:
        raise ValueError("NAME:PROPERTY VALUE, of a certmap above")
    if key.lower() not in _PROPERTIES:
        raise ValueError(f"{key}: there are DNComps, FilterComps, verifycert and CmapLdapAttr")
    maps[name] = _PROPERTIES[key.lower()](maps[name], value.strip())


def _issuer(text: str) -> Dn:
    try:
        return parse_dn(text)
    except ValueError:
        raise ValueError(f"{text.strip()} is no name of an issuer") from None


def _components(value: str) -> tuple[str, ...]:
    names = tuple(attribute_name(part) for part in value.split(",") if part.strip())
    unknown = [name for name in names if name not in COMPONENTS]
    if unknown:
        raise ValueError(f"{', '.join(unknown)}: the parts are {', '.join(sorted(COMPONENTS))}")
    return names


def _attribute(value: str) -> str:
    if not _ATTRIBUTE.fullmatch(value):
        raise ValueError(f"{value} is no attribute")
    return value


def _switch(value: str) -> bool:
    if value.lower() not in ("on", "off"):
        raise ValueError("verifycert is on or off")
    return value.lower() == "on"


_PROPERTIES: Final[dict[str, Callable[[Map, str], Map]]] = {
    "dncomps": lambda each, value: replace(each, dn_components=_components(value)),
    "filtercomps": lambda each, value: replace(each, filter_components=_components(value)),
    "verifycert": lambda each, value: replace(each, verify=_switch(value)),
    "cmapldapattr": lambda each, value: replace(each, subject_attribute=_attribute(value)),
}
