"""Mailbox names on the wire: modified UTF-7 (RFC 3501 section 5.1.3) or UTF-8 (RFC 9051 section 5.1).

Inside Mailkeep a name is Unicode in its canonical form (`services.common.mailboxnames`).
"""

from __future__ import annotations

from unicodedata import is_normalized

from services.common.mailboxnames import InvalidName, canonical, decode_utf7, encode_utf7
from services.imap.wire.lexer import BadSyntax, Lexer


def decode_name(data: bytes, *, utf8: bool) -> str:
    """A name from the wire as Mailkeep keeps it. Raises InvalidName."""
    return canonical(_decoded(data, utf8=utf8))


def _decoded(data: bytes, *, utf8: bool) -> str:
    try:
        text = data.decode() if utf8 else data.decode("ascii")
    except UnicodeDecodeError:
        raise InvalidName from None
    return decode_utf7(text) if not utf8 and "&" in text else text


def encode_name(name: str, *, utf8: bool) -> bytes:
    """A name for the wire, not quoted yet."""
    return name.encode() if utf8 or (name.isascii() and "&" not in name) else encode_utf7(name).encode("ascii")


def read_mailbox(lexer: Lexer) -> str:
    """`mailbox`: SP is read before it, and the name decoded by the session's encoding."""
    return canonical(_read(lexer))


def read_mailbox_as_given(lexer: Lexer) -> tuple[str, str]:
    """`mailbox`, and how it was given where that is not its normal form, else "" (RFC 9051 section 6.3.9.7)."""
    given = _read(lexer)
    return canonical(given), "" if given.isascii() or is_normalized("NFC", given) else given


def _read(lexer: Lexer) -> str:
    data = lexer.astring()
    try:
        return _decoded(data, utf8=lexer.utf8)
    except InvalidName:
        raise BadSyntax("The mailbox name is not valid in its encoding", "CANNOT", "NO") from None


def decode_pattern(data: bytes, *, utf8: bool) -> str:
    """A LIST pattern; one that no name can match stays as it is, and so matches nothing."""
    try:
        return decode_name(data, utf8=utf8)
    except InvalidName:
        return data.decode("utf-8", "replace")
