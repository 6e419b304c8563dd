"""From a person's attributes to an account. No I/O."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Final

from services.common.directory import Entry, Status, effective_status, first_not_active, parse_name
from services.common.directory.ldap.domains import Attributes, Domain, first, statuses
from services.common.directory.ldap.filters import escape_filter
from services.common.directory.ldap.quotas import parse_bytes, parse_messages
from services.common.domain import Quota
from services.common.sasl.scram import parse_secret

DISABLED_FLAG: Final = 2
"""ACCOUNTDISABLE in Active Directory's userAccountControl."""
_BASE64: Final = "[A-Za-z0-9+/]+={0,2}"
_SCRAM: Final = re.compile(
    rf"(?:\{{SCRAM-SHA-256\}}([1-9][0-9]{{0,6}})[,:]({_BASE64})[,$]({_BASE64})[,:]({_BASE64}))"
    rf"|(?:SCRAM-SHA-256\$([1-9][0-9]{{0,6}}):({_BASE64})\$({_BASE64}):({_BASE64}))"
)
_CLEARTEXT: Final = re.compile(r"\{CLEAR(?:TEXT)?\}(.+)|([^{].*)", re.IGNORECASE | re.DOTALL)
_PREFIXED: Final = re.compile(r"smtp:(.+)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Profile:
    """Which attribute says what of an account; "" where none does. Aliases are several names with spaces between."""

    account: str = "uid"
    mail: str = "mail"
    aliases: str = "mailAlternateAddress mailEquivalentAddress"
    quota: str = "mailQuota"
    messagequota: str = "mailMsgQuota"
    host: str = "mailHost"
    access: str = "mailAllowedServiceAccess"
    delivery: str = "mailDeliveryOption"
    flags: str = ""
    secrets: str = "authPassword userPassword"
    passwordchanged: str = "pwdChangedTime"

    @property
    def addresses(self) -> tuple[str, ...]:
        """The attributes that hold addresses under which mail comes."""
        return (*self.mail.split(), *self.aliases.split())

    def attributes(self, *, with_secrets: bool) -> tuple[str, ...]:
        """What is asked for."""
        wanted = [getattr(self, each.name) for each in fields(self) if with_secrets or each.name != "secrets"]
        names = {name for text in wanted for name in text.split()} | {"inetUserStatus", "mailUserStatus"}
        return tuple(sorted(names | {"uid"}))


MESSAGING: Final = Profile()
ACTIVE_DIRECTORY: Final = Profile(
    account="sAMAccountName",
    aliases="proxyAddresses userPrincipalName",
    quota="",
    messagequota="",
    host="",
    access="",
    delivery="",
    flags="userAccountControl",
    secrets="",
    passwordchanged="pwdLastSet",
)
MEMBERS: Final = ("member", "uniqueMember", "memberUid")
"""What a group has its members in."""
_SPACED: Final = re.compile(r"\s*([,=+])\s*")
_UID_MARK: Final = "\0"
"""Before a name that is no DN."""
ROLES: Final = frozenset(each.name for each in fields(Profile))


def parse_role(text: str) -> tuple[str, str]:
    """`aliases=mailLocalAddress` as role and attribute names. Raises ValueError."""
    role, equals, names = text.partition("=")
    role = role.strip()
    if role not in ROLES or not equals or not re.fullmatch(r"(\s*[A-Za-z][A-Za-z0-9;-]*)*\s*", names):
        raise ValueError(f"ROLE=ATTRIBUTE, with a role of {', '.join(sorted(ROLES))}")
    return role, names.strip()


def with_roles(profile: Profile, texts: Iterable[str]) -> Profile:
    """The profile with some of its attributes replaced. Raises ValueError."""
    return replace(profile, **dict(parse_role(text) for text in texts))


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What an account's entry does not say itself."""

    domain: Domain
    profile: Profile
    hostnames: frozenset[str] = frozenset()
    """This host's names, lower case; nothing where it is not looked at."""
    administrators: frozenset[str] = frozenset()
    """Store administrators, as `members` writes them."""


def entry_of(attributes: Attributes, dn: str, around: Surroundings) -> tuple[Entry, list[str]]:
    """The account, and what is wrong with its attributes, for the log. Raises ValueError where it has no name."""
    profile, domain = around.profile, around.domain
    problems: list[str] = []
    name = account_name(attributes, dn, around)
    quota = Quota(
        _number(first(attributes, profile.quota), parse_bytes, profile.quota, problems),
        _number(first(attributes, profile.messagequota), parse_messages, profile.messagequota, problems),
    )
    access = first(attributes, profile.access)
    entry = Entry(
        account=name,
        quota=quota,
        aliases=tuple(address for address in addresses(attributes, profile) if address != name),
        status=_status(attributes, around),
        domain=parse_name(name).domain,
        allowed_access=domain.access + ((access,) if access else ()),
        administrator=is_member(attributes, dn, around.administrators),
        dn=dn,
        secrets=tuple(secrets(attributes, profile)),
        delivery_options=tuple(value.strip().lower() for value in attributes.get(profile.delivery.lower(), ())),
        password_stamp=first(attributes, profile.passwordchanged),
        elsewhere=_elsewhere(first(attributes, profile.host), around.hostnames),
        administers=domain.name if is_member(attributes, dn, domain.administrators) else "",
    )
    return entry, problems


def account_name(attributes: Attributes, dn: str, around: Surroundings) -> str:
    """`uid@domain`, the domain by its canonical name; the uid alone where there is no domain. Raises ValueError.

    A uid that names its domain itself is taken as it is: `anna@example.com`, or with the domain's separator
    (`anna+example.com`, schema reference 5, domainUidSeparator: the rightmost one counts).
    """
    domain = around.domain
    values = attributes.get(around.profile.account.lower(), ())
    if not values:
        raise ValueError(f"it has no {around.profile.account}")
    uid = _of_rdn(values, dn)
    if domain.separator and domain.separator in uid:
        local, _, named = uid.rpartition(domain.separator)
        uid = f"{local}@{named}"
    return str(parse_name(uid if "@" in uid or not domain.name else f"{uid}@{domain.name}"))


def _of_rdn(values: Sequence[str], dn: str) -> str:
    """Of several values the one that the entry's own name has; values have no order of their own."""
    own = dn.partition("=")[2].partition(",")[0].lower()
    return next((value for value in values if value.lower() == own), min(values))


def addresses(attributes: Attributes, profile: Profile) -> list[str]:
    """Every address of the entry, each once, in the form that is compared."""
    found: dict[str, None] = {}
    for name in profile.addresses:
        for value in attributes.get(name.lower(), ()):
            prefixed = _PREFIXED.fullmatch(value)
            text = prefixed[1] if prefixed else value
            if "@" in text and (prefixed or ":" not in text):
                found[str(parse_name(text))] = None
    return list(found)


def address_filter(profile: Profile, address: str) -> str:
    """Parts of a filter that find an address, one after the other (RFC 4515)."""
    value = escape_filter(address)
    plain = "".join(f"({name}={value})" for name in profile.addresses)
    # Active Directory writes the kind of an address before it.
    return plain + f"(proxyAddresses=smtp:{value})" if "proxyAddresses" in profile.addresses else plain


def _status(attributes: Attributes, around: Surroundings) -> Status:
    flags = first(attributes, around.profile.flags) if around.profile.flags else ""
    shut = flags.isdecimal() and bool(int(flags) & DISABLED_FLAG)
    own = effective_status({**around.domain.statuses, **statuses(attributes)})
    return first_not_active((own, Status.DISABLED if shut else Status.ACTIVE))


def _number(text: str, parse: Callable[[str], int | None], name: str, problems: list[str]) -> int | None:
    try:
        return parse(text)
    except ValueError as error:
        problems.append(f"{name}: {error}")
        return None


def _elsewhere(host: str, hostnames: frozenset[str]) -> str:
    known = host.strip().rstrip(".").lower()
    return known if hostnames and known and known not in hostnames else ""


def secrets(attributes: Attributes, profile: Profile) -> list[str]:
    """What mechanisms without a password need, in the forms of `Entry.secrets`; hashes of other kinds are left out."""
    found = []
    for name in profile.secrets.split():
        for value in attributes.get(name.lower(), ()):
            scram, clear = _SCRAM.fullmatch(value), _CLEARTEXT.fullmatch(value)
            if scram is not None:
                iterations, salt, stored, server = [group for group in scram.groups() if group is not None]
                found += _scram(f"{iterations}:{salt}${stored}:{server}")
            elif clear is not None and not value.startswith("SCRAM-"):
                found.append(f"{{CLEARTEXT}}{clear[1] or clear[2]}")
    return found


def _scram(text: str) -> list[str]:
    try:
        return [f"SCRAM-SHA-256${parse_secret(text)}"]
    except ValueError:
        return []


def same_dn(dn: str) -> str:
    """A form in which equal names of the directory are equal: lower case, no spaces around separators."""
    return _SPACED.sub(r"\1", dn.strip()).lower()


def members(attributes: Attributes) -> frozenset[str]:
    """The members of a group: DNs as `same_dn` writes them, and of `memberUid` the names, marked as such."""
    by_dn = (same_dn(value) for name in ("member", "uniquemember") for value in attributes.get(name, ()))
    return frozenset((*by_dn, *(_UID_MARK + value.lower() for value in attributes.get("memberuid", ()))))


def is_member(attributes: Attributes, dn: str, names: frozenset[str]) -> bool:
    """Whether an entry is among the members of a group."""
    if not names:
        return False
    return same_dn(dn) in names or any(_UID_MARK + value.lower() in names for value in attributes.get("uid", ()))
