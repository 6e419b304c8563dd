"""What listens where, from the configuration."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from services.common.crosschecks import EVERYWHERE, FRONT_ENDS, LOOPBACK
from services.common.options import Configuration

HTTP: Final = "http"
"""The one service whose first port knows no STARTTLS."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One thing that clients connect to: a host with a port, or the path of a Unix socket (port 0)."""

    service: str
    address: str
    port: int
    security: str
    health: str


def endpoints(known: Configuration) -> list[Endpoint]:
    """Everything that the enabled services listen on for clients, the store first."""
    return [*_store(known), *(point for name in FRONT_ENDS for point in _front_end(known, name))]


def reachable(listen: str) -> str:
    """An address on which a client of this machine reaches what listens there; IPv6 in brackets, as URLs want it."""
    host = LOOPBACK if listen in EVERYWHERE else listen
    return f"[{host}]" if ":" in host else host


def admin_address(known: Configuration, service: str, number: int = 0) -> tuple[str, int] | None:
    """Host and port of a process's admin pages; None where it has none."""
    options = getattr(known, service)
    if not options.adminport:
        return None
    host = LOOPBACK if options.adminlisten in EVERYWHERE else options.adminlisten
    return host, options.adminport + number


def _store(known: Configuration) -> Iterator[Endpoint]:
    store = known.store
    yield Endpoint("store", store.socket, 0, "Unix socket, mode 0600", _health(known, "store"))
    if store.listen:
        yield Endpoint("store", store.listen, store.port, "mutual TLS", _health(known, "store"))


def _front_end(known: Configuration, name: str) -> Iterator[Endpoint]:
    options: Any = getattr(known, name)
    if not options.enable:
        return
    health, tls = _health(known, name), bool(known.tls.certfile)
    address = options.listen or "*"
    yield Endpoint(name, address, options.port, "STARTTLS" if tls and name != HTTP else "none", health)
    if tls and getattr(options, "enablesslport", False):
        yield Endpoint(f"{name}s", address, options.sslport, "TLS", health)
    if getattr(options, "socket", ""):
        yield Endpoint(name, options.socket, 0, "Unix socket", health)


def _health(known: Configuration, service: str) -> str:
    found = admin_address(known, service)
    return f"http://{reachable(found[0])}:{found[1]}/readyz" if found else ""
