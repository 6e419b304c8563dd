"""Who logs in, as a table: each case with the sentence that it proves. Against OpenLDAP with the shipped schema.

SR5 is the schema reference of Communications Suite 5, AG63 the administration guide of Messaging Server 6.3, SEED the
wiki chapter on POP, IMAP and HTTP.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from services.common.directory import DirectoryUnavailable, LoginRefusal, LoginRefused
from services.common.live import Live
from services.common.login import Login
from services.common.options import DirectoryOptions
from services.common.peer import Peer
from tests.support.ldapdirectory import opened
from tests.support.ldaptree import CASES, HOSTILE
from tests.support.slapd import PASSWORD, Slapd

pytestmark = pytest.mark.slapd
PEER = Peer("192.0.2.1", tls=True)
WRONG, INACTIVE, LOCKED = LoginRefusal.CREDENTIALS, LoginRefusal.INACTIVE, LoginRefusal.LOCKED
UNAVAILABLE = DirectoryUnavailable
DC: dict[str, Any] = {"schema": "dctree"}
DEFAULT: dict[str, Any] = {"directory": {"defaultdomain": "cases.example"}}
WHOLE: dict[str, Any] = {"searchfordomain": False, "basedn": CASES}
PLAIN: dict[str, Any] = {"schema": "plain", "basedn": "ou=plain,o=isp"}


@dataclass(frozen=True)
class Case:
    """A login: name, account or refusal, and why that is right."""

    name: str
    expected: str | LoginRefusal | type[DirectoryUnavailable]
    because: str
    password: str = PASSWORD
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """The test's name."""
        words = "-".join(f"{key}={value}" for key, value in self.options.items() if isinstance(value, str | bool))
        return f"{self.name}{'' if self.password == PASSWORD else '-other-password'}{words and '-' + words}"


NAMES = [
    Case("plain@cases.example", "plain@cases.example", "SR5: canonical id is uid@canonicalDomain"),
    Case("PLAIN@Cases.Example", "plain@cases.example", "names are compared without case"),
    Case("mixed.case@cases.example", "mixed.case@cases.example", "and kept in lower case"),
    Case("plain@cases.example", WRONG, "a wrong password", password="wrong"),
    Case("plain@cases.example", WRONG, "RFC 4513 5.1.2: a bind without password would succeed", password=""),
    Case("plain@cases.example", WRONG, "a password is compared whole", password=PASSWORD + " "),
    Case("plain@cases.example", WRONG, "and with its case", password=PASSWORD.upper()),
    Case("nobody@cases.example", WRONG, "AG63 25.4.8: the client learns no more than of a wrong password"),
    Case("anna@nowhere.example", WRONG, "an unknown domain is no other thing"),
    Case("nopassword@cases.example", WRONG, "who has no password cannot log in"),
    Case("plain", WRONG, "SEED: without a domain the default domain; there is none"),
    Case("plain", "plain@cases.example", "SEED: without a domain the default domain", options=DEFAULT),
    Case("plain@cases.example", "plain@cases.example", "which may be written", options=DEFAULT),
    Case("anna", WRONG, "and is not another one", options=DEFAULT),
    Case("anna@example.com", "anna@example.com", "others have to write theirs", options=DEFAULT),
    Case("plain@cases.org", "plain@cases.example", "SR5 inetCanonicalDomainName: an alias opens the same mailbox"),
    Case("anna@canonical.example", "anna@first.example", "SR5: inetCanonicalDomainName replaces the domain"),
    Case("anna@second.example", "anna@first.example", "for each of its names"),
    Case("plain@index.example", "plain@index.example", "SR5 inetDomainBaseDN: an index node points to its people"),
    Case("twin@cases.example", WRONG, "SR5 inetDomainSearchFilter: exactly one entry has to match"),
    Case("other.name@cases.example", WRONG, "SR5: the filter finds who logs in, not the address"),
]
FILTERS = [
    Case("4711@number.example", "carla@number.example", "SR5: (employeeNumber=%U), the canonical id is by uid"),
    Case("carla@number.example", WRONG, "SR5: the domain's filter replaces the general one"),
    Case("anna@compound.example", "anna_compound.example@compound.example", "SR5: compound uid is uid=%U_%V"),
    Case("anna@broken.example", UNAVAILABLE, "a filter that is none is a fault and no wrong password"),
    Case("anna@double.example", UNAVAILABLE, "SR5 sunPreferredDomain: values are unique over the directory"),
    Case(
        "plain@cases.example", "plain@cases.example", "SEED: sasl.default.ldap.searchfilter is the default",
        options={"searchfilter": "(mail=%o)"},
    ),
    Case(
        "plain@cases.example", "plain@cases.example", "%s is uid and domain",
        options={"searchfilter": "(mail=%s)"},
    ),
    Case(
        "other@cases.example", WRONG, "the filter decides: the mail of other is shared",
        options={"searchfilter": "(mail=%s)"},
    ),
    Case("4711@number.example", "carla@number.example", "a domain's own filter comes first",
         options={"searchfilter": "(mail=%s)"}),
]  # fmt: skip
WHOLE_TREE = [
    Case("plain", "plain", "SEED: searchfordomain 0 ignores the domain", options=WHOLE),
    Case("plain@nowhere.example", "plain", "whichever it is", options=WHOLE),
    Case("plain@x.example", "plain@cases.example", "of the default domain then", options={**WHOLE, **DEFAULT}),
    Case("twin", WRONG, "SEED: uid must then be unique in the whole tree", options=WHOLE),
    Case("anna", WRONG, "SEED: unique, over all domains", options={**WHOLE, "basedn": "o=isp"}),
]
HOSTILE_NAMES = [
    Case(f"{HOSTILE}@cases.example", f"{HOSTILE}@cases.example".lower(), "RFC 4515: every character is a character"),
    Case("*@cases.example", WRONG, "RFC 4515: an asterisk finds an asterisk"),
    Case("plai*@cases.example", WRONG, "and no beginning"),
    Case("plain)(uid=*@cases.example", WRONG, "parentheses end nothing"),
    Case("plain)(|(uid=*)@cases.example", WRONG, "nor begin anything"),
    Case("nobody)(objectClass=*))(&(uid=plain@cases.example", WRONG, "injection"),
    Case("\\2a@cases.example", WRONG, "a number is no escape"),
    Case("plain\0@cases.example", WRONG, "NUL ends nothing"),
    Case("plain@*", WRONG, "a domain is a domain"),
    Case("plain@cases.example)(objectClass=*", WRONG, "a domain is a value, too"),
    Case("anna@example,dc=com", WRONG, "RFC 4514: and no name of other nodes", options=DC),
    Case("anna@com,o=internet", WRONG, "RFC 4514: nor the end of one", options=DC),
    Case("anna@" + "a." * 200 + "example", WRONG, "long names are names", options=DC),
    Case("a" * 5000 + "@cases.example", WRONG, "very long ones, too"),
]
DOMAIN_STATUS = [
    *(
        Case(f"anna@inet-{status}.example", expected, f"SR5: inetDomainStatus {status} beats mailUserStatus hold")
        for status, expected in (("inactive", INACTIVE), ("deleted", WRONG), ("nonsense", INACTIVE))
    ),
    *(
        Case(f"anna@mail-{status}.example", expected, f"SR5: mailDomainStatus {status} beats inetUserStatus deleted")
        for status, expected in (
            ("inactive", INACTIVE), ("deleted", WRONG), ("disabled", INACTIVE), ("removed", WRONG), ("hold", INACTIVE),
            ("overquota", "anna@mail-overquota.example"), ("nonsense", INACTIVE),
        )
    ),
    Case("dora@held.example", INACTIVE, "AG63 9.1.3.2: hold while mailboxes move"),
    Case("dora@held.example", WRONG, "who guesses learns nothing of it", password="guess"),
    Case("plain@statused.example", INACTIVE, "Schema 1: the status of the node", options=DC),
]  # fmt: skip
USER_STATUS = [
    *(
        Case(f"inet-{status}@cases.example", expected, f"SR5: inetUserStatus {status} beats mailUserStatus hold")
        for status, expected in (("inactive", INACTIVE), ("deleted", WRONG), ("nonsense", INACTIVE))
    ),
    *(
        Case(f"mail-{status}@cases.example", expected, f"SR5: mailUserStatus {status}")
        for status, expected in (
            ("inactive", INACTIVE), ("deleted", WRONG), ("disabled", INACTIVE), ("removed", WRONG), ("hold", INACTIVE),
            ("overquota", "mail-overquota@cases.example"), ("nonsense", INACTIVE),
        )
    ),
    Case("mail-hold@cases.example", WRONG, "who guesses learns nothing of it", password="guess"),
    Case("held@cases.example", "held@cases.example", "SR5: mailDeliveryOption hold does not stop login"),
    Case("forward@cases.example", "forward@cases.example", "SR5: nor does any other"),
    Case("badquota@cases.example", "badquota@cases.example", "a quota that is none stops nobody"),
]  # fmt: skip
POLICY = [
    Case("expired@cases.example", LoginRefusal.EXPIRED, "RFC 5530: the right password has expired"),
    Case("expired@cases.example", WRONG, "a wrong one is wrong", password="guess"),
    Case("reset@cases.example", LoginRefusal.MUST_CHANGE, "password policy: change after reset"),
    Case("reset@cases.example", WRONG, "a wrong one is wrong", password="guess"),
    Case("locked@cases.example", LOCKED, "password policy: locked, whatever the password"),
    Case("locked@cases.example", LOCKED, "also a wrong one", password="guess"),
]
HOSTS: dict[str, Any] = {"directory": {"hostnames": ("mail.example.com", "mail")}}
MAIL_HOST = [
    Case("here@cases.example", "here@cases.example", "mailHost is one of local.hostnames", options=HOSTS),
    Case("there@cases.example", LoginRefusal.ELSEWHERE, "NS4 mailHost: another store has the mail", options=HOSTS),
    Case("there@cases.example", WRONG, "said to who has the password", password="guess", options=HOSTS),
    Case("plain@cases.example", "plain@cases.example", "without mailHost it is here", options=HOSTS),
    Case("there@cases.example", "there@cases.example", "an empty local.hostnames is not looked at"),
]
DOMAIN_TREE = [
    Case("plain@cases.example", "plain@cases.example", "SR5 inetDomainBaseDN: people of the node", options=DC),
    Case("anna@example.com", "anna@example.com", "MIG: dc=example,dc=com below service.dcroot", options=DC),
    Case("anna@example.org", "anna@example.com", "SR5 aliasedObjectName: a node that stands for another", options=DC),
    Case("anna@loop.example", UNAVAILABLE, "one that stands for itself leads nowhere", options=DC),
    Case("anna@nobase.example", UNAVAILABLE, "a node without people is a fault", options=DC),
    Case("anna@org", WRONG, "a node above domains is none", options=DC),
    Case("anna@nowhere.example", WRONG, "no node, no domain", options=DC),
    Case("plain@renamed.example", "plain@cases.example", "SR5 inetCanonicalDomainName", options=DC),
    Case("4711@number.example", "carla@number.example", "SR5 inetDomainSearchFilter of the node", options=DC),
    Case("anna+separated.example@separated.example", "anna@separated.example",
         "SR5 domainUidSeparator: the rightmost one becomes @", options=DC),
    Case("plain", "plain@cases.example", "the default domain", options={**DC, **DEFAULT}),
    Case("anna@example.com", WRONG, "another root, other domains", options={**DC, "dcroot": "o=isp"}),
]  # fmt: skip
PLAIN_TREE = [
    Case("paul", "paul", "a directory without domains: the uid", options=PLAIN),
    Case("paul", "paul@plain.example", "with a default domain, in it",
         options={**PLAIN, "directory": {"defaultdomain": "plain.example"}}),
    Case("paul@plain.example", "paul@plain.example", "which may be written",
         options={**PLAIN, "directory": {"defaultdomain": "plain.example"}}),
    Case("paul@other.example", WRONG, "another domain is nobody's",
         options={**PLAIN, "directory": {"defaultdomain": "plain.example"}}),
    Case("paul@plain.example", "paul@plain.example", "by mail address, and named by it",
         options={**PLAIN, "searchfilter": "(mail=%o)", "attributes": ("account=mail",)}),
    Case("paul@other.example", WRONG, "whose domain counts then",
         options={**PLAIN, "searchfilter": "(mail=%o)", "attributes": ("account=mail",)}),
    Case("petra", "petra", "only members: a group is a part of the filter",
         options={**PLAIN, "searchfilter": "(&(uid=%U)(employeeNumber=*))"}),
    Case("paul", WRONG, "who is no member does not log in",
         options={**PLAIN, "searchfilter": "(&(uid=%U)(employeeNumber=*))"}),
]  # fmt: skip
CORP: dict[str, Any] = {
    "schema": "activedirectory",
    "basedn": "ou=corp,o=isp",
    "searchfilter": "(&(objectClass=user)(|(sAMAccountName=%U)(userPrincipalName=%o)))",
    "directory": {"defaultdomain": "corp.example"},
}
ACTIVE_DIRECTORY = [
    Case("ada", "ada@corp.example", "sAMAccountName in the default domain", options=CORP),
    Case("ADA@ad.corp.example", "ada@corp.example", "userPrincipalName", options=CORP),
    Case("ada", WRONG, "a wrong password", password="guess", options=CORP),
    Case("ben", INACTIVE, "userAccountControl has ACCOUNTDISABLE", options=CORP),
    Case("ben", WRONG, "which who guesses does not learn", password="guess", options=CORP),
]
GROUPS = [
    Case("petra", "petra", "a member of the group", options={**PLAIN, "group": "cn=admins,ou=plain,o=isp"}),
    Case("paul", WRONG, "nobody else", options={**PLAIN, "group": "cn=admins,ou=plain,o=isp"}),
    Case("paul", "paul", "by name (RFC 2307 memberUid)", options={**PLAIN, "group": "cn=names,ou=plain,o=isp"}),
    Case("petra", WRONG, "whose is not in it", options={**PLAIN, "group": "cn=names,ou=plain,o=isp"}),
    Case("petra", WRONG, "a group that is not there has no members", options={**PLAIN, "group": "cn=none,o=isp"}),
]
WAYS = [
    Case("plain@cases.example", "plain@cases.example", "by comparison", options={"passwords": "compare"}),
    Case("plain@cases.example", WRONG, "by comparison", password="guess", options={"passwords": "compare"}),
    Case("nobody@cases.example", WRONG, "by comparison", options={"passwords": "compare"}),
    Case("plain@cases.example", UNAVAILABLE, "a service account that is refused is a fault",
         options={"bindpassword": "wrong"}),
    Case("plain@cases.example", UNAVAILABLE, "a certificate of an unknown authority", options={"cafile": ""}),
    Case("plain@cases.example", UNAVAILABLE, "a CA file that is not there", options={"cafile": "/nonexistent"}),
    Case("plain@cases.example", "plain@cases.example", "in clear, where that is wanted", options={"starttls": False}),
    Case("plain@cases.example", "plain@cases.example", "by TLS from the first byte",
         options={"servers": lambda slapd: (slapd.tls_url,)}),
    Case("plain@cases.example", "plain@cases.example", "AR63: host:port, as local.ugldaphost has it",
         options={"servers": lambda slapd: (f"localhost:{slapd.port}",)}),
    Case("plain@cases.example", "plain@cases.example", "the next server where the first is not there",
         options={"servers": lambda slapd: ("ldap://localhost:1", slapd.url)}),
    Case("plain@cases.example", UNAVAILABLE, "no server at all", options={"servers": ("ldap://localhost:1",)}),
    Case("expired@cases.example", "expired@cases.example", "a comparison knows no policy",
         options={"passwords": "compare"}),
    Case("dora@held.example", INACTIVE, "but every status", options={"passwords": "compare"}),
    Case("nopassword@cases.example", WRONG, "RFC 4511 4.10: and says no where there is nothing to compare",
         options={"passwords": "compare", "passwordattribute": "employeeType"}),
]  # fmt: skip
TABLE = [
    *NAMES, *FILTERS, *WHOLE_TREE, *HOSTILE_NAMES, *DOMAIN_STATUS, *USER_STATUS, *POLICY, *MAIL_HOST, *DOMAIN_TREE,
    *PLAIN_TREE, *GROUPS, *ACTIVE_DIRECTORY, *WAYS,
]  # fmt: skip


@pytest.mark.parametrize("case", TABLE, ids=lambda case: case.label[:80])
async def test_login(case: Case, slapd: Slapd) -> None:
    options = {name: value(slapd) if callable(value) else value for name, value in case.options.items()}
    async with opened(slapd, **options) as directory:
        login = Login(directory, Live(DirectoryOptions(faildelay=0)))
        if isinstance(case.expected, str):
            entry = await login.password("imap", case.name, case.password, PEER)
            assert entry.account == case.expected, case.because
        elif isinstance(case.expected, LoginRefusal):
            with pytest.raises(LoginRefused) as caught:
                await login.password("imap", case.name, case.password, PEER)
            assert caught.value.kind is case.expected, case.because
        else:
            with pytest.raises(case.expected):
                await login.password("imap", case.name, case.password, PEER)
