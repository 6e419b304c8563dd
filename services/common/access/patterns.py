"""What a filter compares a client with: words and patterns for host and service names.

Sources: Messaging Server's administration guide 6.3, section 23.7.2; hosts_access(5) for the forms of addresses.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Final, TypeAlias

Address: TypeAlias = "IPv4Address | IPv6Address"

MAX_FILTER: Final = 4096
"""Characters of one filter."""


class FilterError(ValueError):
    """A filter that cannot be understood. `position` counts characters from 0."""

    def __init__(self, why: str, position: int) -> None:
        super().__init__(f"{why} at character {position + 1}")
        self.why = why
        self.position = position


class NameNeeded(Exception):  # noqa: N818 - a question, not a fault
    """The answer hangs on the client's host name, which nobody has asked for yet."""


@dataclass(frozen=True, slots=True)
class HostName:
    """What DNS says of an address: its name ("" where it has none), and whether the name denies the address."""

    text: str = ""
    spoofed: bool = False

    @property
    def known(self) -> bool:
        """A name that belongs to its address."""
        return bool(self.text) and not self.spoofed


@dataclass(frozen=True, slots=True)
class Host:
    """One end of a connection. `address` is None for a Unix socket; `name` is None while it was not asked for."""

    address: Address | None
    name: HostName | None = None

    def resolved(self) -> HostName:
        """The name. Raises NameNeeded."""
        if self.address is None:
            return HostName()
        if self.name is None:
            raise NameNeeded
        return self.name


def host(address: str, name: HostName | None = None) -> Host:
    """The host with this address; an IPv4 address mapped into IPv6 is the IPv4 address."""
    return Host(_parsed(address), name)


@lru_cache(maxsize=4096)
def _parsed(address: str) -> Address | None:
    # A login asks about its address several times.
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:
        return None
    mapped = parsed.ipv4_mapped if isinstance(parsed, IPv6Address) else None
    return mapped or parsed


@dataclass(frozen=True, slots=True)
class Pattern:
    """A test of one host. `names`: it may need the host's name."""

    matches: Callable[[Host], bool]
    names: bool = False


def _local(end: Host) -> bool:
    name = end.resolved()
    return name.known and "." not in name.text


WILDCARDS: Final[dict[str, Pattern]] = {
    "ALL": Pattern(lambda _: True),
    "*": Pattern(lambda _: True),
    "LOCAL": Pattern(_local, names=True),
    "KNOWN": Pattern(lambda end: end.resolved().known, names=True),
    # A name that denies its address is nobody's name.
    "UNKNOWN": Pattern(lambda end: not end.resolved().known, names=True),
    "DNSSPOOFER": Pattern(lambda end: end.resolved().spoofed, names=True),
}


def host_pattern(text: str, position: int) -> Pattern:
    """The pattern written as `text`. Raises FilterError."""
    wildcard = WILDCARDS.get(text.upper())
    if wildcard is not None:
        return wildcard
    if text.startswith("@"):
        raise FilterError("netgroups are not supported", position)
    found = _address_pattern(text, position)
    return found or _name_pattern(text, position)


def _address_pattern(text: str, position: int) -> Pattern | None:
    bare = text.replace("[", "", 1).replace("]", "", 1) if text.startswith("[") else text
    if ":" not in bare and not bare.replace(".", "").replace("/", "").isdecimal():
        return None
    if bare.endswith("."):
        return _prefix(bare, position)
    if "/" in bare:
        return _network(bare, position)
    try:
        wanted = host(str(ip_address(bare))).address
    except ValueError:
        raise FilterError(f"{_shown(text)} is no address", position) from None
    return Pattern(lambda end: end.address == wanted)


def _prefix(text: str, position: int) -> Pattern:
    octets = text[:-1].split(".")
    if len(octets) > 3 or not all(_is_octet(octet) for octet in octets):
        raise FilterError(f"{_shown(text)} is no beginning of an address", position)
    prefix = ".".join(str(int(octet)) for octet in octets) + "."
    return Pattern(lambda end: isinstance(end.address, IPv4Address) and str(end.address).startswith(prefix))


def _network(text: str, position: int) -> Pattern:
    base, _, mask = text.partition("/")
    try:
        if "." in mask:
            return _masked(IPv4Address(base), IPv4Address(mask))
        if not mask.isascii() or not mask.isdecimal():
            raise ValueError
        network = ip_network(text)
    except ValueError:
        raise FilterError(f"{_shown(text)} is no network", position) from None
    return Pattern(lambda end: end.address is not None and end.address in network)


def _masked(net: IPv4Address, mask: IPv4Address) -> Pattern:
    """hosts_access(5): address AND mask equals net, whatever bits the mask has. Raises ValueError: can never match."""
    wanted, bits = int(net), int(mask)
    if wanted & ~bits:
        raise ValueError
    return Pattern(lambda end: isinstance(end.address, IPv4Address) and int(end.address) & bits == wanted)


def _name_pattern(text: str, position: int) -> Pattern:
    lower = text.lower()
    labels = lower.removeprefix(".").split(".")
    if len(lower) > 253 or not all(_is_label(label) for label in labels):
        raise FilterError(f"{_shown(text)} is no host name, domain or address", position)
    if lower.startswith("."):
        return Pattern(lambda end: (name := end.resolved()).known and name.text.endswith(lower), names=True)
    return Pattern(lambda end: (name := end.resolved()).known and name.text == lower, names=True)


def _is_octet(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) <= 3 and int(text) < 256


def _is_label(text: str) -> bool:
    plain = text.replace("-", "a").replace("_", "a")
    return 0 < len(text) < 64 and plain.isascii() and plain.isalnum()


def _shown(text: str) -> str:
    return text if len(text) <= 40 and text.isprintable() else "this"
