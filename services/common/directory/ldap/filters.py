"""Search filters and distinguished names with values put in, so that no value is ever read as syntax. No I/O."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

_FILTER_SPECIAL: Final = re.compile(r"[\x00-\x1f()*\\\x7f\s]")
_DN_SPECIAL: Final = re.compile(r'[\x00-\x1f"#+,;<>=\\\x7f]')
_CODE: Final = re.compile("%(.)", re.DOTALL)
_RULE: Final = "(:[A-Za-z0-9.:-]*)?(=|~=|>=|<=)"
_ITEM: Final = re.compile(rf"[A-Za-z][A-Za-z0-9;.-]*{_RULE}|[0-9.]+{_RULE}|:[A-Za-z0-9.:-]+=")
_OPERATORS: Final = "&|!"
MAX_FILTER: Final = 1024
MAX_DEPTH: Final = 20
CODES: Final = "UVos%"


def escape_filter(value: str) -> str:
    """The value as part of a filter (RFC 4515 section 3): parentheses, asterisk, backslash and controls by number.

    Spaces too, although they need not be: ldap3 takes them from the ends of a value.
    """
    return _FILTER_SPECIAL.sub(_numbered, value)


def _numbered(match: re.Match[str]) -> str:
    return "".join(f"\\{octet:02x}" for octet in match[0].encode())


def escape_dn(value: str) -> str:
    """The value as part of a distinguished name (RFC 4514 section 2.4)."""
    escaped = _DN_SPECIAL.sub(lambda match: f"\\{ord(match[0]):02x}", value)
    if escaped[:1] in (" ", "#"):
        escaped = f"\\{ord(escaped[0]):02x}{escaped[1:]}"
    # A space at the end that is not the number just made.
    return f"{escaped[:-1]}\\20" if escaped.endswith(" ") else escaped


@dataclass(frozen=True, slots=True)
class Typed:
    """A name that logs in: the part before the separator, the domain that counts for it, and what was typed."""

    user: str
    domain: str
    text: str


def expand(template: str, typed: Typed) -> str:
    """The filter for a name: `%U` user, `%V` domain, `%o` as typed, `%s` user@domain, `%%` a percent sign.

    Values are escaped. Any other code stands for itself, as in Messaging Server (schema reference 5,
    inetDomainSearchFilter; technical reference, Searchformat).
    """
    both = f"{typed.user}@{typed.domain}" if typed.domain else typed.user
    values = {"U": typed.user, "V": typed.domain, "o": typed.text, "s": both}
    made = {code: escape_filter(value) for code, value in values.items()} | {"%": "%"}
    return _CODE.sub(lambda match: made.get(match[1], match[0]), template)


def check_template(text: str) -> bool:
    """Whether the text is a filter (RFC 4515), its codes taken as values. Raises ValueError where it is none."""
    if len(text) > MAX_FILTER:
        raise ValueError("a filter that is too long")
    end = _filter(text, 0, 0)
    if end != len(text):
        raise ValueError("a filter is one pair of parentheses with everything in it")
    return True


def _filter(text: str, at: int, depth: int) -> int:
    """The end of the filter that begins here."""
    if depth > MAX_DEPTH or text[at : at + 1] != "(":
        raise ValueError("a filter begins with ( and is not too deep")
    at += 1
    if text[at : at + 1] and text[at] in _OPERATORS:
        one = text[at] == "!"
        at = _filter(text, at + 1, depth + 1)
        while not one and text[at : at + 1] == "(":
            at = _filter(text, at, depth + 1)
    else:
        at = _item(text, at)
    if text[at : at + 1] != ")":
        raise ValueError("a parenthesis that is not closed")
    return at + 1


def _item(text: str, at: int) -> int:
    match = _ITEM.match(text, at)
    if match is None:
        raise ValueError("an attribute, = and a value")
    end = match.end()
    while end < len(text) and text[end] not in "()":
        if text[end] == "\\" and not re.fullmatch("[0-9A-Fa-f]{2}", text[end + 1 : end + 3]):
            raise ValueError("a backslash is followed by two hexadecimal digits")
        end += 1
    return end
