"""Who is at the other end of a connection, and how: what the rules of a login judge. No I/O."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

LOCAL_ADDRESS: Final = "local"
"""The address of clients on a Unix socket, which have none."""


@dataclass(frozen=True, slots=True)
class Peer:
    """A client's end of a connection as it is now; STARTTLS makes another one.

    Addresses are text (IPv4 in its own form, not mapped into IPv6), LOCAL_ADDRESS on a Unix socket. `tls` says that TLS
    protects the connection, wherever it ends; `proxied_tls`, that it ends at a proxy, so that nothing is known of its
    keys: no channel can be bound and no certificate was seen here.
    """

    address: str
    server_address: str = ""
    tls: bool = False
    cipherbits: int = 0
    """Strength of the negotiated cipher; 0 in clear, and where a proxy does not tell."""
    version: str = ""
    """`TLSv1.2` or `TLSv1.3` where TLS ends here, else ""."""
    local: bool = False
    """Whether the client is on this machine: a loopback address or a Unix socket."""
    proxied_tls: bool = False
    barred: bool = False
    """A trusted front end that named no client, at an address that a filter or a ban keeps out."""
    certificate: bytes | None = field(default=None, repr=False)
    """The client's certificate (DER), verified by TLS; None without one."""


@dataclass(frozen=True, slots=True)
class Forwarded:
    """A client as a trusted balancer or front end speaks of it. `address` is "" where it speaks for itself.

    `tls`: whether the client's TLS ends there, with a cipher of so many bits (0: it does not tell); None where it does
    not say, so that the connection itself is what is known. `relayed`: the other end speaks the protocol itself, and so
    whatever TLS the connection has is its own.
    """

    address: str
    server_address: str = ""
    tls: bool | None = None
    cipherbits: int = 0
    relayed: bool = False


def text_address(name: object) -> str:
    """The address in what a socket calls its own or its peer's name; LOCAL_ADDRESS where it is no pair with a port."""
    return str(name[0]).removeprefix("::ffff:") if isinstance(name, tuple) else LOCAL_ADDRESS


def is_local(address: str) -> bool:
    """Whether the address is one of this machine alone."""
    return address == LOCAL_ADDRESS or address.startswith("127.") or address == "::1"
