"""What is held against addresses after failed logins, as values: how long they wait, and when they are shut out.

The rules are those of Messaging Server's "BadGuys": each failure adds `bgpenalty` seconds to the wait of the next
logins from the address, a success (which waits too) clears it, and so do `bgdecay` seconds without a failure. Many
failures shut an address out for a while. Addresses of IPv6 count by their network, as one client has many.
Source: technical reference wiki, "Bgpenalty Option".
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Final, NamedTuple
from zlib import crc32

from services.common.access.patterns import host

FOR_EVER: Final = float("inf")
RECORD: Final = 64
"""Bytes of a mark, and of a ban, in a file."""
_MAPPED: Final = 0xFFFF << 32
_MARK: Final = struct.Struct("<16sB3xIdddd")
_BAN: Final = struct.Struct("<16sB3xd32s")
_SUM: Final = struct.Struct("<I")
KEY_OFFSET: Final = _SUM.size
MAX_NOTE: Final = 32
"""Bytes of the reason that an administrator gives."""


class Key(NamedTuple):
    """A network: its first address as a number (IPv4 as mapped into IPv6) and the length of its prefix, of 128."""

    number: int
    length: int

    def holds(self, number: int) -> bool:
        """Whether an address is in it."""
        return number >> (128 - self.length) == self.number >> (128 - self.length)

    def __str__(self) -> str:
        if self.length >= 96 and self.number >> 32 == 0xFFFF:
            network: IPv4Network | IPv6Network = IPv4Network((self.number & 0xFFFFFFFF, self.length - 96))
        else:
            network = IPv6Network((self.number, self.length))
        return str(network.network_address) if network.prefixlen == network.max_prefixlen else str(network)


def address_number(address: str) -> int | None:
    """The address as a number; None for what is no address, such as a Unix socket."""
    found = host(address).address
    if found is None:
        return None
    return int(found) | _MAPPED if found.version == 4 else int(found)


@lru_cache(maxsize=4096)
def address_key(address: str, ipv6prefix: int = 64) -> Key | None:
    """What an address counts by: itself, or its network of IPv6. None for what is no address."""
    number = address_number(address)
    if number is None:
        return None
    if number >> 32 == 0xFFFF:
        return Key(number, 128)
    return Key(number >> (128 - ipv6prefix) << (128 - ipv6prefix), ipv6prefix)


def network_key(text: str) -> Key:
    """The network that is written so. Raises ValueError."""
    network = ip_network(text.strip().replace("[", "").replace("]", ""), strict=False)
    number = int(network.network_address)
    return Key(number | _MAPPED, network.prefixlen + 96) if network.version == 4 else Key(number, network.prefixlen)


@dataclass(frozen=True, slots=True)
class MarkRules:
    """The options. Seconds; `failures` 0 shuts nobody out."""

    maxbadness: float = 60.0
    decay: float = 900.0
    failures: int = 0
    window: float = 600.0
    ban: float = 3600.0


@dataclass(frozen=True, slots=True)
class Mark:
    """One address: seconds that its logins wait, when it last failed, how often since when, and shut out until when."""

    key: Key
    badness: float = 0.0
    last: float = 0.0
    failures: int = 0
    since: float = 0.0
    until: float = 0.0

    def wait(self, rules: MarkRules, now: float) -> float:
        """Seconds that a login from the address waits now."""
        return min(self.badness, rules.maxbadness) if now - self.last < rules.decay else 0.0

    def banned(self, now: float) -> bool:
        """Whether it is shut out."""
        return now < self.until

    def matters(self, rules: MarkRules) -> float:
        """The time from which it says nothing any more."""
        return max(self.until, self.last + rules.decay, self.since + rules.window if rules.failures else 0.0)

    def failed(self, penalty: float, rules: MarkRules, now: float) -> Mark:
        """After one more failure; those that were on their way when it was shut out change nothing."""
        if self.banned(now):
            return self
        badness = min(self.wait(rules, now) + penalty, rules.maxbadness)
        counts = 0 <= now - self.since < rules.window
        failures, since = (self.failures + 1, self.since) if counts else (1, now)
        if rules.failures and failures >= rules.failures:
            return Mark(self.key, badness, now, 0, now, max(self.until, now + rules.ban))
        return Mark(self.key, badness, now, failures, since, self.until)

    def cleared(self) -> Mark:
        """After a success."""
        return Mark(self.key, until=self.until)

    def released(self) -> Mark:
        """After an administrator let it in again."""
        return replace(self, badness=0.0, failures=0, until=0.0)


@dataclass(frozen=True, slots=True)
class Ban:
    """A network that an administrator shut out, until a time (FOR_EVER), and why."""

    key: Key
    until: float
    note: str = ""


# ---- as bytes -------------------------------------------------------------------------------------------------------
def _sealed(body: bytes) -> bytes:
    body = body.ljust(RECORD - 4, b"\0")
    return _SUM.pack(crc32(body)) + body


def _opened(data: bytes) -> bytes | None:
    """What is in a record; None where it is empty or was not written as a whole."""
    body = data[4:]
    return body if any(data) and _SUM.unpack_from(data)[0] == crc32(body) else None


def key_bytes(key: Key) -> bytes:
    """A key as it stands in a record, at KEY_OFFSET."""
    return key.number.to_bytes(16, "big") + bytes((key.length,))


def pack_mark(mark: Mark) -> bytes:
    """RECORD bytes."""
    fields = (mark.failures, mark.badness, mark.last, mark.since, mark.until)
    return _sealed(_MARK.pack(mark.key.number.to_bytes(16, "big"), mark.key.length, *fields))


def unpack_mark(data: bytes) -> Mark | None:
    """The mark in RECORD bytes; None where there is none."""
    body = _opened(data)
    if body is None:
        return None
    number, length, failures, badness, last, since, until = _MARK.unpack_from(body)
    return Mark(Key(int.from_bytes(number, "big"), length), badness, last, failures, since, until)


def pack_ban(ban: Ban) -> bytes:
    """RECORD bytes; what is too long of the note is cut."""
    note = ban.note.encode()[:MAX_NOTE]
    return _sealed(_BAN.pack(ban.key.number.to_bytes(16, "big"), ban.key.length, ban.until, note))


def unpack_ban(data: bytes) -> Ban | None:
    """The ban in RECORD bytes; None where there is none."""
    body = _opened(data)
    if body is None:
        return None
    number, length, until, note = _BAN.unpack_from(body)
    return Ban(Key(int.from_bytes(number, "big"), length), until, note.rstrip(b"\0").decode(errors="ignore"))
