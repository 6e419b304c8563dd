"""The few messages of LDAP that a login is made of, as bytes (RFC 4511, in BER). No I/O.

ldap3 makes the rest. Its way through a general encoder of ASN.1 costs a millisecond of CPU for a search and a bind,
which was most of a login.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Final

BIND_REQUEST: Final = 0x60
BIND_RESPONSE: Final = 0x61
SEARCH_REQUEST: Final = 0x63
SEARCH_ENTRY: Final = 0x64
SEARCH_DONE: Final = 0x65
UNBIND_REQUEST: Final = 0x42
COMPARE_REQUEST: Final = 0x6E
COMPARE_RESPONSE: Final = 0x6F
EXTENDED_RESPONSE: Final = 0x78
MAX_MESSAGE: Final = 16 << 20
"""Bytes of a message that is read; no entry of a person is near."""
_BOOLEAN: Final = 0x01
_INTEGER: Final = 0x02
_OCTETS: Final = 0x04
_ENUMERATED: Final = 0x0A
_SEQUENCE: Final = 0x30
_SET: Final = 0x31
_CONTROLS: Final = 0xA0
_SIMPLE: Final = 0x80
_COMBINED: Final = {"&": 0xA0, "|": 0xA1, "!": 0xA2}
_COMPARED: Final = {"": 0xA3, ">": 0xA5, "<": 0xA6, "~": 0xA8}
_PRESENT: Final = 0x87
_SUBSTRINGS: Final = 0xA4
_EXTENSIBLE: Final = 0xA9
_ESCAPED: Final = re.compile(rb"\\([0-9A-Fa-f]{2})")
_FALSE: Final = b"\x01\x01\x00"


class WireError(ValueError):
    """Bytes that are no message of LDAP, or a filter that is none."""


# ---- made -----------------------------------------------------------------------------------------------------------
def bind_request(number: int, dn: str, password: str, controls: Sequence[str] = ()) -> bytes:
    """A simple bind (section 4.2), with controls that have no value.

    The password is sent as it is: who took it from the client has prepared it (RFC 4513 section 5.1.3).
    """
    content = _integer(_INTEGER, 3) + _octets(dn.encode()) + _tlv(_SIMPLE, password.encode())
    return _message(number, _tlv(BIND_REQUEST, content), controls)


def search_request(
    number: int, base: str, scope: int, text: str, attributes: tuple[str, ...], limit: int, seconds: int
) -> bytes:
    """A search that follows no aliases (section 4.5.1); `scope` is 0 for the base, 2 for the subtree.

    Raises WireError where the filter is none.
    """
    content = (
        _octets(base.encode())
        + _integer(_ENUMERATED, scope)
        + _integer(_ENUMERATED, 0)
        + _integer(_INTEGER, limit)
        + _integer(_INTEGER, seconds)
        + _FALSE
        + filter_bytes(text)
        + _names(attributes)
    )
    return _message(number, _tlv(SEARCH_REQUEST, content))


@lru_cache(maxsize=8)
def _names(attributes: tuple[str, ...]) -> bytes:
    return _tlv(_SEQUENCE, b"".join(_octets(name.encode()) for name in attributes))


def compare_request(number: int, dn: str, attribute: str, value: str) -> bytes:
    """A comparison (section 4.10)."""
    pair = _tlv(_SEQUENCE, _octets(attribute.encode()) + _octets(value.encode()))
    return _message(number, _tlv(COMPARE_REQUEST, _octets(dn.encode()) + pair))


def unbind_request(number: int) -> bytes:
    """The end of a connection (section 4.3)."""
    return _message(number, _tlv(UNBIND_REQUEST, b""))


def _message(number: int, operation: bytes, controls: Sequence[str] = ()) -> bytes:
    content = _integer(_INTEGER, number) + operation
    if controls:
        content += _tlv(_CONTROLS, b"".join(_tlv(_SEQUENCE, _octets(oid.encode())) for oid in controls))
    return _tlv(_SEQUENCE, content)


def _tlv(tag: int, content: bytes) -> bytes:
    size = len(content)
    if size < 0x80:
        return bytes((tag, size)) + content
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(length))) + length + content


def _integer(tag: int, value: int) -> bytes:
    return _tlv(tag, value.to_bytes(value.bit_length() // 8 + 1, "big"))


def _octets(value: bytes) -> bytes:
    return _tlv(_OCTETS, value)


# ---- filters --------------------------------------------------------------------------------------------------------
def filter_bytes(text: str) -> bytes:
    """A filter (RFC 4515) as it is sent. Raises WireError."""
    data = text.encode()
    made, end = _filter(data, 0, 0)
    if end != len(data):
        raise WireError("a filter with something behind it")
    return made


def _filter(data: bytes, at: int, depth: int) -> tuple[bytes, int]:
    if data[at : at + 1] != b"(" or depth > 30:
        raise WireError("a filter begins with ( and is not too deep")
    combined = _COMBINED.get(chr(data[at + 1])) if at + 1 < len(data) else None
    if combined is None:
        end = data.find(b")", at)
        if end < 0:
            raise WireError("a filter that does not end")
        return _item(data[at + 1 : end]), end + 1
    at += 2
    parts = []
    while data[at : at + 1] == b"(":
        made, at = _filter(data, at, depth + 1)
        parts.append(made)
    if data[at : at + 1] != b")" or not parts:
        raise WireError("a filter that does not end")
    return _tlv(combined, b"".join(parts)), at + 1


def _item(data: bytes) -> bytes:
    name, equals, value = data.partition(b"=")
    if not equals or not name:
        raise WireError("a comparison has an attribute and =")
    if name.endswith(b":"):
        return _extensible(name[:-1], value)
    mark = chr(name[-1]) if chr(name[-1]) in "<>~" else ""
    name = name[: len(name) - len(mark)].strip()
    if mark or b"*" not in value:
        return _tlv(_COMPARED[mark], _octets(name) + _octets(_unescaped(value)))
    if value == b"*":
        return _tlv(_PRESENT, name)
    first, *middle, last = value.split(b"*")
    parts = [_tlv(0x80, _unescaped(first))] if first else []
    parts += [_tlv(0x81, _unescaped(part)) for part in middle if part]
    parts += [_tlv(0x82, _unescaped(last))] if last else []
    return _tlv(_SUBSTRINGS, _octets(name) + _tlv(_SEQUENCE, b"".join(parts)))


def _extensible(left: bytes, value: bytes) -> bytes:
    name, *rest = left.split(b":")
    with_dn = bool(rest) and rest[0].lower() == b"dn"
    rule = rest[with_dn:]
    if len(rule) > 1 or not (name or rule):
        raise WireError("a matching rule that is none")
    content = (_tlv(0x81, rule[0]) if rule else b"") + (_tlv(0x82, name) if name else b"")
    return _tlv(_EXTENSIBLE, content + _tlv(0x83, _unescaped(value)) + (b"\x84\x01\xff" if with_dn else b""))


def _unescaped(value: bytes) -> bytes:
    return _ESCAPED.sub(lambda match: bytes((int(match[1], 16),)), value) if b"\\" in value else value


# ---- read -----------------------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Message:
    """A message of the server: its number, the tag of its operation, and what is in it."""

    number: int
    tag: int
    content: bytes
    controls: bytes = b""


@dataclass(frozen=True, slots=True)
class Result:
    """How an operation ended (section 4.1.9)."""

    code: int
    text: str = ""
    controls: Mapping[str, bytes] = field(default_factory=dict)


def take_message(buffer: bytearray) -> Message | None:
    """Take the first message out of what came; None where it is not all there. Raises WireError."""
    head = _head(buffer, 0, len(buffer))
    if head is None:
        return None
    tag, start, end = head
    if tag != _SEQUENCE or end - start > MAX_MESSAGE:
        raise WireError("no message of LDAP")
    if end > len(buffer):
        return None
    data = bytes(buffer[start:end])
    del buffer[:end]
    parts = list(elements(data))
    if len(parts) < 2 or parts[0][0] != _INTEGER:
        raise WireError("no message of LDAP")
    controls = b"".join(content for tag, content in parts[2:] if tag == _CONTROLS)
    return Message(int.from_bytes(parts[0][1], "big"), parts[1][0], parts[1][1], controls)


def read_result(message: Message) -> Result:
    """Read the end of an operation. Raises WireError."""
    parts = list(elements(message.content))
    if len(parts) < 3 or parts[0][0] != _ENUMERATED:
        raise WireError("no result")
    return Result(
        int.from_bytes(parts[0][1], "big"), parts[2][1].decode("utf-8", "replace"), _controls(message.controls)
    )


def read_entry(message: Message) -> tuple[str, dict[str, tuple[bytes, ...]]]:
    """Read an entry that a search found: its name, and its attributes by name in lower case. Raises WireError."""
    parts = list(elements(message.content))
    if len(parts) != 2:
        raise WireError("no entry")
    found = {}
    for _, pair in elements(parts[1][1]):
        named = list(elements(pair))
        if len(named) != 2 or named[1][0] != _SET:
            raise WireError("no attribute")
        values = tuple(value for _, value in elements(named[1][1]))
        found[named[0][1].decode("utf-8", "replace").lower()] = values
    return parts[0][1].decode("utf-8", "replace"), found


def _controls(data: bytes) -> dict[str, bytes]:
    found = {}
    for _, control in elements(data):
        parts = list(elements(control))
        if parts:
            values = [content for tag, content in parts[1:] if tag == _OCTETS]
            found[parts[0][1].decode("ascii", "replace")] = values[0] if values else b""
    return found


def elements(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Tag and content of each element, one after the other. Raises WireError."""
    at, size = 0, len(data)
    while at < size:
        # Most are short: their length is one octet.
        if at + 1 < size and data[at + 1] < 0x80:
            start = at + 2
            end = start + data[at + 1]
        else:
            head = _head(data, at, size)
            if head is None:
                raise WireError("an element that is cut")
            _, start, end = head
        if end > size:
            raise WireError("an element that is cut")
        yield data[at], data[start:end]
        at = end


def _head(data: bytes | bytearray, at: int, size: int) -> tuple[int, int, int] | None:
    """Tag, start and end of the element that begins at `at`; None where its length is not all there."""
    if size - at < 2:
        return None
    length = data[at + 1]
    if length < 0x80:
        return data[at], at + 2, at + 2 + length
    octets = length & 0x7F
    if not 0 < octets <= 4:
        raise WireError("a length of another kind")
    start = at + 2 + octets
    if size < start:
        return None
    return data[at], start, start + int.from_bytes(data[at + 2 : start], "big")
