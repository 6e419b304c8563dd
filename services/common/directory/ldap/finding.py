"""Finding domains and people in the directory, by the searches that the schema asks for."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from services.common.certmap import CertificateQuery
from services.common.directory import DirectoryUnavailable, Name, parse_name
from services.common.directory.ldap.certificates import searches
from services.common.directory.ldap.domains import (
    ADMINISTRATORS,
    DOMAIN_ATTRIBUTES,
    MAX_ALIASES,
    Domain,
    alias_of,
    domain_of_node,
    domain_of_organisation,
    first,
    node_dn,
    organisation_filter,
)
from services.common.directory.ldap.entries import (
    ACTIVE_DIRECTORY,
    MEMBERS,
    MESSAGING,
    Profile,
    address_filter,
    is_member,
    members,
    same_dn,
    with_roles,
)
from services.common.directory.ldap.filters import Typed, expand
from services.common.directory.ldap.lanes import BASE, CERTIFICATE, SUBTREE, Found, Question
from services.common.directory.ldap.pool import Pool
from services.common.live import Live
from services.common.memory import Memory, Once
from services.common.options import Configuration, DirectoryOptions, LdapOptions
from services.common.sasloptions import SaslOptions
from services.common.telemetry import session_logger

DOMAIN_SECONDS: Final = 60.0
"""How long a domain, known or not, is not asked for again."""
GROUP_SECONDS: Final = 60.0
DOMAINS: Final = 10_000
MAX_GROUPS: Final = 20
"""Groups of administrators of one domain, and groups of the options that are remembered."""
DCROOT: Final = "o=Internet"
_DOMAIN_CODES: Final = ("%V", "%o", "%s")
_LOG: Final = session_logger("directory")


class NotUnique(Exception):  # noqa: N818 - an answer, not a fault
    """A search that has to find one entry found more (schema reference 5, inetDomainSearchFilter)."""


class Finder:
    """Asks the pool. Methods raise DirectoryUnavailable, and NotUnique where they find people."""

    def __init__(self, pool: Pool, configuration: Live[Configuration]) -> None:
        self._pool = pool
        self._directory: Live[DirectoryOptions] = configuration.part(lambda value: value.directory)
        self._sasl: Live[SaslOptions] = configuration.part(lambda value: value.sasl)
        self._options: Live[LdapOptions] = configuration.part(lambda value: value.ldap)
        options = self._options
        base = ACTIVE_DIRECTORY if options.value.schema == "activedirectory" else MESSAGING
        self.profile: Profile = with_roles(base, options.value.attributes)
        self._asked = {wanted: self.profile.attributes(with_secrets=wanted) for wanted in (False, True)}
        self._domains: Memory[str, Domain] = Memory(DOMAINS)
        self._no_domains: Memory[str, bool] = Memory(DOMAINS)
        """Apart, so that a flood of unknown ones makes nobody forget those that there are."""
        self._asking: Once[str, Domain | None] = Once()
        self._groups: Memory[str, frozenset[str]] = Memory(MAX_GROUPS)
        self._asking_group: Once[str, frozenset[str]] = Once()

    @property
    def _in_domains(self) -> bool:
        """Whether people are looked for in domains of the directory's own."""
        return self._options.value.schema in _FIND and self._options.value.searchfordomain

    async def domain(self, name: Name, template: str) -> Domain | None:
        """The domain that a name belongs to; None where there is none such.

        Where domains are not looked for, there is the default one (it may be without a name); another one is nobody's,
        unless domains are ignored (`searchfordomain` off) or `template` makes something of it.
        """
        default = self._default()
        asked = name.domain or default
        if self._in_domains:
            return await self.named(asked) if asked else None
        ignored = not self._options.value.searchfordomain or _looks_at_domains(template)
        return Domain(default, self._options.value.basedn) if ignored or asked == default else None

    async def named(self, name: str) -> Domain | None:
        """A domain of the directory by any of its names."""
        known = self._domains.get(name)
        if known is not None or self._no_domains.get(name):
            return known
        return await self._asking.run(name, lambda: self._find_domain(name))

    async def person(self, domain: Domain, name: Name, text: str) -> Found | None:
        """Who logs in by this name."""
        typed = Typed(name.local, name.domain or self._default(), text)
        return await self._one(domain.base, expand(domain.filter or self._options.value.searchfilter, typed))

    async def receiver(self, domain: Domain, name: Name) -> Found | None:
        """Who gets mail for this address: by an address of the entry, or by the name that logs in.

        Where the tree has no domains, another domain than the default one is only in addresses.
        """
        proper = domain.name if self._in_domains or not name.domain else name.domain
        wanted = {str(name), str(Name(name.local, proper))}
        by_address = "".join(address_filter(self.profile, address) for address in sorted(wanted))
        template = domain.filter or self._options.value.searchfilter
        if not self._in_domains and name.domain not in ("", self._default()) and not _looks_at_domains(template):
            return await self._one(domain.base, f"(|{by_address})")
        by_name = expand(template, Typed(name.local, name.domain or self._default(), str(name)))
        return await self._one(domain.base, f"(|{by_address}{by_name})")

    async def by_certificate(self, query: CertificateQuery) -> Found | None:
        """Whom a certificate means. An entry that has to hold it and does not is none."""
        wanted = (*self._attributes, CERTIFICATE)
        for each in searches(query, self.profile, self._options.value.basedn):
            scope = BASE if each.exact else SUBTREE
            found = await self._pool.search(Question(each.base, each.filter, wanted, scope))
            if len(found) > 1:
                raise NotUnique(f"{each.filter} finds more than one entry below {each.base}")
            if found:
                wrong = query.verify and query.certificate not in found[0].certificates
                return found[0] if not wrong and await self._admitted(found[0]) else None
        return None

    async def domain_of(self, found: Found) -> Domain | None:
        """The domain of an entry, by its address; None where its tree does not hold the entry."""
        profile = self.profile
        name = parse_name(first(found.attributes, profile.mail) or first(found.attributes, profile.account))
        domain = await self.domain(name, self._options.value.searchfilter)
        inside = domain is not None and f",{same_dn(found.dn)}".endswith(f",{same_dn(domain.base)}")
        return domain if inside else None

    async def domains(self) -> list[Domain]:
        """Every domain of the directory once; the one tree where there are none."""
        options = self._options.value
        if not self._in_domains:
            return [Domain(self._default(), options.basedn)]
        question = Question(self._root, _ANY_DOMAIN[options.schema], DOMAIN_ATTRIBUTES)
        found = [self._listed(each) for each in await self._pool.search_all(question)]
        return list({domain.name: domain for domain in found if domain is not None}.values())

    def _listed(self, found: Found) -> Domain | None:
        """A domain for a list: one that cannot be used is left out, as the log says."""
        try:
            if self._options.value.schema == "dctree":
                return domain_of_node(found.attributes, found.dn, self._root)
            return domain_of_organisation(found.attributes, found.dn)
        except ValueError as error:
            _LOG.warning("a domain of the directory cannot be used", dn=found.dn, why=str(error))
            return None

    async def everyone(self, domain: Domain) -> list[Found]:
        """All people of a domain: those that some name would find."""
        template = domain.filter or self._options.value.searchfilter
        anybody = expand(template, Typed("*", "*", "*")).replace("\\2a", "*")
        return await self._pool.search_all(Question(domain.base, anybody, self._attributes))

    async def administrators(self) -> frozenset[str]:
        """The members of `ldap.admingroup`, as `entries.members` writes them."""
        group = self._options.value.admingroup
        return await self._members(group) if group else frozenset()

    async def _admitted(self, found: Found) -> bool:
        """Whether the entry has an account at all: all have, unless `ldap.group` names those that do."""
        group = self._options.value.group
        return not group or is_member(found.attributes, found.dn, await self._members(group))

    async def _members(self, group: str) -> frozenset[str]:
        known = self._groups.get(group)
        return known if known is not None else await self._asking_group.run(group, lambda: self._read_group(group))

    async def _read_group(self, group: str) -> frozenset[str]:
        found = await self._pool.search(Question(group, "(objectClass=*)", MEMBERS, BASE))
        if not found:
            _LOG.warning("a group of the options is not in the directory", dn=group)
        names = members(found[0].attributes) if found else frozenset()
        self._groups.put(group, names, GROUP_SECONDS)
        return names

    @property
    def _attributes(self) -> tuple[str, ...]:
        """What is asked of people: secrets only where a mechanism that needs them may be switched on."""
        sasl = self._sasl.value
        listed = any(name.startswith(("SCRAM-", "CRAM-")) for name in sasl.mech_list)
        return self._asked[sasl.scram or sasl.has_plain_passwords or listed]

    async def _one(self, base: str, search_filter: str) -> Found | None:
        found = await self._pool.search(Question(base, search_filter, self._attributes))
        if len(found) > 1:
            raise NotUnique(f"{search_filter} finds more than one entry below {base}")
        return found[0] if found and await self._admitted(found[0]) else None

    async def _find_domain(self, name: str) -> Domain | None:
        try:
            found = await _FIND[self._options.value.schema](self, name)
        except ValueError as error:
            # Nobody can say who its people are; that is for the administrator to mend, and no wrong password.
            _LOG.error("a domain of the directory cannot be used", domain=name, why=str(error))
            raise DirectoryUnavailable(f"domain {name}: {error}") from None
        if found is None:
            self._no_domains.put(name, True, DOMAIN_SECONDS)
            return None
        found = replace(found, administrators=await self._domain_administrators(found))
        self._domains.put(name, found, DOMAIN_SECONDS)
        return found

    async def _domain_administrators(self, domain: Domain) -> frozenset[str]:
        groups = await self._pool.search(Question(domain.base, ADMINISTRATORS, MEMBERS, limit=MAX_GROUPS))
        return frozenset().union(*(members(group.attributes) for group in groups))

    async def _node(self, name: str) -> Domain | None:
        """Schema 1: the node of the tree of domains, and whatever it points to."""
        dn = node_dn(name, self._root)
        for _ in range(MAX_ALIASES):
            found = await self._pool.search(Question(dn, "(objectClass=*)", DOMAIN_ATTRIBUTES, BASE))
            if not found:
                return None
            attributes = found[0].attributes
            if not alias_of(attributes):
                return domain_of_node(attributes, found[0].dn, self._root)
            dn = alias_of(attributes)
        raise ValueError("its aliases lead nowhere")

    async def _organisation(self, name: str) -> Domain | None:
        """Schema 2: the organisation that says it is this domain."""
        found = await self._pool.search(Question(self._root, organisation_filter(name), DOMAIN_ATTRIBUTES))
        if len(found) > 1:
            raise ValueError("more than one organisation has it")
        return domain_of_organisation(found[0].attributes, found[0].dn) if found else None

    @property
    def _root(self) -> str:
        """Where domains are."""
        options = self._options.value
        return options.dcroot or (DCROOT if options.schema == "dctree" else options.basedn)

    def _default(self) -> str:
        return self._directory.value.defaultdomain.lower()


def _looks_at_domains(template: str) -> bool:
    """Whether a filter makes something of the domain of a name."""
    return any(code in template for code in _DOMAIN_CODES)


_ANY_DOMAIN: Final = {
    "dctree": "(inetDomainBaseDN=*)",
    "orgtree": "(&(objectClass=sunManagedOrganization)(sunPreferredDomain=*))",
}
_FIND: Final = {"dctree": Finder._node, "orgtree": Finder._organisation}
