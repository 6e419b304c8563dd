"""Which names mailboxes, keywords and accounts may have."""

from __future__ import annotations

import re
import unicodedata
from typing import Final

from services.common.domain import MAX_KEYWORD_LENGTH, SEPARATOR
from services.common.errors import Reason, StoreError
from services.common.mailboxnames import canonical

MAX_LEVELS: Final = 64
MAX_LEVEL_BYTES: Final = 255
MAX_NAME_BYTES: Final = 1024
MAX_ACCOUNT_BYTES: Final = 320
"""64 octets of local part, "@", 255 octets of domain (RFC 5321 section 4.5.3.1)."""

_UNPRINTABLE: Final = frozenset({"Cc", "Cs", "Zl", "Zp"})
_KEYWORD: Final = re.compile(r"[!#-$&'+-\[^-z|}~]+")
"""flag-keyword of RFC 9051 section 9: ATOM-CHARs."""


def checked(name: str) -> str:
    """The canonical name of a mailbox that shall be made. Raises MAILBOX_NAME_INVALID."""
    proper = canonical(name)
    levels = proper.split(SEPARATOR)
    if len(levels) > MAX_LEVELS or _size(proper) > MAX_NAME_BYTES or not all(map(_is_level, levels)):
        raise StoreError(Reason.MAILBOX_NAME_INVALID)
    return proper


def levels_of(name: str) -> list[str]:
    """The name of each level, the topmost first: `a/b/c` gives `a`, `a/b`, `a/b/c`."""
    parts = name.split(SEPARATOR)
    return [SEPARATOR.join(parts[: count + 1]) for count in range(len(parts))]


def below(name: str) -> tuple[str, str]:
    """Bounds (first included, last not) between which all names below a mailbox lie in code point order."""
    return name + SEPARATOR, name + chr(ord(SEPARATOR) + 1)


def checked_keyword(name: str) -> str:
    """A keyword that may be stored. Raises KEYWORD_INVALID."""
    if len(name) > MAX_KEYWORD_LENGTH or _KEYWORD.fullmatch(name) is None:
        raise StoreError(Reason.KEYWORD_INVALID)
    return name


def checked_account(name: str) -> str:
    """An account name that may be stored. Raises INVALID_ARGUMENT."""
    if not name or _size(name) > MAX_ACCOUNT_BYTES or not _is_printable(name):
        raise StoreError(Reason.INVALID_ARGUMENT)
    return name


def _is_level(level: str) -> bool:
    return bool(level) and _size(level) <= MAX_LEVEL_BYTES and _is_printable(level)


def _is_printable(text: str) -> bool:
    return _UNPRINTABLE.isdisjoint(map(unicodedata.category, text))


def _size(text: str) -> int:
    return len(text.encode("utf-8", "surrogatepass"))
