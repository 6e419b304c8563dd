"""Commands about the session (RFC 9051 sections 6.1, 6.2, 6.3.1; RFC 2971)."""

from __future__ import annotations

import re
from typing import Final

from services.imap.commands import Authenticate, Enable, Id, Login, ProxyAuth
from services.imap.wire.lexer import BadSyntax, Lexer, utf8_text

MAX_ID_FIELDS: Final = 30
MAX_ID_NAME: Final = 30
MAX_ID_VALUE: Final = 1024
_INITIAL: Final = re.compile(rb"=|[A-Za-z0-9+/]+={0,2}")
_MECHANISM: Final = re.compile(rb"[A-Za-z0-9_\-]{1,20}(?= |$)")


def parse_login(lexer: Lexer) -> Login:
    """`login`, after its name."""
    lexer.space()
    user = utf8_text(lexer.astring(), "The user name is not UTF-8")
    lexer.space()
    password = utf8_text(lexer.astring(), "The password is not UTF-8")
    lexer.end()
    return Login(user, password)


def parse_authenticate(lexer: Lexer) -> Authenticate:
    """`authenticate`, after its name, with the initial response of SASL-IR (RFC 4959)."""
    lexer.space()
    mechanism = lexer.pattern(_MECHANISM, "Expected a mechanism").group().decode().upper()
    initial = None
    if not lexer.at_end():
        lexer.space()
        initial = lexer.pattern(_INITIAL, "Expected base64").group()
    lexer.end()
    return Authenticate(mechanism, initial)


def parse_proxyauth(lexer: Lexer) -> ProxyAuth:
    """`proxyauth`, after its name: an astring."""
    lexer.space()
    user = utf8_text(lexer.astring(), "The user name is not UTF-8")
    lexer.end()
    return ProxyAuth(user)


def parse_enable(lexer: Lexer) -> Enable:
    """`enable`, after its name."""
    names: list[str] = []
    while not lexer.at_end() or not names:
        lexer.space()
        names.append(lexer.atom().decode().upper())
    return Enable(tuple(dict.fromkeys(names)))


def parse_id(lexer: Lexer) -> Id:
    """`id`, after its name (RFC 2971 sections 3.1 to 3.3)."""
    lexer.space()
    if lexer.nil():
        lexer.end()
        return Id()
    fields = lexer.parenthesised(_id_field, at_least=0, at_most=MAX_ID_FIELDS)
    lexer.end()
    return Id(fields)


def _id_field(lexer: Lexer) -> tuple[str, str | None]:
    name = utf8_text(lexer.string(), "An ID field is not UTF-8").lower()
    lexer.space()
    value = lexer.nstring()
    if len(name) > MAX_ID_NAME or len(value or b"") > MAX_ID_VALUE:
        raise BadSyntax("An ID field is too long", "LIMIT")
    return name, None if value is None else utf8_text(value, "An ID field is not UTF-8")
