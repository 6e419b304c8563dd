"""Charsets that SEARCH takes (RFC 9051 section 6.4.4): IANA name to Python's codec.

A list, since some of Python's codecs are no charsets and take time out of proportion.
"""

from __future__ import annotations

from typing import Final

from services.imap.wire.lexer import BadSyntax

CHARSETS: Final[dict[str, str]] = {
    "UTF-8": "utf-8",
    "US-ASCII": "ascii",
    **{f"ISO-8859-{part}": f"iso8859-{part}" for part in (*range(1, 12), *range(13, 17))},
    **{f"WINDOWS-{page}": f"cp{page}" for page in range(1250, 1259)},
    "KOI8-R": "koi8-r",
    "KOI8-U": "koi8-u",
    "SHIFT_JIS": "shift_jis",
    "EUC-JP": "euc_jp",
    "ISO-2022-JP": "iso2022_jp",
    "EUC-KR": "euc_kr",
    "GB2312": "gb2312",
    "GBK": "gbk",
    "GB18030": "gb18030",
    "BIG5": "big5",
    "TIS-620": "tis_620",
}
ALIASES: Final[dict[str, str]] = {
    "UTF8": "UTF-8",
    "ASCII": "US-ASCII",
    "LATIN1": "ISO-8859-1",
    "KS_C_5601-1987": "EUC-KR",
}


def codec(charset: str) -> str:
    """Python's codec for a charset. Raises BadSyntax with BADCHARSET."""
    name = charset.upper()
    found = CHARSETS.get(ALIASES.get(name, name))
    if found is None:
        raise BadSyntax("Unknown charset", f"BADCHARSET ({' '.join(CHARSETS)})", "NO")
    return found


def decoded(data: bytes, codec_name: str) -> str:
    """A search string's text. Raises BadSyntax with BADCHARSET where it is not in its charset."""
    try:
        return data.decode(codec_name)
    except UnicodeError:
        raise BadSyntax("A search string is not in its charset", "BADCHARSET", "NO") from None
