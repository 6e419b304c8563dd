"""Domains as the directory holds them, in both styles of Messaging Server's schema. No I/O.

Schema 1 (`dctree`): a node for each domain in a tree of `dc` below `service.dcroot`; `inetDomainBaseDN` says where its
people are, and an alias points to another node by `aliasedObjectName`. Schema 2 (`orgtree`): an organisation that names
its domains in `sunPreferredDomain` and `associatedDomain`; people are below it. Without a schema there is one tree.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from services.common.directory import STATUS_ATTRIBUTES, parse_name
from services.common.directory.ldap.filters import check_template, escape_dn, escape_filter

Attributes: TypeAlias = Mapping[str, Sequence[str]]
"""Values by attribute name in lower case."""
ADMINISTRATORS: Final = "(&(objectClass=inetMailAdministrator)(mailAdminRole=storeAdmin))"
"""The groups below a domain whose members may act for its accounts (schema reference 5, mailAdminRole)."""
MAX_ALIASES: Final = 3
"""Domain nodes that point to one another are followed so far."""
DOMAIN_ATTRIBUTES: Final = (
    "objectClass",
    "inetDomainBaseDN",
    "inetDomainStatus",
    "mailDomainStatus",
    "inetCanonicalDomainName",
    "inetDomainSearchFilter",
    "mailDomainAllowedServiceAccess",
    "domainUidSeparator",
    "sunPreferredDomain",
    "aliasedObjectName",
)


@dataclass(frozen=True, slots=True)
class Domain:
    """A domain: its canonical name ("" for none), where its people are, and what it says of all of them."""

    name: str
    base: str
    statuses: Mapping[str, str] = field(default_factory=dict)
    filter: str = ""
    """How its people are found by the name that logs in; "" for the option's way."""
    access: tuple[str, ...] = ()
    separator: str = ""
    administrators: frozenset[str] = frozenset()
    """Who may act for its accounts, as `entries.members` writes them."""


def first(attributes: Attributes, name: str) -> str:
    """The attribute's only value, "" for none."""
    values = attributes.get(name.lower(), ())
    return values[0] if values else ""


def node_dn(domain: str, root: str) -> str:
    """The node of a domain in the tree of domains."""
    labels = ",".join(f"dc={escape_dn(label)}" for label in domain.split("."))
    return f"{labels},{root}"


def organisation_filter(domain: str) -> str:
    """The filter that finds the organisation of a domain."""
    value = escape_filter(domain)
    return f"(&(objectClass=sunManagedOrganization)(|(sunPreferredDomain={value})(associatedDomain={value})))"


def alias_of(attributes: Attributes) -> str:
    """The node that stands for this one, "" where it stands for itself."""
    return first(attributes, "aliasedObjectName")


def domain_of_node(attributes: Attributes, dn: str, root: str) -> Domain | None:
    """The domain of a node in the tree of domains, None where it only stands above others.

    Raises ValueError where it cannot be used.
    """
    if "inetdomain" not in {name.lower() for name in attributes.get("objectclass", ())}:
        return None
    name = first(attributes, "inetCanonicalDomainName") or _name_of_node(dn, root)
    base = first(attributes, "inetDomainBaseDN")
    if not base:
        raise ValueError("the domain has no inetDomainBaseDN")
    return _domain(attributes, name, base)


def domain_of_organisation(attributes: Attributes, dn: str) -> Domain:
    """The domain of an organisation. Raises ValueError where it cannot be used."""
    name = first(attributes, "inetCanonicalDomainName") or first(attributes, "sunPreferredDomain")
    if not name:
        raise ValueError("the organisation has no sunPreferredDomain")
    return _domain(attributes, name, first(attributes, "inetDomainBaseDN") or dn)


def _domain(attributes: Attributes, name: str, base: str) -> Domain:
    template = first(attributes, "inetDomainSearchFilter")
    if template:
        check_template(template)
    access = first(attributes, "mailDomainAllowedServiceAccess")
    return Domain(
        name=parse_name(f"x@{name}").domain,
        base=base,
        statuses=statuses(attributes),
        filter=template,
        access=(access,) if access else (),
        separator=first(attributes, "domainUidSeparator"),
    )


def statuses(attributes: Attributes) -> dict[str, str]:
    """The status attributes that are there, by name."""
    return {name: value for name in STATUS_ATTRIBUTES if (value := first(attributes, name))}


def _name_of_node(dn: str, root: str) -> str:
    """`dc=example,dc=com,o=internet` is example.com: labels have no escapes that matter here."""
    above = dn[: -len(root)] if dn.lower().replace(" ", "").endswith(root.lower().replace(" ", "")) else dn
    parts = [part.partition("=") for part in above.split(",") if part.strip()]
    return ".".join(value.strip() for key, _, value in parts if key.strip().lower() == "dc")
