"""The tree of the login cases, beside the demo tree: a domain or a person for each status and each way of names."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator, Sequence
from typing import Final

from services.common.directory.ldap.filters import escape_dn
from tests.support.slapd import PASSWORD, POLICIES, policy

DOMAIN_STATUSES: Final = ("inactive", "deleted", "nonsense")
MAIL_STATUSES: Final = ("inactive", "deleted", "disabled", "removed", "hold", "overquota", "nonsense")
PERSON: Final = ("inetOrgPerson", "inetUser", "inetMailUser", "inetLocalMailRecipient")
ORGANISATION: Final = ("organization", "inetDomain", "mailDomain", "sunManagedOrganization")
NODE: Final = ("domain", "inetDomain", "mailDomain")
CASES: Final = "o=cases.example,o=isp"
HOSTILE: Final = r"o*(b)\r & <i>, ñ"
"""A uid of characters that filters and names have other uses for."""


def entry(dn: str, classes: Sequence[str], **attributes: str | Sequence[str]) -> str:
    """An entry as LDIF."""
    lines = [_line("dn", dn), *(f"objectClass: {name}" for name in classes)]
    for name, value in attributes.items():
        lines += [_line(name, each) for each in ([value] if isinstance(value, str) else value)]
    return "\n".join(lines) + "\n"


def _line(name: str, value: str) -> str:
    return f"{name}: {value}" if value.isascii() else f"{name}:: {b64encode(value.encode()).decode()}"


def organisation(domain: str, **attributes: str | Sequence[str]) -> str:
    """A domain of Schema 2 with room for people."""
    dn = f"o={domain},o=isp"
    return "\n".join(
        [
            entry(dn, ORGANISATION, o=domain, **{"sunPreferredDomain": domain, **attributes}),
            entry(f"ou=people,{dn}", ["organizationalUnit"], ou="people"),
        ]
    )


def person(uid: str, base: str = CASES, **attributes: str | Sequence[str]) -> str:
    """A person below a domain."""
    given = {"cn": uid, "sn": uid, "userPassword": PASSWORD, **attributes}
    return entry(f"uid={escape_dn(uid)},ou=people,{base}", PERSON, uid=uid, **given)


def node(domain: str, **attributes: str) -> str:
    """A domain of Schema 1 below dc=example."""
    label = domain.partition(".")[0]
    return entry(f"dc={label},dc=example,o=internet", NODE, dc=label, **attributes)


def _statuses() -> Iterator[str]:
    for status in DOMAIN_STATUSES:
        yield organisation(f"inet-{status}.example", inetDomainStatus=status)
        yield person("anna", f"o=inet-{status}.example,o=isp", mailUserStatus="hold")
        yield person(f"inet-{status}", inetUserStatus=status, mailUserStatus="hold")
    for status in MAIL_STATUSES:
        yield organisation(f"mail-{status}.example", inetDomainStatus="active", mailDomainStatus=status)
        yield person("anna", f"o=mail-{status}.example,o=isp", inetUserStatus="deleted")
        yield person(f"mail-{status}", inetUserStatus="active", mailUserStatus=status)


def _policies() -> Iterator[str]:
    yield policy("short", pwdMaxAge="60")
    yield policy("fresh", pwdMustChange="TRUE")
    yield policy("strict", pwdLockout="TRUE", pwdMaxFailure="3", pwdLockoutDuration="0")
    for uid, name, more in (
        ("expired", "short", {"pwdChangedTime": "20200101000000Z"}),
        ("reset", "fresh", {"pwdReset": "TRUE"}),
        ("locked", "strict", {"pwdAccountLockedTime": "000001010000Z"}),
    ):
        yield person(uid, pwdPolicySubentry=f"cn={name},{POLICIES}", **more)


def _people() -> Iterator[str]:
    yield organisation("cases.example", associatedDomain=["cases.example", "cases.org"])
    yield person("plain", mail="plain@cases.example")
    yield person("Mixed.Case")
    yield person("nopassword", userPassword="{SSHA}nothing")
    yield person(HOSTILE)
    yield person("quota", mailQuota="20M", mailMsgQuota="500")
    yield person("badquota", mailQuota="plenty", mailMsgQuota="-1")
    yield person("held", mailDeliveryOption=["mailbox", "hold"])
    yield person("forward", mailDeliveryOption="forward")
    yield person("here", mailHost="Mail.Example.com")
    yield person("there", mailHost="store2.example.com")
    yield person("rules", mailAllowedServiceAccess="+imap:ALL")
    yield person("twin", mail="twin@cases.example")
    yield entry(f"ou=more,{CASES}", ["organizationalUnit"], ou="more")
    yield person("twin", mail="shared@cases.example").replace("ou=people", "ou=more")
    yield person("other", mail="shared@cases.example", mailAlternateAddress="other.name@cases.example")


def _domains() -> Iterator[str]:
    yield organisation("rules.example", mailDomainAllowedServiceAccess="-pop:ALL")
    yield person("anna", "o=rules.example,o=isp", mailAllowedServiceAccess="+imap,pop:ALL")
    yield organisation("canonical.example", inetCanonicalDomainName="first.example", associatedDomain="second.example")
    yield person("anna", "o=canonical.example,o=isp")
    yield organisation("compound.example", inetDomainSearchFilter="(uid=%U_%V)")
    yield person("anna_compound.example", "o=compound.example,o=isp")
    yield organisation("broken.example", inetDomainSearchFilter="(uid=%U")
    yield person("anna", "o=broken.example,o=isp")
    yield organisation("double.example")
    yield organisation("double2.example", associatedDomain="double.example")
    yield person("anna", "o=double.example,o=isp")
    yield organisation("separated.example")
    yield person("anna+separated.example", "o=separated.example,o=isp")
    yield entry("o=index.example,o=isp", ORGANISATION, o="index.example", sunPreferredDomain="index.example",
                inetDomainBaseDN=CASES)  # fmt: skip


def _plain() -> Iterator[str]:
    yield entry("ou=plain,o=isp", ["organizationalUnit"], ou="plain")
    for uid, more in (
        ("paul", {"mail": "paul@plain.example"}),
        ("petra", {"mail": "petra@plain.example", "employeeNumber": "petra.alias@plain.example"}),
    ):
        yield entry(
            f"uid={uid},ou=plain,o=isp", ["inetOrgPerson"], uid=uid, cn=uid, sn=uid, userPassword=PASSWORD, **more
        )
    yield entry("cn=names,ou=plain,o=isp", ["device", "extensibleObject"], cn="names", memberUid="Paul")
    yield entry("cn=admins,ou=plain,o=isp", ["groupOfNames"], cn="admins", member="uid=petra,ou=plain,o=isp")


def _active_directory() -> Iterator[str]:
    yield entry("ou=corp,o=isp", ["organizationalUnit"], ou="corp")
    for name, flags in (("Ada", "512"), ("Ben", "514")):
        given: dict[str, str | Sequence[str]] = {"cn": name, "sn": name, "userPassword": PASSWORD}
        given |= {"sAMAccountName": name, "userPrincipalName": f"{name}@ad.corp.example", "userAccountControl": flags}
        given |= {"mail": f"{name}@corp.example"}
        given |= {"proxyAddresses": [f"SMTP:{name}@corp.example", f"smtp:{name}.alias@corp.example"]}
        yield entry(f"cn={name},ou=corp,o=isp", ["user"], **given)


TREE: Final = [*_people(), *_statuses(), *_policies(), *_domains(), *_plain(), *_active_directory()]
DOMAIN_TREE: Final = [
    node("cases.example", inetDomainBaseDN=CASES),
    node("separated.example", inetDomainBaseDN="o=separated.example,o=isp", domainUidSeparator="+"),
    node("nobase.example"),
    node("statused.example", inetDomainBaseDN=CASES, mailDomainStatus="hold"),
    entry("dc=loop,dc=example,o=internet", ["alias", "inetDomainAlias"], dc="loop",
          aliasedObjectName="dc=loop,dc=example,o=internet"),
    node("renamed.example", inetDomainBaseDN=CASES, inetCanonicalDomainName="cases.example"),
]  # fmt: skip
