"""The table of options as rows, and one value checked against its row."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import MISSING, dataclass, fields
from difflib import get_close_matches
from ipaddress import ip_address, ip_network
from string import punctuation
from typing import Any, Final, get_type_hints

from services.common.access.nameservers import parse_nameserver
from services.common.access.realms import check_realm
from services.common.access.service import check_filter
from services.common.directory.ldap.entries import parse_role
from services.common.directory.ldap.filters import check_template
from services.common.directory.ldap.places import parse_place
from services.common.keysource import is_source
from services.common.option import METADATA_KEY, Option
from services.common.options import Configuration
from services.common.sasl.mechanisms import NAMES
from services.common.sizes import parse_size

PREFIX: Final = "MAILKEEP_"
LEGACY_GROUPS: Final = ("pop", "imap", "http")
"""Groups whose every option also answers to `service.GROUP.NAME`, as in Messaging Server's configutil."""
WORDS: Final[dict[str, bool]] = {
    "yes": True, "true": True, "on": True, "1": True,
    "no": False, "false": False, "off": False, "0": False,
}  # fmt: skip
_HOST: Final = re.compile(r"(?!-)[A-Za-z0-9-]{1,63}(?<!-)(\.(?!-)[A-Za-z0-9-]{1,63}(?<!-))*")
MAX_TEXT: Final = 1024
_SEPARATORS: Final = {"filter": r"[$\n]", "mechanism": r"[\s,]+", "account": r"[\s,]+"}
"""What stands between the texts of a list written as one text, where it is no comma; by syntax."""


@dataclass(frozen=True, slots=True)
class Row:
    """One option: its name (`imap.maxsessions`), type, default, and what the table says."""

    name: str
    type: type
    default: Any
    option: Option

    @property
    def group(self) -> str:
        """`imap`."""
        return self.name.partition(".")[0]

    @property
    def variable(self) -> str:
        """The environment variable that overrides it."""
        return variable(self.name)

    @property
    def legacy(self) -> str:
        """The name that configutil has for it, "" for none."""
        if self.group in LEGACY_GROUPS:
            return self.option.legacy.replace("*", self.group) or f"service.{self.name}"
        return "" if "*" in self.option.legacy else self.option.legacy

    @property
    def allowed(self) -> str:
        """What may be set, in words."""
        return _ALLOWED[self.type](self.option)


def variable(name: str) -> str:
    """The environment variable that overrides the option."""
    return PREFIX + name.replace(".", "_").upper()


def _rows() -> Iterator[Row]:
    for group in fields(Configuration):
        if group.name == "data":
            continue
        kind = get_type_hints(Configuration)[group.name]
        types = get_type_hints(kind)
        for each in fields(kind):
            default = each.default if each.default_factory is MISSING else each.default_factory()
            declared = types[each.name]
            row_type = declared if isinstance(declared, type) and declared in _ALLOWED else tuple
            yield Row(f"{group.name}.{each.name}", row_type, default, each.metadata[METADATA_KEY])


# ---- what is allowed, in words --------------------------------------------------------------------------------------
def _allowed_number(option: Option) -> str:
    unit = f" {option.unit}" if option.unit and option.unit != "bytes" else ""
    sizes = ", or with K, M, G" if option.unit == "bytes" else ""
    span = f"{option.low} to {option.high}{unit}{sizes}"
    return f"{span}; may be raised, never lowered below {option.low}{unit}" if option.floor else span


def _allowed_text(option: Option) -> str:
    if option.choices:
        further = f" (also {', '.join(word for word, _ in option.synonyms)})" if option.synonyms else ""
        return " or ".join(option.choices) + further
    if option.syntax:
        return SYNTAXES[option.syntax][0]
    return "a path" if option.path else f"text of at most {option.high or MAX_TEXT} characters"


def _allowed_list(option: Option) -> str:
    return f"a list of: {SYNTAXES[option.syntax][0]}" if option.syntax else "a list of texts"


_ALLOWED: Final[dict[type, Callable[[Option], str]]] = {
    int: _allowed_number,
    bool: lambda _: "yes or no",
    str: _allowed_text,
    tuple: _allowed_list,
}


# ---- one value ------------------------------------------------------------------------------------------------------
def convert(row: Row, value: object) -> Any:
    """The value as the option's type. Raises ValueError where it is not allowed; `row.allowed` says what is."""
    return _CONVERT[row.type](row.option, value)


def _number(option: Option, value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise ValueError
    number = value if isinstance(value, int) else _written_number(option, value)
    if (option.low is not None and number < option.low) or (option.high is not None and number > option.high):
        raise ValueError
    return number


def _written_number(option: Option, text: str) -> int:
    if option.unit == "bytes":
        return parse_size(text)
    if not re.fullmatch(r"-?[0-9]{1,18}", text.strip()):
        raise ValueError
    return int(text)


def _switch(_: Option, value: object) -> bool:
    if isinstance(value, bool):
        return value
    found = WORDS.get(str(value).strip().lower()) if isinstance(value, int | str) else None
    if found is None:
        raise ValueError
    return found


def _text(option: Option, value: object) -> str:
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise ValueError
    text = str(value)
    if option.synonyms:
        text = dict(option.synonyms).get(text.lower(), text.lower())
    # A line break in a banner would be a line of its own to the client.
    if not text.isprintable() or len(text) > (option.high or MAX_TEXT) or len(text) < (option.low or 0):
        raise ValueError
    if option.choices and text not in option.choices:
        raise ValueError
    if option.syntax and text and not SYNTAXES[option.syntax][1](text):
        raise ValueError
    return text


def _list(option: Option, value: object) -> tuple[str, ...]:
    separators = _SEPARATORS.get(option.syntax, ",")
    items = [item.strip() for item in re.split(separators, value) if item.strip()] if isinstance(value, str) else value
    if not isinstance(items, list):
        raise ValueError
    return tuple(_text(option, item) for item in items)


_CONVERT: Final[dict[type, Callable[[Option, object], Any]]] = {
    int: _number,
    bool: _switch,
    str: _text,
    tuple: _list,
}


# ---- texts with a form of their own ---------------------------------------------------------------------------------
def _holds(parse: Callable[[str], object]) -> Callable[[str], bool]:
    def check(text: str) -> bool:
        try:
            parse(text)
        except ValueError:
            return False
        return True

    return check


_is_address: Final = _holds(ip_address)


def _is_host(text: str) -> bool:
    # Digits and dots alone are an address that went wrong, not a name.
    return text == "*" or _is_address(text) or (_HOST.fullmatch(text) is not None and not text[-1].isdigit())


def _is_target(text: str) -> bool:
    if text.startswith("unix:"):
        return len(text) > 5
    host, colon, port = text.rpartition(":")
    return bool(colon) and _is_host(host.strip("[]")) and port.isdecimal() and 0 < int(port) < 65_536


def _is_otlp(text: str) -> bool:
    scheme, mark, place = text.partition("://")
    return scheme in ("http", "https") and bool(mark) and not place.startswith("unix:") and _is_target(place)


SYNTAXES: Final[dict[str, tuple[str, Callable[[str], bool]]]] = {
    "address": ("an IP address or host name; * is every address", _is_host),
    "network": ("a network such as 192.0.2.0/24 or an IP address", _holds(ip_network)),
    "nameserver": ("an IP address, or address:port", _holds(parse_nameserver)),
    "target": ("host:port or unix:PATH", _is_target),
    "otlp": ("http://HOST:PORT or https://HOST:PORT", _is_otlp),
    "ldapserver": ("ldap://HOST[:PORT] or ldaps://HOST[:PORT]", _holds(parse_place)),
    "ldapfilter": ("an LDAP filter such as `(&(objectClass=inetOrgPerson)(uid=%U))`", _holds(check_template)),
    "ldaprole": ("ROLE=ATTRIBUTE", _holds(parse_role)),
    "filter": ("a filter such as `ALL: 192.0.2.0/24 EXCEPT 192.0.2.9`", check_filter),
    "realm": ("IP|MASK:NUMBER or NETWORK/LENGTH:NUMBER", check_realm),
    "keys": ("a full path or an https URL", is_source),
    "account": ("account names", lambda text: text.isprintable() and not set(text) & set(' "<>,')),
    "mechanism": (f"mechanisms of {' '.join(NAMES)}", NAMES.__contains__),
    "separators": ("marks such as @+, with @ among them", lambda text: "@" in text and set(text) <= set(punctuation)),
    "domain": ("a domain", lambda text: text.isascii() is False or _HOST.fullmatch(text) is not None),
}

TABLE: Final[dict[str, Row]] = {row.name: row for row in _rows()}
"""Every option by its name, in the order of the table."""
BY_LEGACY: Final[dict[str, Row]] = {row.legacy: row for row in TABLE.values() if row.legacy}
BY_VARIABLE: Final[dict[str, Row]] = {row.variable: row for row in TABLE.values()}


# ---- names ----------------------------------------------------------------------------------------------------------
def find_row(name: str) -> Row | None:
    """The option of that name, ours or configutil's."""
    return TABLE.get(name) or BY_LEGACY.get(name)


def no_option(name: str) -> str:
    """That there is no such option (or environment variable), with the nearest name there is."""
    known = BY_VARIABLE if name.startswith(PREFIX) else {**TABLE, **BY_LEGACY}
    close = get_close_matches(name, known, n=1, cutoff=0.75)
    return f"is no option{f'; did you mean {close[0]}?' if close else ''}"
