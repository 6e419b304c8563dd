"""Mailbox names between the wire and Unicode: modified UTF-7 (RFC 3501 section 5.1.3) or UTF-8 (RFC 9051 section 5.1).

Inside Mailkeep a name is Unicode in normal form C with INBOX in capitals, also as the first level of a longer name.
"""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from typing import Final
from unicodedata import is_normalized, normalize

from services.common.domain import INBOX, SEPARATOR
from services.imap.wire.lexer import BadSyntax, Lexer

_SHIFTED: Final = re.compile(r"&([^-]*)-|[^&]+|&")
_PLAIN: Final = re.compile(r"[ -%'-~]+|&|[^ -~]+")
_BASE64: Final = re.compile(r"[A-Za-z0-9+,]+")


class InvalidName(ValueError):  # noqa: N818 - about the name, not a fault
    """The bytes are no mailbox name in the encoding in force."""


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


def decode_name(data: bytes, *, utf8: bool) -> str:
    """A name from the wire as Mailkeep keeps it. Raises InvalidName."""
    try:
        text = data.decode() if utf8 else data.decode("ascii")
    except UnicodeDecodeError:
        raise InvalidName from None
    if not utf8 and "&" in text:
        text = decode_utf7(text)
    return canonical(text)


def encode_name(name: str, *, utf8: bool) -> bytes:
    """A name for the wire, not quoted yet."""
    return name.encode() if utf8 or (name.isascii() and "&" not in name) else encode_utf7(name).encode("ascii")


def canonical(name: str) -> str:
    """Normal form C, INBOX in capitals (RFC 9051 sections 5.1 and 5.1.1)."""
    if not is_normalized("NFC", name):
        name = normalize("NFC", name)
    first = name.partition(SEPARATOR)[0]
    return INBOX + name[len(first) :] if first.upper() == INBOX else name


def read_mailbox(lexer: Lexer) -> str:
    """`mailbox`: SP is read before it, and the name decoded by the session's encoding."""
    data = lexer.astring()
    try:
        return decode_name(data, utf8=lexer.utf8)
    except InvalidName:
        raise BadSyntax("The mailbox name is not valid in its encoding", "CANNOT", "NO") from None


def decode_pattern(data: bytes, *, utf8: bool) -> str:
    """A LIST pattern; one that no name can match stays as it is, and so matches nothing."""
    try:
        return decode_name(data, utf8=utf8)
    except InvalidName:
        return data.decode("utf-8", "replace")
