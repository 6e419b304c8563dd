"""Address lists of header fields (RFC 5322 sections 3.4 and 4.4), read as IMAP's ENVELOPE wants them.

Nearly all mail holds `Name <local@domain>` and `local@domain` only, which one pattern reads; whatever it does not
match (comments, groups, routes, quoted local parts, syntax errors) goes to the tokens below it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final, NamedTuple

MAX_ADDRESSES: Final = 10_000
"""Addresses of one field that are read; the rest are left out."""
MAX_UNUSUAL: Final = 32_768
"""Bytes of one field that are read token by token, from the first address that is unusual on."""


class Address(NamedTuple):
    """One member of an address list: display name, source route, local part and domain, without RFC 5322 quoting.

    A group is a member with `host` None that holds its name in `mailbox`, its members, and a member that is all None
    (RFC 9051 section 7.5.2). A missing local part or domain is b"".
    """

    name: bytes | None
    route: bytes | None
    mailbox: bytes | None
    host: bytes | None


GROUP_END: Final = Address(None, None, None, None)

_common = re.compile(
    rb"[ \t\r\n]*+(?:"
    rb'(?:"([^"\\\r\n]*+)"|([^][()<>@,;:\\"\r\n]*+))[ \t\r\n]*+'
    rb'<([^][()<>@,;:\\"\s]++)@([^][()<>@,;:\\"\s]++)>'
    rb'|([^][()<>@,;:\\"\s]++)@([^][()<>@,;:\\"\s]++)'
    rb")[ \t\r\n]*+(?:,|\Z)"
).match

_PLAIN_TOKENS: Final = rb"(?P<space>[ \t\r\n]++)|(?P<special>[()<>@,;:])|(?P<atom>[^()<>@,;: \t\r\n\"\[]++|[\"\[])"
_token = re.compile(
    rb'(?P<quoted>"[^"\\]*+(?:\\.[^"\\]*+)*+")|(?P<literal>\[[^][\\]*+(?:\\.[^][\\]*+)*+\])|' + _PLAIN_TOKENS, re.DOTALL
).match
_plain_token = re.compile(_PLAIN_TOKENS).match
_comment_part = re.compile(rb"[^()\\]++|\\.|[()\\]", re.DOTALL)
_quoted_pair = re.compile(rb"\\(.)", re.DOTALL)


def parse(value: bytes) -> list[Address]:
    """The addresses of a field's value, groups laid flat."""
    found: list[Address] = []
    position, length = 0, len(value)
    while position < length and len(found) < MAX_ADDRESSES:
        match = _common(value, position)
        if match is None:
            found.extend(_Reader(value[position : position + MAX_UNUSUAL], MAX_ADDRESSES - len(found)).read())
            break
        quoted, phrase, local, domain, bare_local, bare_domain = match.groups()
        if local is None:
            found.append(Address(None, None, bare_local, bare_domain))
        else:
            name = quoted if quoted is not None else b" ".join(phrase.split())
            found.append(Address(name or None, None, local, domain))
        position = match.end()
    return found


def _tokens(value: bytes) -> Iterator[tuple[str, bytes]]:
    """Kinds and texts; a comment comes as one token without its parentheses.

    Once a comment, quoted string or domain literal is found to be never closed, its kind's opening characters are
    taken for what they are: to look for the end of each again would take quadratic time.
    """
    token = _token
    position, length = 0, len(value)
    while position < length:
        if value[position] == 0x28 and token is _token:
            end = _comment_end(value, position)
            if end is not None:
                yield "comment", value[position + 1 : end - 1]
                position = end
                continue
            token = _plain_token
        match = token(value, position)
        if match is None or match.lastgroup is None:
            return
        if match[0] in (b'"', b"["):
            token = _plain_token
        yield match.lastgroup, match[0]
        position = match.end()


def _comment_end(value: bytes, start: int) -> int | None:
    """The offset after a comment, which may hold others; None where it is not closed (RFC 5322 section 3.2.2)."""
    depth = 0
    for part in _comment_part.finditer(value, start):
        text = part[0]
        if text == b"(":
            depth += 1
        elif text == b")":
            depth -= 1
            if depth == 0:
                return part.end()
    return None


def _plain(kind: str, text: bytes) -> bytes:
    """A token's content without the quoting of RFC 5322 section 3.2.4."""
    if kind != "quoted":
        return text
    text = text[1:-1].replace(b"\r\n", b"").replace(b"\n", b"")
    return _quoted_pair.sub(rb"\1", text) if b"\\" in text else text


class _Reader:
    """Reads a list token by token. `words` is what came since the last separator, `inner` what came since a "<"."""

    __slots__ = ("comment", "found", "in_group", "inner", "limit", "value", "words")

    def __init__(self, value: bytes, limit: int) -> None:
        self.value = value
        self.limit = limit
        self.found: list[Address] = []
        self.in_group = False
        self.clear()

    def clear(self) -> None:
        """Begin the next address."""
        self.words: list[tuple[str, bytes]] = []
        self.inner: list[tuple[str, bytes]] | None = None
        self.comment: bytes | None = None

    def read(self) -> list[Address]:
        """All addresses, an open group closed."""
        for kind, text in _tokens(self.value):
            if len(self.found) >= self.limit:
                break
            if kind == "special":
                self.special(text)
            elif kind == "comment":
                self.comment = text
            elif self.inner is not None and self.inner[-1:] != [("special", b">")]:
                self.inner.append((kind, text))
            else:
                self.words.append((kind, text))
        self.flush()
        self.close_group()
        return self.found

    def special(self, text: bytes) -> None:
        """A separator ends an address; within angle brackets commas and colons belong to the route."""
        angled = self.inner is not None and self.inner[-1:] != [("special", b">")]
        if text == b"<" and self.inner is None:
            self.inner = []
        elif self.inner is not None and angled and (text in (b"@", b">") or self.in_route(text)):
            self.inner.append(("special", text))
        elif text == b",":
            self.flush()
        elif text == b";":
            self.flush()
            self.close_group()
        elif text == b":" and not self.in_group and self.inner is None:
            self.found.append(Address(None, None, _phrase(self.words) or b"", None))
            self.in_group = True
            self.clear()
        elif text == b"@":
            self.words.append(("special", text))

    def in_route(self, text: bytes) -> bool:
        """Whether a "," or ":" belongs to `<@a,@b:local@domain>` (RFC 5322 section 4.4)."""
        first = next((token for token in self.inner or () if token[0] != "space"), None)
        return text in (b",", b":") and first == ("special", b"@")

    def flush(self) -> None:
        """Take what has been gathered as one address, if it is any."""
        if self.inner is not None:
            self.found.append(_angle_address(_phrase(self.words) or self.comment, self.inner))
        elif any(kind != "space" for kind, _ in self.words):
            mailbox, host = _split_address(self.words)
            name = _quoted_pair.sub(rb"\1", self.comment) if self.comment else None
            self.found.append(Address(name, None, mailbox, host))
        self.clear()

    def close_group(self) -> None:
        """End the group that is open."""
        if self.in_group:
            self.found.append(GROUP_END)
            self.in_group = False


def _phrase(words: list[tuple[str, bytes]]) -> bytes | None:
    """A display name: its words with single blanks between them where there were any."""
    text = b"".join(b" " if kind == "space" else _plain(kind, word) for kind, word in words)
    return text.strip() or None


def _angle_address(name: bytes | None, inner: list[tuple[str, bytes]]) -> Address:
    if inner[-1:] == [("special", b">")]:
        inner = inner[:-1]
    route = None
    colon = ("special", b":")
    if colon in inner:
        at = inner.index(colon)
        route = b"".join(text for kind, text in inner[:at] if kind != "space")
        inner = inner[at + 1 :]
    mailbox, host = _split_address(inner)
    return Address(name, route, mailbox, host)


def _split_address(tokens: list[tuple[str, bytes]]) -> tuple[bytes, bytes]:
    """Local part and domain, parted at the last "@". Without one it is all local part, its blanks kept single."""
    at = ("special", b"@")
    if at not in tokens:
        return _phrase(tokens) or b"", b""
    place = len(tokens) - 1 - tokens[::-1].index(at)
    local = b"".join(_plain(kind, text) for kind, text in tokens[:place] if kind != "space")
    return local, b"".join(text for kind, text in tokens[place + 1 :] if kind != "space")
