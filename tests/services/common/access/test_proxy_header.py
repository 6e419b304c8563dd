"""PROXY headers as data: what the specification allows, and that nothing else is taken for one."""

from __future__ import annotations

import struct
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.common.access.proxyheader import (
    LONGEST_TEXT,
    SIGNATURE,
    HeaderError,
    HeaderReader,
    cipher_bits,
    crc32c,
)
from services.common.peer import Forwarded

CLIENT, SERVER = "192.0.2.7", "198.51.100.1"
CLIENT6, SERVER6 = "2001:db8::7", "2001:db8::1"


def read(data: bytes, *sizes: int) -> tuple[Forwarded, int]:
    """What a reader makes of it when it is fed pieces of these sizes (then bytes), and how much it took."""
    reader, taken = HeaderReader(), 0
    pieces = iter(sizes)
    while reader.wanted:
        if taken >= len(data):
            raise EOFError
        piece = data[taken : taken + min(next(pieces, 1), reader.wanted)]
        reader.feed(piece)
        taken += len(piece)
    return reader.header, taken


def fact(kind: int, value: bytes) -> bytes:
    return struct.pack(">BH", kind, len(value)) + value


def binary(
    facts: bytes = b"", client: str = CLIENT, server: str = SERVER, *, command: int = 0x21, kind: int = 0x11
) -> bytes:
    ends = b"" if kind in (0, 0x31) else ip_address(client).packed + ip_address(server).packed + b"\x04\xd2\x03\xe1"
    if kind == 0x31:
        ends = b"/run/a".ljust(108, b"\0") + b"/run/b".ljust(108, b"\0")
    return SIGNATURE + struct.pack(">BBH", command, kind, len(ends + facts)) + ends + facts


def tls(cipher: bytes = b"", client: int = 1) -> bytes:
    inner = fact(0x21, b"TLSv1.3") + (fact(0x23, cipher) if cipher else b"") + fact(0x22, b"name")
    return fact(0x20, struct.pack(">BL", client, 1) + inner)


def summed(facts: bytes = b"", change: int = 0) -> bytes:
    head = binary(fact(0x03, bytes(4)) + facts)
    at = head.index(bytes(4), 28)
    return head[:at] + struct.pack(">L", crc32c(head) ^ change) + head[at + 4 :]


PLAIN = Forwarded(CLIENT, SERVER)
ITSELF = Forwarded("")
GOOD = [
    (b"PROXY TCP4 192.0.2.7 198.51.100.1 1234 993\r\n", PLAIN),
    (b"PROXY TCP4 0.0.0.0 0.0.0.0 0 65535\r\n", Forwarded("0.0.0.0", "0.0.0.0")),
    (b"PROXY TCP6 2001:DB8::7 2001:db8:0:0::1 1 2\r\n", Forwarded(CLIENT6, SERVER6)),
    (b"PROXY TCP6 ::ffff:192.0.2.7 ::ffff:198.51.100.1 1 2\r\n", PLAIN),
    (b"PROXY UNKNOWN\r\n", ITSELF),
    (b"PROXY UNKNOWN ffff:f...f:ffff ffff:f...f:ffff 65535 65535\r\n", ITSELF),
    (binary(), PLAIN),
    (binary(client=CLIENT6, server=SERVER6, kind=0x21), Forwarded(CLIENT6, SERVER6)),
    (binary(client="::ffff:192.0.2.7", server="::ffff:198.51.100.1", kind=0x21), PLAIN),
    (binary(command=0x20), ITSELF),
    (binary(command=0x20, kind=0x00), ITSELF),
    (binary(b"not read at all", command=0x20), ITSELF),
    (binary(command=0x21, kind=0x00), ITSELF),
    (binary(kind=0x31), ITSELF),
    (binary(fact(0x04, b"") + fact(0x01, b"h2") + fact(0x02, b"mail.example.org") + fact(0xEE, b"x")), PLAIN),
    (binary(tls(b"ECDHE-RSA-AES128-GCM-SHA256")), Forwarded(CLIENT, SERVER, tls=True, cipherbits=128)),
    (binary(tls(b"TLS_AES_256_GCM_SHA384")), Forwarded(CLIENT, SERVER, tls=True, cipherbits=256)),
    (binary(tls()), Forwarded(CLIENT, SERVER, tls=True)),
    (binary(tls(b"TLS_AES_256_GCM_SHA384", client=0)), Forwarded(CLIENT, SERVER, tls=False)),
    (summed(), PLAIN),
    (summed(tls(b"DES-CBC3-SHA")), Forwarded(CLIENT, SERVER, tls=True, cipherbits=112)),
]
BAD = [
    b"GET / HTTP/1.1\r\n\r\n",
    b"a LOGIN anna secret\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    b"PROXX",
    b"PROXY\r\n        ",
    b"PROXY TCP4 192.0.2.7 198.51.100.1 1234\r\n",
    b"PROXY TCP4 192.0.2.7 198.51.100.1 1234 993\n",
    b"PROXY TCP4 192.0.2.7 198.51.100.1 1234 99999\r\n",
    b"PROXY TCP4 192.0.2.7 198.51.100.1 1234 0993\r\n",
    b"PROXY TCP4 192.0.2 198.51.100.1 1234 993\r\n",
    b"PROXY TCP4 2001:db8::7 2001:db8::1 1 2\r\n",
    b"PROXY TCP6 192.0.2.7 198.51.100.1 1 2\r\n",
    b"PROXY UDP4 192.0.2.7 198.51.100.1 1 2\r\n",
    b"PROXY UNKNOWNS\r\n",
    b"PROXY UNKNOWN " + b"x" * LONGEST_TEXT,
    b"\r\n\r\n\0\r\nQUIT\r",
    binary(command=0x11),
    binary(command=0x22),
    binary(kind=0x12),
    binary(kind=0x41),
    binary(b"\x04\x00"),
    binary(fact(0x20, b"\1\0\0\0")),
    binary(fact(0x20, b"\1\0\0\0\0" + b"\x23\x00\x09short")),
    binary()[:14] + b"\x00\x0b" + binary()[16:27],
    SIGNATURE + b"\x21\x11\xff\xff",
    summed(change=1),
    binary(fact(0x03, b"123")),
]


@pytest.mark.parametrize(("data", "header"), GOOD)
def test_headers(data: bytes, header: Forwarded) -> None:
    assert read(data) == (header, len(data))


@pytest.mark.parametrize("data", BAD)
def test_what_is_none(data: bytes) -> None:
    with pytest.raises(HeaderError):
        read(data)


@given(st.sampled_from(GOOD), st.lists(st.integers(1, 300), max_size=30), st.binary(max_size=40))
def test_however_it_arrives_it_says_the_same_and_nothing_of_what_follows_is_taken(
    case: tuple[bytes, Forwarded], sizes: list[int], after: bytes
) -> None:
    data, header = case
    assert read(data + after, *sizes) == (header, len(data))


@given(
    st.one_of(
        st.binary(max_size=300),
        st.binary(max_size=300).map(lambda rest: b"PROXY " + rest),
        st.binary(max_size=300).map(lambda rest: SIGNATURE + b"\x21\x11" + struct.pack(">H", len(rest)) + rest),
        st.tuples(st.sampled_from([data for data, _ in GOOD]), st.integers(0, 60), st.integers(0, 255)).map(
            lambda case: case[0][: case[1]] + bytes([case[2]]) + case[0][case[1] + 1 :]
        ),
    )
)
def test_any_bytes_are_a_header_or_the_one_error(data: bytes) -> None:
    try:
        header, _ = read(data)
    except (HeaderError, EOFError):
        return
    assert header.address == "" or str(ip_address(header.address)) == header.address


def test_a_client_that_speaks_at_once_is_known_by_its_first_byte() -> None:
    reader = HeaderReader()
    with pytest.raises(HeaderError):
        reader.feed(b"a")


def test_the_checksum_is_that_of_the_rfc() -> None:
    """RFC 3720 appendix B.4."""
    assert crc32c(bytes(32)) == 0x8A9136AA
    assert crc32c(b"\xff" * 32) == 0x62A8AB43
    assert crc32c(b"123456789") == 0xE3069283


@pytest.mark.parametrize(
    ("name", "bits"),
    [
        ("TLS_CHACHA20_POLY1305_SHA256", 256),
        ("ECDHE-ECDSA-CHACHA20-POLY1305", 256),
        ("DHE-RSA-CAMELLIA128-SHA", 128),
        ("TLS_AES_128_CCM_8_SHA256", 128),
        ("RC4-MD5", 128),
        ("NULL-SHA", 0),
        ("", 0),
    ],
)
def test_the_strength_of_ciphers(name: str, bits: int) -> None:
    assert cipher_bits(name) == bits
