"""From bytes to text in whatever charset mail claims; what does not decode is replaced, never refused."""

from __future__ import annotations

import codecs
import re
from functools import lru_cache
from typing import Final

_ALIASES: Final[dict[str, str]] = {
    "ansi": "cp1252",
    "ansi-x3-110-1983": "latin-1",
    "big5": "big5hkscs",
    "big5-eten": "cp950",
    "cn-big5": "cp950",
    "cn-gb": "gb18030",
    "cp-850": "cp850",
    "cp50220": "iso2022_jp_ext",
    "cp50221": "iso2022_jp_ext",
    "cp51932": "euc_jp",
    "cp943": "cp932",
    "cp943c": "cp932",
    "default": "cp1252",
    "dos-862": "cp862",
    "euc-cn": "gb18030",
    "euc-kr": "cp949",
    "gb-2312": "gb18030",
    "gb2312": "gb18030",
    "gb-2312-80": "gb18030",
    "gb2312-80": "gb18030",
    "gbk": "gb18030",
    "hz-gb-2312": "hz",
    "iso-2022-jp": "iso2022_jp_ext",
    "iso-8859-1": "cp1252",
    "iso-8859-6-e": "iso8859_6",
    "iso-8859-6-i": "iso8859_6",
    "iso-8859-8-e": "iso8859_8",
    "iso-8859-8-i": "iso8859_8",
    "iso-8859-9": "cp1254",
    "iso-8859-11": "cp874",
    "iso-ir-100": "cp1252",
    "koi8-ru": "koi8_u",
    "ks-c-5601": "cp949",
    "ks-c-5601-1987": "cp949",
    "ks-c-5601-1989": "cp949",
    "ksc5601": "cp949",
    "latin-1": "cp1252",
    "latin1": "cp1252",
    "macintosh": "mac_roman",
    "ms-ansi": "cp1252",
    "shift-jis": "cp932",
    "sjis": "cp932",
    "tis-620": "cp874",
    "ucs-2": "utf_16",
    "ucs-4": "utf_32",
    "unicode": "utf_16",
    "unicode-1-1-utf-7": "utf_7",
    "unicode-1-1-utf-8": "utf_8",
    "unicode-2-0-utf-7": "utf_7",
    "unicode-2-0-utf-8": "utf_8",
    "utf8mb4": "utf_8",
    "windows-31j": "cp932",
    "windows-874": "cp874",
    "windows-936": "gb18030",
    "windows-949": "cp949",
    "windows-950": "cp950",
    "x-windows-949": "cp949",
    "x-windows-950": "cp950",
}
"""Names that mail uses and Python's codecs do not know, or know as less than what is meant in practice."""

_NOT_CHARSETS: Final = frozenset(
    ("idna", "mbcs", "oem", "punycode", "raw-unicode-escape", "undefined", "unicode-escape")
)
_UNDECLARED: Final = frozenset(("", "ascii", "us-ascii", "ansi-x3.4-1968", "unknown-8bit", "x-unknown", "unknown"))
_MAX_NAME: Final = 64

_mac = re.compile(r"x-mac-(.+)").fullmatch
_separators = re.compile(r"[\s_.:-]+").sub


@lru_cache(maxsize=512)
def codec_of(charset: str) -> str | None:
    """The name of Python's codec for a charset as mail names it (its RFC 2231 language cut off), None without one.

    Where a charset has a superset that mail really holds (Windows' for ISO 8859-1, GB 18030 for GB 2312), it is that.
    """
    name = _separators("-", charset.partition("*")[0].strip(" \t\"'<>").lower())
    if len(name) > _MAX_NAME or name in _NOT_CHARSETS:
        return None
    for candidate in _candidates(name):
        try:
            found = codecs.lookup(candidate)
            b"a".decode(found.name, "replace")
        except (LookupError, ValueError):
            continue
        return found.name
    return None


def _candidates(name: str) -> list[str]:
    candidates = [_ALIASES.get(name, name)]
    if mac := _mac(name):
        candidates.append("mac_" + mac[1].replace("-", "_"))
    if name.startswith("x-"):
        candidates.append(_ALIASES.get(name[2:], name[2:]))
    if name.startswith(("cp-", "ibm-")):
        candidates.append("cp" + name.partition("-")[2])
    return candidates


def decode(data: bytes, charset: str = "") -> str:
    """Text of bytes in a charset; UTF-8 and else Windows-1252 where it is missing, ASCII or unknown."""
    codec = None if charset.lower() in _UNDECLARED else codec_of(charset)
    if codec is None:
        return _guess(data)
    try:
        text = data.decode(codec, "replace")
    except (LookupError, ValueError):
        return _guess(data)
    # UTF-7 can spell half a surrogate pair, which no other encoding takes back.
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace") if codec == "utf-7" else text


def _guess(data: bytes) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return data.decode("cp1252", "replace")
