"""Names of mailboxes: the one spelling of each, and modified UTF-7 (RFC 3501 section 5.1.3). No I/O."""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from typing import Final
from unicodedata import normalize

from services.common.domain import INBOX, SEPARATOR

_SHIFTED: Final = re.compile(r"&([^-]*)-|[^&]+|&")
_PLAIN: Final = re.compile(r"[ -%'-~]+|&|[^ -~]+")
_BASE64: Final = re.compile(r"[A-Za-z0-9+,]+")


def canonical(name: str) -> str:
    """Normal form C, INBOX in capitals, also as the first level of a longer name (RFC 9051 sections 5.1 and 5.1.1)."""
    if not name.isascii():
        name = normalize("NFC", name)
    first = name.partition(SEPARATOR)[0]
    return INBOX + name[len(first) :] if first.upper() == INBOX else name


class InvalidName(ValueError):  # noqa: N818 - about the name, not a fault
    """What was sent is no name in the encoding in force."""


def decode_utf7(text: str) -> str:
    """Modified UTF-7 to Unicode. Raises InvalidName for what no encoder would have made."""
    decoded = "".join(_decode_run(match) for match in _SHIFTED.finditer(text))
    if encode_utf7(decoded) != text:
        raise InvalidName
    return decoded


def _decode_run(match: re.Match[str]) -> str:
    shifted = match.group(1)
    if shifted is None:
        return match.group()
    if not shifted:
        return "&"
    if _BASE64.fullmatch(shifted) is None:
        raise InvalidName
    try:
        return b64decode(shifted.replace(",", "/") + "=" * (-len(shifted) % 4)).decode("utf-16-be")
    except (Base64Error, UnicodeDecodeError):
        raise InvalidName from None


def encode_utf7(name: str) -> str:
    """Unicode to modified UTF-7."""
    return "".join(_encode_run(run) for run in _PLAIN.findall(name))


def _encode_run(run: str) -> str:
    if run == "&":
        return "&-"
    if " " <= run[0] <= "~":
        return run
    return "&" + b64encode(run.encode("utf-16-be")).decode().rstrip("=").replace("/", ",") + "-"
