"""Flags (RFC 9051 section 2.3.2): system flags as bits, keywords by name."""

from __future__ import annotations

from typing import Final

from services.common.domain import MAX_KEYWORD_LENGTH, SYSTEM_FLAGS
from services.imap.wire.lexer import OPEN, BadSyntax, Lexer

_SYSTEM: Final = {name.upper().encode(): bit for bit, name in SYSTEM_FLAGS.items()}
Flags = tuple[int, tuple[str, ...]]
"""System flags as one mask, and keywords, each once."""


def read_flag_list(lexer: Lexer) -> Flags:
    """`flag-list`."""
    return _collect(lexer.parenthesised(_flag, at_least=0))


def read_flags(lexer: Lexer) -> Flags:
    """`flag-list / (flag *(SP flag))`, as STORE has it, to the end of the command."""
    if lexer.peek() == OPEN:
        return read_flag_list(lexer)
    flags = [_flag(lexer)]
    while not lexer.at_end():
        lexer.space()
        flags.append(_flag(lexer))
    return _collect(flags)


def read_keyword(lexer: Lexer) -> str:
    """`flag-keyword`."""
    keyword = lexer.atom().decode()
    if len(keyword) > MAX_KEYWORD_LENGTH:
        raise BadSyntax("The keyword is too long", "LIMIT", "NO")
    return keyword


def _flag(lexer: Lexer) -> int | str:
    """\\Recent is the server's to set, `\\*` is no flag, and others with a backslash are not known."""
    if not lexer.skip(b"\\"):
        return read_keyword(lexer)
    bit = _SYSTEM.get(b"\\" + lexer.atom().upper()) if lexer.peek() != 0x2A else None
    if bit is None:
        raise BadSyntax("Not a flag that can be set")
    return bit


def _collect(flags: tuple[int | str, ...] | list[int | str]) -> Flags:
    system = 0
    keywords: dict[str, str] = {}
    for flag in flags:
        if isinstance(flag, int):
            system |= flag
        else:
            keywords.setdefault(flag.lower(), flag)
    return system, tuple(keywords.values())
