"""The users file: accounts with their password hashes in YAML, for one machine or a few accounts.

    accounts:
      anna@example.com:
        password: $argon2id$v=19$m=19456,t=2,p=1$...
        quota: 1G
        messagequota: 100000
        aliases: [anna.smith@example.com, info@example.com]
        status: active
        access: +imap,pop:ALL
        administrator: false
        dn: uid=anna,ou=people,dc=example,dc=com
        secrets: [SCRAM-SHA-256$4096:c2FsdA==$...:...]
    domains:
      example.com:
        status: active
        aliases: [example.org]
        access: -imap:ALL EXCEPT 192.0.2.0/24

Of an account only the name is needed; one without a password gets mail and cannot log in. Domains are written only
where there is something to say of one: its status, which comes before those of its accounts, its other names, under
which all its accounts are reached and log in, and who may log in from where. Edits go through `UsersFile`: under a lock
beside the file, and into a new file that takes the old one's place, so that a reader sees one or the other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import Any, Final, TypeAlias

import yaml

from services.common.directory import Entry, Status, first_not_active, parse_name
from services.common.directory.secrets import is_secret, secured
from services.common.domain import Quota
from services.common.loginnames import prepare_name
from services.common.passwords import check_hash
from services.common.replacing import locked, replace_file
from services.common.sizes import format_size, parse_size
from services.common.yamlfile import YamlError, parse

MAX_ADDRESS: Final = 254
"""Bytes (RFC 3696 erratum 1690)."""
MAX_TEXT: Final = 4096
Attributes: TypeAlias = dict[str, Any]
_TOP: Final = ("accounts", "domains")


class UsersFileError(Exception):
    """The users file cannot be used or changed so; one problem a line."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)


@dataclass(frozen=True, slots=True)
class User:
    """One account of the file; `password` is its hash, "" for none."""

    entry: Entry
    password: str = ""


@dataclass(frozen=True, slots=True)
class Users:
    """The whole file, by account name and, for aliases, by alias. Both in the form that is compared.

    `canonical` has the domain for each other name of one.
    """

    by_name: Mapping[str, User]
    by_alias: Mapping[str, User]
    canonical: Mapping[str, str] = field(default_factory=dict)

    def find(self, written: str) -> User | None:
        """The account of this name, else of this alias, else the same in the domain's own name."""
        found = self.by_name.get(written) or self.by_alias.get(written)
        local, _, domain = written.rpartition("@")
        if found is not None or domain not in self.canonical:
            return found
        proper = f"{local}@{self.canonical[domain]}"
        return self.by_name.get(proper) or self.by_alias.get(proper)


@dataclass(frozen=True, slots=True)
class Domain:
    """What the file says of a domain."""

    status: Status = Status.ACTIVE
    aliases: tuple[str, ...] = ()
    access: tuple[str, ...] = ()


def parse_users(text: str) -> Users:
    """Read the file's text. Raises UsersFileError with every problem."""
    document = _document(text)
    problems: list[str] = []
    domains, canonical = _domains(document["domains"], problems)
    by_name: dict[str, User] = {}
    by_alias: dict[str, User] = {}
    for written, attributes in document["accounts"].items():
        user = _user(written, attributes, problems)
        if user is None:
            continue
        user = _in_domain(user, domains)
        if user.entry.domain in canonical:
            problems.append(f"{written}: its domain is another name of {canonical[user.entry.domain]}: write that")
        if user.entry.account in by_name:
            problems.append(f"{written}: the same account as another one above")
        by_name[user.entry.account] = user
    for user in by_name.values():
        for alias in user.entry.aliases:
            if alias in by_name or by_alias.setdefault(alias, user) is not user:
                problems.append(f"{user.entry.account}: the alias {alias} belongs to another account")
    if problems:
        raise UsersFileError(problems)
    return Users(by_name, by_alias, canonical)


def _in_domain(user: User, domains: Mapping[str, Domain]) -> User:
    """The account with what its domain's status makes of its own, and with the domain's access rules before its own."""
    domain, entry = domains.get(user.entry.domain, Domain()), user.entry
    status = first_not_active((domain.status, entry.status))
    return replace(user, entry=replace(entry, status=status, allowed_access=domain.access + entry.allowed_access))


def _domains(written: Mapping[Any, Any], problems: list[str]) -> tuple[dict[str, Domain], dict[str, str]]:
    """The domains by name, and the canonical name for each of their other names."""
    domains: dict[str, Domain] = {}
    for name, attributes in written.items():
        try:
            domain = _domain_name(name)
            if domain in domains:
                raise ValueError("the same domain as another one above")
            domains[domain] = _domain(attributes)
        except ValueError as error:
            problems.append(f"domain {name}: {error}")
    canonical: dict[str, str] = {}
    for name, domain_entry in domains.items():
        for alias in domain_entry.aliases:
            if alias in domains or canonical.setdefault(alias, name) != name:
                problems.append(f"domain {name}: the alias {alias} is another domain, or another one's")
    return domains, canonical


def _domain(attributes: object) -> Domain:
    values = {} if attributes is None else attributes
    if not isinstance(values, dict) or set(values) - {"status", "aliases", "access"}:
        raise ValueError("it has status, aliases and access")
    aliases = values.get("aliases") or []
    if not isinstance(aliases, list):
        raise ValueError("aliases: a list of domains")
    return Domain(_status(values.get("status")), tuple(map(_domain_name, aliases)), _access(values.get("access")))


def _domain_name(value: object) -> str:
    if not isinstance(value, str) or "@" in value:
        raise ValueError("a domain is text without @")
    return check_name(f"x@{value}").partition("@")[2]


def _document(text: str) -> dict[str, dict[Any, Any]]:
    """The file's top: `accounts` and `domains`, each there."""
    try:
        document = parse(text)
    except YamlError as error:
        raise UsersFileError([str(error)]) from None
    if document is None:
        document = {}
    if not isinstance(document, dict) or set(document) - set(_TOP):
        raise UsersFileError(["the file holds `accounts:`, `domains:` and nothing else at its top"])
    found = {name: {} if document.get(name) is None else document[name] for name in _TOP}
    wrong = [f"`{name}:` holds a mapping of names" for name, value in found.items() if not isinstance(value, dict)]
    if wrong:
        raise UsersFileError(wrong)
    return found


def _user(written: object, attributes: object, problems: list[str]) -> User | None:
    """One account, or None with what is wrong added to `problems`."""
    found: list[str] = []
    name = _address(written, found)
    values = attributes if isinstance(attributes, dict) else {}
    if attributes is not None and not isinstance(attributes, dict):
        found.append("its attributes are a mapping")
    found.extend(
        f"{key}: no such attribute (there are {', '.join(_ATTRIBUTES)})" for key in values if key not in _ATTRIBUTES
    )
    parsed = {key: _attribute(key, values.get(key), found) for key in _ATTRIBUTES}
    if found:
        problems.extend(f"{written}: {problem}" for problem in found)
        return None
    quota = Quota(parsed["quota"], parsed["messagequota"])
    entry = Entry(
        name,
        quota,
        aliases=parsed["aliases"],
        status=parsed["status"],
        domain=parse_name(name).domain,
        allowed_access=parsed["access"],
        administrator=parsed["administrator"],
        dn=parsed["dn"],
        secrets=parsed["secrets"],
        password_stamp=sha256((parsed["password"] or "").encode()).hexdigest(),
    )
    return User(entry, parsed["password"])


def _attribute(key: str, value: object, found: list[str]) -> Any:
    try:
        return _ATTRIBUTES[key](value)
    except ValueError as error:
        found.append(f"{key}: {error}")
        return None


def _address(value: object, found: list[str]) -> str:
    try:
        return check_name(value)
    except ValueError as error:
        found.append(str(error))
        return ""


def check_name(value: object) -> str:
    """The name in the form that is compared. Raises ValueError where it cannot be one."""
    if not isinstance(value, str):
        raise ValueError("a name is text")
    name = parse_name(value)
    if not name.local or (not name.domain and "@" in value):
        raise ValueError("a name is user or user@domain")
    if not str(name).isprintable() or any(character in ' <>"\\,' for character in str(name)):
        raise ValueError("a name has no spaces, quotes, commas, backslashes or control characters")
    if "+" in name.local:
        raise ValueError("a name has no +: what follows it in an address is a folder")
    if not _can_log_in(str(name)):
        raise ValueError("a name has only characters that can log in (RFC 8265)")
    if len(str(name).encode()) > MAX_ADDRESS:
        raise ValueError(f"a name has at most {MAX_ADDRESS} bytes")
    return str(name)


def _can_log_in(name: str) -> bool:
    """Whether the name is what its preparation makes of it, so that who types it is found."""
    try:
        return str(parse_name(prepare_name(name))) == name
    except ValueError:
        return False


def _password(value: object) -> str:
    if value in (None, ""):
        return ""
    if not isinstance(value, str):
        raise ValueError("not a hash")
    problem = check_hash(value)
    if problem:
        # The value is not repeated: somebody may have written the password itself there.
        raise ValueError(f"{problem}; `mailkeep account passwd` makes one")
    return value


def _quota(value: object) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise ValueError("bytes, or a number with K, M, G or T")
    try:
        return parse_size(str(value))
    except ValueError:
        raise ValueError(f"{value!r} is not bytes, nor a number with K, M, G or T") from None


def _count(value: object) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ValueError(f"{value!r} is not a number of messages")
    return value


def _aliases(value: object) -> tuple[str, ...]:
    if value is None:
        return ()
    if not isinstance(value, list):
        raise ValueError("a list of addresses")
    return tuple(check_name(alias) for alias in value)


def _status(value: object) -> Status:
    try:
        return Status.ACTIVE if value is None else Status(value)
    except ValueError:
        raise ValueError(f"{value!r} is none of {', '.join(status.value for status in Status)}") from None


def _access(value: object) -> tuple[str, ...]:
    text = _text(value, "rules such as +imap,pop:ALL, with $ between them")
    return (text,) if text else ()


def _dn(value: object) -> str:
    return _text(value, "a distinguished name")


def _text(value: object, what: str) -> str:
    if value is None:
        return ""
    if not isinstance(value, str) or not value.isprintable() or len(value) > MAX_TEXT:
        raise ValueError(f"{what}, in at most {MAX_TEXT} characters")
    return value


def _switch(value: object) -> bool:
    if value is None:
        return False
    if not isinstance(value, bool):
        raise ValueError("true or false")
    return value


def _secrets(value: object) -> tuple[str, ...]:
    if value is None:
        return ()
    # The values are not repeated where they are wrong.
    if not isinstance(value, list) or not all(isinstance(each, str) and is_secret(each) for each in value):
        raise ValueError("a list of SCRAM-SHA-256$ITERATIONS:SALT$STOREDKEY:SERVERKEY and {CLEARTEXT}PASSWORD")
    return tuple(value)


_ATTRIBUTES: Final[dict[str, Callable[[object], Any]]] = {
    "password": _password,
    "quota": _quota,
    "messagequota": _count,
    "aliases": _aliases,
    "status": _status,
    "access": _access,
    "administrator": _switch,
    "dn": _dn,
    "secrets": _secrets,
}


class UsersFile:
    """The file as administrators change it. Every method reads what is there now; all raise UsersFileError."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def users(self) -> Users:
        """Everything in the file; nothing where there is none."""
        return parse_users(self._text())

    def names(self) -> list[str]:
        """The accounts' names in the file's order."""
        return list(self.users().by_name)

    def add(
        self,
        name: str,
        password: str = "",
        *,
        scram: bool = False,
        quota: int | None = None,
        messagequota: int | None = None,
        aliases: Sequence[str] = (),
    ) -> None:
        """Add an account at the end. Without a password nobody can log in to it. `scram`: see `set_password`."""
        attributes: Attributes = {
            **_secured(password, {}, scram=scram),
            "quota": None if quota is None else format_size(quota),
            "messagequota": messagequota,
            "aliases": list(aliases) or None,
        }
        with self._edit() as accounts:
            if _find(accounts, name) is not None:
                raise UsersFileError([f"{name}: there is such an account already"])
            accounts[_checked(name)] = {key: value for key, value in attributes.items() if value is not None}

    def remove(self, name: str) -> None:
        """Take an account out. Its mail is the store's and stays."""
        with self._edit() as accounts:
            del accounts[_existing(accounts, name)]

    def set_password(self, name: str, password: str, *, scram: bool = False) -> None:
        """A new password; "" for none. Secrets of the old one are made anew, or go with it.

        `scram`: keep a SCRAM secret of it too, whether or not there was one.
        """
        with self._edit() as accounts:
            written = _existing(accounts, name)
            old = accounts[written] or {}
            new = _secured(password, old, scram=scram)
            accounts[written] = {key: value for key, value in {**old, **new}.items() if value is not None}

    def set_status(self, name: str, status: Status) -> None:
        """Let in, lock out, and so on."""
        self.change(name, status=status.value)

    def change(self, name: str, **attributes: object) -> None:
        """Set attributes, by their names in the file; None takes one out."""
        with self._edit() as accounts:
            written = _existing(accounts, name)
            merged = {**(accounts[written] or {}), **attributes}
            accounts[written] = {key: value for key, value in merged.items() if value is not None}

    def _text(self) -> str:
        try:
            return self.path.read_text("utf-8")
        except FileNotFoundError:
            return ""
        except (OSError, UnicodeDecodeError) as error:
            raise UsersFileError([f"{self.path}: {getattr(error, 'strerror', None) or 'not UTF-8'}"]) from None

    @contextmanager
    def _edit(self) -> Iterator[dict[str, Any]]:
        """The accounts to change, under the lock; written back if nothing was raised and the result is valid."""
        with locked(self.path):
            text = self._text()
            parse_users(text)
            document = _document(text)
            yield document["accounts"]
            written = _dump(document)
            parse_users(written)
            replace_file(self.path, written.encode())


def _dump(document: Mapping[str, Any]) -> str:
    held = {name: value for name, value in document.items() if value or name == "accounts"}
    text: str = yaml.dump(held, Dumper=yaml.CSafeDumper, sort_keys=False, allow_unicode=True, width=1000)
    return text


def _secured(password: str, old: Attributes, *, scram: bool) -> Attributes:
    """The attributes that come of a password; None for those that go."""
    try:
        hashed, secrets = secured(password, old.get("secrets") or (), scram=scram)
    except ValueError as error:
        raise UsersFileError([f"the password cannot be used: {error}"]) from None
    return {"password": hashed or None, "secrets": secrets or None}


def _checked(name: str) -> str:
    try:
        return check_name(name)
    except ValueError as error:
        raise UsersFileError([f"{name}: {error}"]) from None


def _find(accounts: Mapping[str, Any], name: str) -> str | None:
    """The account's name as the file writes it."""
    wanted = str(parse_name(name))
    return next((written for written in accounts if str(parse_name(written)) == wanted), None)


def _existing(accounts: Mapping[str, Any], name: str) -> str:
    written = _find(accounts, name)
    if written is None:
        raise UsersFileError([f"{name}: no such account"])
    return written
