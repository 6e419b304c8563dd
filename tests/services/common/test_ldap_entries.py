"""What a person's entry and a directory's answer come to, without a directory."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from services.common.directory import LoginRefusal, Status
from services.common.directory.ldap.answers import (
    EXPIRED_CONTROL,
    POLICY_CONTROL,
    NoAnswer,
    PasswordAnswer,
    refusal,
)
from services.common.directory.ldap.domains import Domain, domain_of_node
from services.common.directory.ldap.entries import (
    ACTIVE_DIRECTORY,
    MESSAGING,
    Profile,
    Surroundings,
    address_filter,
    entry_of,
    parse_role,
    same_dn,
    with_roles,
)

DN = "uid=anna,ou=people,o=isp"
KEY = base64.b64encode(bytes(32)).decode()
SALT = base64.b64encode(b"salt").decode()


def entry(attributes: dict[str, list[str]], profile: Profile = MESSAGING, dn: str = DN, **domain: Any) -> Any:
    around = Surroundings(Domain(**{"name": "example.com", "base": "o=isp", **domain}), profile)
    return entry_of(attributes, dn, around)[0]


@pytest.mark.parametrize(
    ("uids", "domain", "account"),
    [
        (["anna"], {}, "anna@example.com"),
        (["Anna"], {}, "anna@example.com"),
        (["zoe", "anna", "bert"], {}, "anna@example.com"),  # the one that the entry's own name has
        (["zoe", "bert"], {}, "bert@example.com"),  # else always the same one
        (["anna"], {"name": ""}, "anna"),
        (["anna@other.example"], {}, "anna@other.example"),
        (["anna+other.example"], {"separator": "+"}, "anna@other.example"),
        (["a+b+other.example"], {"separator": "+"}, "a+b@other.example"),
        (["anna+other.example"], {}, "anna+other.example@example.com"),
    ],
)
def test_the_name_of_an_account(uids: list[str], domain: dict[str, Any], account: str) -> None:
    assert entry({"uid": uids}, **domain).account == account


def test_an_entry_without_a_name_cannot_be_used() -> None:
    with pytest.raises(ValueError, match="it has no uid"):
        entry({"mail": ["anna@example.com"]})


@pytest.mark.parametrize(
    ("flags", "status"),
    [("512", Status.ACTIVE), ("514", Status.DISABLED), ("66050", Status.DISABLED), ("", Status.ACTIVE)],
)
def test_active_directory(flags: str, status: Status) -> None:
    found = entry(
        {
            "samaccountname": ["anna"],
            "mail": ["Anna@example.com"],
            "proxyaddresses": [
                "SMTP:anna@example.com",
                "smtp:info@example.com",
                "X400:c=us;s=anna",
                "sip:anna@x.example",
            ],
            "userprincipalname": ["anna@corp.example.com"],
            "useraccountcontrol": [flags] if flags else [],
            "mailquota": ["1"],
        },
        ACTIVE_DIRECTORY,
    )
    assert (found.account, found.status, found.quota.max_bytes) == ("anna@example.com", status, None)
    assert found.aliases == ("info@example.com", "anna@corp.example.com")


def test_addresses_of_active_directory_are_found_by_their_kind() -> None:
    made = address_filter(ACTIVE_DIRECTORY, "a(b@example.com")
    assert "(mail=a\\28b@example.com)" in made
    assert "(proxyAddresses=smtp:a\\28b@example.com)" in made
    assert "proxyAddresses" not in address_filter(MESSAGING, "anna@example.com")


@pytest.mark.parametrize(
    ("stored", "secrets"),
    [
        ([f"SCRAM-SHA-256$4096:{SALT}${KEY}:{KEY}"], (f"SCRAM-SHA-256$4096:{SALT}${KEY}:{KEY}",)),
        ([f"{{SCRAM-SHA-256}}4096,{SALT},{KEY},{KEY}"], (f"SCRAM-SHA-256$4096:{SALT}${KEY}:{KEY}",)),
        ([f"{{SCRAM-SHA-256}}4096:{SALT}${KEY}:{KEY}"], (f"SCRAM-SHA-256$4096:{SALT}${KEY}:{KEY}",)),
        (["{SSHA}abc", "{CRYPT}$6$x"], ()),
        (["{CLEARTEXT}secret"], ("{CLEARTEXT}secret",)),
        (["secret"], ("{CLEARTEXT}secret",)),
        ([f"SCRAM-SHA-256$4096:{SALT}${SALT}:{SALT}"], ()),
        (["SCRAM-SHA-1$x"], ()),
        ([""], ()),
    ],
)
def test_secrets(stored: list[str], secrets: tuple[str, ...]) -> None:
    found = entry({"uid": ["anna"], "userpassword": stored})
    assert found.secrets == secrets
    assert "secret" not in repr(found)


def test_when_the_password_was_changed_is_known() -> None:
    assert entry({"uid": ["anna"], "pwdchangedtime": ["20260102030405Z"]}).password_stamp == "20260102030405Z"
    assert entry({"uid": ["anna"]}).password_stamp == ""
    assert "pwdChangedTime" in MESSAGING.attributes(with_secrets=False)
    assert "pwdLastSet" in ACTIVE_DIRECTORY.attributes(with_secrets=False)


def test_roles_replace_attributes() -> None:
    profile = with_roles(MESSAGING, ["account=mail", "aliases=mailLocalAddress otherMailbox", "quota="])
    assert profile.account == "mail"
    assert profile.addresses == ("mail", "mailLocalAddress", "otherMailbox")
    asked = profile.attributes(with_secrets=False)
    assert {"mailLocalAddress", "otherMailbox", "mail"} <= set(asked)
    assert not {"mailQuota", "userPassword", "authPassword"} & set(asked)
    assert entry({"mail": ["anna@example.com"], "mailquota": ["5"]}, profile).quota.max_bytes is None


@pytest.mark.parametrize("text", ["", "x=y", "mail", "mail=a(b", "mail=a;b=c", "=mail"])
def test_what_is_no_role(text: str) -> None:
    with pytest.raises(ValueError, match="ROLE=ATTRIBUTE"):
        parse_role(text)


def test_equal_names_are_equal() -> None:
    assert same_dn("UID=anna , OU=People,o=ISP") == same_dn("uid=anna,ou=people, o=isp")


@pytest.mark.parametrize(
    ("dn", "name"),
    [
        ("dc=example,dc=com,o=internet", "example.com"),
        ("DC=Mail, DC=Example, dc=COM, o=Internet", "mail.example.com"),
    ],
)
def test_a_domain_is_named_by_its_node(dn: str, name: str) -> None:
    found = domain_of_node({"objectclass": ["inetDomain"], "inetdomainbasedn": ["o=isp"]}, dn, "o=Internet")
    assert found is not None
    assert found.name == name


def policy(error: int) -> dict[str, bytes]:
    return {POLICY_CONTROL: bytes((0x30, 3, 0x81, 1, error))}


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (PasswordAnswer(0), None),
        (PasswordAnswer(6), None),
        (PasswordAnswer(0, controls=policy(2)), LoginRefusal.MUST_CHANGE),
        (PasswordAnswer(0, controls={EXPIRED_CONTROL: b"0"}), LoginRefusal.MUST_CHANGE),
        (PasswordAnswer(49), LoginRefusal.CREDENTIALS),
        (PasswordAnswer(49, controls=policy(0)), LoginRefusal.EXPIRED),
        (PasswordAnswer(49, controls=policy(1)), LoginRefusal.LOCKED),
        (PasswordAnswer(49, controls=policy(77)), LoginRefusal.CREDENTIALS),
        (PasswordAnswer(49, controls={EXPIRED_CONTROL: b"0"}), LoginRefusal.EXPIRED),
        (PasswordAnswer(5), LoginRefusal.CREDENTIALS),
        (PasswordAnswer(16), LoginRefusal.CREDENTIALS),
        (PasswordAnswer(32), LoginRefusal.CREDENTIALS),
        (PasswordAnswer(48), LoginRefusal.CREDENTIALS),
        (PasswordAnswer(19, "Exceed password retry limit."), LoginRefusal.LOCKED),
        (PasswordAnswer(53, "Account inactivated."), LoginRefusal.LOCKED),
        (PasswordAnswer(49, "AcceptSecurityContext error, data 52e, v4563"), LoginRefusal.CREDENTIALS),
        (PasswordAnswer(49, "AcceptSecurityContext error, data 532, v4563"), LoginRefusal.EXPIRED),
        (PasswordAnswer(49, "AcceptSecurityContext error, data 533, v4563"), LoginRefusal.INACTIVE),
        (PasswordAnswer(49, "AcceptSecurityContext error, data 701, v4563"), LoginRefusal.INACTIVE),
        (PasswordAnswer(49, "AcceptSecurityContext error, data 773, v4563"), LoginRefusal.MUST_CHANGE),
        (PasswordAnswer(49, "AcceptSecurityContext error, data 775, v4563"), LoginRefusal.LOCKED),
    ],
)
def test_what_an_answer_means(answer: PasswordAnswer, expected: LoginRefusal | None) -> None:
    assert refusal(answer) is expected


@pytest.mark.parametrize("code", [1, 3, 11, 51, 52, 80])
def test_codes_that_are_no_answer(code: int) -> None:
    with pytest.raises(NoAnswer):
        refusal(PasswordAnswer(code))
