"""The PROXY header with which a balancer begins a connection: whose it is (the PROXY protocol specification, 1 and 2).

A `HeaderReader` says how many bytes it can take (`wanted`) without taking any of what follows the header, so that the
rest stays in the socket for TLS. Anything that is no header is a HeaderError, at its first wrong byte where that can
be told; so is a header whose checksum does not hold.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address
from struct import unpack_from
from typing import Final

from services.common.access.patterns import host
from services.common.peer import Forwarded

SIGNATURE: Final = b"\r\n\r\n\0\r\nQUIT\n"
"""Version 2 begins so."""
LONGEST_TEXT: Final = 107
"""Bytes of a header of version 1, CRLF included (section 2.1)."""
SHORTEST_TEXT: Final = len(b"PROXY UNKNOWN\r\n")
FIXED: Final = 16
"""Bytes of a header of version 2 before its addresses."""
LONGEST: Final = 4096
"""Bytes of a header of version 2 after the fixed ones: addresses, and facts about TLS."""
_TEXT: Final = b"PROXY "
_LINE: Final = re.compile(rb"PROXY (TCP4|TCP6) ([0-9A-Fa-f:.]{2,39}) ([0-9A-Fa-f:.]{2,39}) (\d{1,5}) (\d{1,5})\r\n")
_FAMILIES: Final = {"TCP4": IPv4Address, "TCP6": IPv6Address}
_LOCAL, _PROXY = 0x20, 0x21
_STREAMS: Final = {0x00: 0, 0x11: 4, 0x21: 16, 0x31: 108}
"""Kind of the connection -> bytes of one of its addresses: unknown, IPv4, IPv6, Unix socket."""
_CRC32C, _SSL, _CIPHER = 0x03, 0x20, 0x23
_CLIENT_SSL: Final = 0x01
_STRENGTHS: Final = (
    (re.compile(r"(AES|CAMELLIA|ARIA)[-_]?256|CHACHA20"), 256),
    (re.compile(r"(AES|CAMELLIA|ARIA)[-_]?128|RC4|SEED|IDEA"), 128),
    (re.compile(r"3DES|DES[-_]CBC3"), 112),
)


class HeaderError(ValueError):
    """This is no PROXY header."""


class HeaderReader:
    """Reads one header. `wanted` is 0 when it is complete; `header` is then what it says."""

    def __init__(self) -> None:
        self._data = b""
        self.wanted = SHORTEST_TEXT
        self.header = Forwarded("")
        """`address` is "" where the balancer speaks for itself, such as for a check of health."""

    def feed(self, data: bytes) -> None:
        """Take at most `wanted` bytes. Raises HeaderError."""
        if len(data) > self.wanted:
            raise HeaderError("more than was wanted")
        self._data += data
        if self._data.startswith(SIGNATURE[: len(self._data)]):
            self._go_on_binary()
        elif self._data.startswith(_TEXT[: len(self._data)]):
            self._go_on_text()
        else:
            raise HeaderError("this is no PROXY header")

    def _go_on_text(self) -> None:
        data = self._data
        if b"\n" in data:
            self.wanted, self.header = 0, _read_text(data)
        elif len(data) >= LONGEST_TEXT:
            raise HeaderError("the header is too long")
        else:
            self.wanted = max(SHORTEST_TEXT - len(data), 1)

    def _go_on_binary(self) -> None:
        data = self._data
        length = FIXED
        if len(data) >= FIXED:
            (more,) = unpack_from(">H", data, FIXED - 2)
            if more > LONGEST:
                raise HeaderError("the header is too long")
            length += more
        self.wanted = length - len(data)
        if not self.wanted:
            self.header = _read_binary(data)


def _read_text(data: bytes) -> Forwarded:
    """Section 2.1. What follows UNKNOWN does not count."""
    if data.startswith(b"PROXY UNKNOWN") and data[13:14] in b" \r" and data.endswith(b"\r\n"):
        return Forwarded("")
    found = _LINE.fullmatch(data)
    if found is None:
        raise HeaderError("the header cannot be read")
    family, client, server, *ports = (group.decode() for group in found.groups())
    if any(int(port) > 65_535 or (port != "0" and port.startswith("0")) for port in ports):
        raise HeaderError("a port is none")
    try:
        client, server = (_text(str(_FAMILIES[family](text))) for text in (client, server))
    except ValueError:
        raise HeaderError("an address is none") from None
    return Forwarded(client, server)


def _read_binary(data: bytes) -> Forwarded:
    """Section 2.2."""
    command, kind = data[12], data[13]
    if command not in (_LOCAL, _PROXY):
        raise HeaderError("another version or command")
    if command == _PROXY and kind not in _STREAMS:
        raise HeaderError("another kind of connection")
    size = _STREAMS.get(kind, 0)
    facts = dict(_facts(data, FIXED + _addresses_length(size))) if command == _PROXY else {}
    _check(data, facts)
    if command == _LOCAL or size not in (4, 16):
        # The balancer itself, or somebody on a socket of its machine: the connection's own address counts.
        return Forwarded("")
    client, server = (_text(_address(data[start : start + size])) for start in (FIXED, FIXED + size))
    tls, cipher = _tls(data, facts)
    return Forwarded(client, server, tls=tls, cipherbits=cipher_bits(cipher) if tls else 0)


def _addresses_length(size: int) -> int:
    """Two addresses, and two ports where they have them."""
    return 2 * size + (4 if size in (4, 16) else 0)


def _address(packed: bytes) -> str:
    return str(IPv4Address(packed) if len(packed) == 4 else IPv6Address(packed))


def _text(address: str) -> str:
    """In its own form: an IPv4 address mapped into IPv6 is the IPv4 address."""
    return str(host(address).address)


def _facts(data: bytes, start: int) -> Iterator[tuple[int, tuple[int, int]]]:
    """Type -> where its value begins and ends, of what follows the addresses. Raises HeaderError."""
    while start < len(data):
        if start + 3 > len(data):
            raise HeaderError("a fact is cut short")
        kind, length = unpack_from(">BH", data, start)
        end = start + 3 + length
        if end > len(data):
            raise HeaderError("a fact is cut short")
        yield kind, (start + 3, end)
        start = end
    if start > len(data):
        raise HeaderError("the addresses are cut short")


def _tls(data: bytes, facts: dict[int, tuple[int, int]]) -> tuple[bool | None, str]:
    """Whether the client speaks TLS with the balancer (None: not told), and the cipher (section 2.2.6)."""
    if _SSL not in facts:
        return None, ""
    start, end = facts[_SSL]
    if end - start < 5:
        raise HeaderError("a fact is cut short")
    inner = dict(_facts(data[:end], start + 5))
    cipher_start, cipher_end = inner.get(_CIPHER, (0, 0))
    return bool(data[start] & _CLIENT_SSL), data[cipher_start:cipher_end].decode("ascii", "replace")


def cipher_bits(name: str) -> int:
    """The strength of a cipher by OpenSSL's or the RFC's name of it; 0 where it is not known."""
    return next((bits for pattern, bits in _STRENGTHS if pattern.search(name.upper())), 0)


# ---- the checksum (section 2.2.5; RFC 3720 appendix B.4) -------------------------------------------------------------
def _check(data: bytes, facts: dict[int, tuple[int, int]]) -> None:
    if _CRC32C not in facts:
        return
    start, end = facts[_CRC32C]
    if end - start != 4 or crc32c(data[:start] + bytes(4) + data[end:]) != int.from_bytes(data[start:end], "big"):
        raise HeaderError("the checksum does not hold")


def _table_entry(number: int) -> int:
    for _ in range(8):
        number = number >> 1 ^ (0x82F63B78 if number & 1 else 0)
    return number


_TABLE: Final = tuple(map(_table_entry, range(256)))


def crc32c(data: bytes) -> int:
    """The Castagnoli checksum."""
    value = 0xFFFFFFFF
    for byte in data:
        value = value >> 8 ^ _TABLE[(value ^ byte) & 0xFF]
    return value ^ 0xFFFFFFFF
