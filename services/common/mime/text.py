"""The text of a message as people read it: for search, and folded for comparing (RFC 9051 section 6.4.4)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from html import unescape
from typing import Final
from unicodedata import normalize

from services.common.mime import addresses
from services.common.mime.charsets import decode
from services.common.mime.contenttype import encoding
from services.common.mime.encodedword import decode_header
from services.common.mime.headers import interpreted, split_fields, unfold
from services.common.mime.structure import Part, parse
from services.common.mime.transfer import DECODERS

_TEXT_SUBTYPES_AS_HTML: Final = (b"HTML", b"X-HTML", b"XML")

_USUAL_NAME: Final = 64
"""Length of a field's name that is worth remembering."""

_markup = re.compile(
    r"<(?:!--.*?(?:-->|\Z)"
    r"|(script|style|title)\b[^>]*+(?:>.*?(?:</\1[^>]*+(?:>|\Z)|\Z)|\Z)"
    r"|/?([a-z][a-z0-9]*+)[^>]*+(?:>|\Z)"
    r"|[!?/][^>]*+(?:>|\Z))",
    re.DOTALL | re.IGNORECASE,
)
_overlong_reference = re.compile(r"&#[0-9]{64,};?").sub
"""Longer than any that means something; Python refuses to make a number of thousands of digits."""
_block = re.compile(
    "address|article|aside|blockquote|body|br|caption|center|dd|div|dl|dt|fieldset|figure|footer|form|h[1-6r]|head|header"
    "|li|main|nav|ol|option|p|pre|section|table|tbody|td|tfoot|th|thead|tr|ul",
    re.IGNORECASE,
).fullmatch


@dataclass(frozen=True, slots=True)
class SearchText:
    """A message's decoded and folded text, by search key.

    `from_`, `to`, `cc` and `bcc` hold the field's value with encoded words decoded, and then each address as
    `name <local@domain>`. `header` has one line `name: value` for each field of the message's header, in order.
    `body` is the text of all text parts, nested messages' header fields included; it holds no HTML mark-up.
    """

    subject: str
    from_: str
    to: str
    cc: str
    bcc: str
    header: str
    body: str


def fold(text: str) -> str:
    """Compatibility composition and case folding, so that what reads the same compares the same.

    Applied twice it gives the same again.
    """
    if text.isascii():
        return text.lower()
    return normalize("NFKC", normalize("NFKC", text).casefold())


def search_text(body: bytes) -> SearchText:
    """All that a text search looks through."""
    root = parse(body)
    fields = _decoded_fields(body[: root.body])
    lines = [f"{name}: {value}" for name, value in fields]
    keyed = {key: "\n".join(value for name, value in fields if name == key) for key in ("from", "to", "cc", "bcc")}
    for key in keyed:
        keyed[key] += _addresses_text(root.fields.get(key.upper().encode()))
    return SearchText(
        subject=_folded("\n".join(value for name, value in fields if name == "subject")),
        from_=_folded(keyed["from"]),
        to=_folded(keyed["to"]),
        cc=_folded(keyed["cc"]),
        bcc=_folded(keyed["bcc"]),
        header=_folded("\n".join(lines)),
        body=_folded("\n".join(_texts(body, root))),
    )


def _folded(text: str) -> str:
    """A NUL is kept out of the store's text columns, which not every engine lets hold one."""
    return fold(text.replace("\0", " "))


def _decoded_fields(header: bytes) -> list[tuple[str, str]]:
    """Names in lower case and decoded values on one line."""
    found = []
    for field in split_fields(interpreted(header)):
        name, colon, value = field.partition(b":")
        if colon:
            value = unfold(value)
            plain = value.isascii() and b"=?" not in value
            text = value.decode("ascii") if plain else decode_header(value).replace("\n", " ")
            found.append((_known_name(name) if len(name) <= _USUAL_NAME else _name(name), text))
    return found


def _name(name: bytes) -> str:
    return decode(name.rstrip()).lower()


_known_name = lru_cache(maxsize=512)(_name)


def _addresses_text(value: bytes | None) -> str:
    if value is None:
        return ""
    return "".join("\n" + _address_text(address) for address in addresses.parse(unfold(value)))


def _address_text(address: addresses.Address) -> str:
    name = decode_header(address.name or b"")
    if address.host is None:
        return decode_header(address.mailbox or b"")
    return f"{name} <{decode(address.mailbox or b'')}@{decode(address.host)}>"


def _texts(message: bytes, part: Part) -> Iterator[str]:
    """Texts of a part and all below it, in order."""
    if part.type.maintype == b"TEXT" and not part.children:
        yield part_text(message, part)
    for child in part.children:
        if part.is_message:
            yield "\n".join(value for _, value in _decoded_fields(message[child.start : child.body]))
        yield from _texts(message, child)


def part_text(message: bytes, part: Part, limit: int | None = None) -> str:
    """A text part as text without mark-up; of its first `limit` raw bytes only where that is given."""
    end = part.end if limit is None else min(part.end, part.body + limit)
    decoder = DECODERS.get(encoding(part.fields.get(b"CONTENT-TRANSFER-ENCODING")))
    data = message[part.body : end]
    charset = part.type.parameter(b"CHARSET") or b""
    text = decode(decoder(data) if decoder else data, charset.decode("latin-1"))
    return html_text(text) if part.type.subtype in _TEXT_SUBTYPES_AS_HTML else text


def html_text(text: str) -> str:
    """HTML without tags, comments, scripts and styles; elements that stand apart become line breaks."""
    return unescape(_overlong_reference("\ufffd", _markup.sub(_replacement, text)))


def _replacement(match: re.Match[str]) -> str:
    name = match[2]
    return "\n" if name is not None and _block(name) else ""
