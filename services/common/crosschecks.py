"""Checks that look at more than one option, and at the machine: ports, certificates, paths."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any, Final

from services.common import traceexport
from services.common.certmap import CertmapError
from services.common.certmapfile import load_certmap
from services.common.framesocket import MAX_SOCKET_PATH, frames_path
from services.common.listening import bind_port
from services.common.options import Configuration
from services.common.problems import ConfigurationError, Problem
from services.common.tls import CertificateError, ClientCertificates, client_context, server_context

FRONT_ENDS: Final = ("pop", "imap", "http", "lmtp")
STORE: Final = "store"
SERVICES: Final = (STORE, *FRONT_ENDS)
"""Every service, in the order in which they start."""
PROXY_PORTS: Final = ("proxyport", "proxysslport")
LOOPBACK: Final = "127.0.0.1"
EVERYWHERE: Final = frozenset({"", "*", "0.0.0.0", "::"})


@dataclass(frozen=True, slots=True)
class Port:
    """A port that is listened on, and the option that says so. `shared`: by several processes of one service."""

    option: str
    host: str
    port: int
    shared: bool = False

    def meets(self, other: Port) -> bool:
        """Whether the two cannot both be opened."""
        if self.port != other.port:
            return False
        hosts = {_known(self.host), _known(other.host)}
        return len(hosts) == 1 or bool(hosts & EVERYWHERE)


def _known(host: str) -> str:
    return LOOPBACK if host == "localhost" else host


def listening(configuration: Configuration, services: Collection[str] = SERVICES) -> list[Port]:
    """Every TCP port that these services open where they are enabled, with the admin ports of all their processes."""
    found: list[Port] = []
    for name in FRONT_ENDS:
        options = getattr(configuration, name)
        if name not in services or not options.enable:
            continue
        shared = options.numprocesses > 1
        found.append(Port(f"{name}.port", options.listen, options.port, shared))
        if getattr(options, "enablesslport", False):
            found.append(Port(f"{name}.sslport", options.listen, options.sslport, shared))
        found.extend(
            Port(f"{name}.{option}", options.listen, port, shared)
            for option in PROXY_PORTS
            if (port := getattr(options, option, 0))
        )
        if options.adminport:
            workers = range(options.numprocesses)
            found.extend(
                Port(f"{name}.adminport", options.adminlisten, options.adminport + worker) for worker in workers
            )
    store = configuration.store
    if STORE in services and store.listen:
        found.append(Port("store.port", store.listen, store.port))
    if STORE in services and store.adminport:
        found.append(Port("store.adminport", store.adminlisten, store.adminport))
    return found


def ports(configuration: Configuration) -> dict[str, int]:
    """Option name -> port of everything that is opened."""
    found: dict[str, int] = {}
    for port in listening(configuration):
        found.setdefault(port.option, port.port)
    return found


# ---- of the configuration alone -------------------------------------------------------------------------------------
def check(configuration: Configuration, known: Collection[str] = ()) -> list[Problem]:
    """Contradictions between options; those that have a problem already (`known`) are left out."""
    found = [problem for row in _CHECKS for problem in row(configuration)]
    return [problem for problem in found if not set(problem.option.split(", ")) & set(known)]


def _conflicts(configuration: Configuration) -> Iterator[Problem]:
    for one, other in combinations(listening(configuration), 2):
        if one.meets(other):
            yield Problem(f"{one.option}, {other.option}", str(one.port), "is one port for two listeners")


_PAIRS: Final = (
    ("tls", "certfile", "keyfile"),
    ("store", "certfile", "keyfile"),
    ("store", "clientcertfile", "clientkeyfile"),
)


def _pairs(configuration: Configuration) -> Iterator[Problem]:
    for group, certificate, key in _PAIRS:
        options = getattr(configuration, group)
        given = [name for name in (certificate, key) if getattr(options, name)]
        if len(given) == 1:
            missing = key if given[0] == certificate else certificate
            yield Problem(f"{group}.{given[0]}", getattr(options, given[0]), f"needs {group}.{missing} beside it")


def _needs(configuration: Configuration) -> Iterator[Problem]:
    """Options that make no sense without others: (option, value, what must be set)."""
    tls, store = configuration.tls, configuration.store
    directory, ldap, sasl = configuration.directory, configuration.ldap, configuration.sasl
    remote = bool(store.target) and not store.target.startswith("unix:")
    wanted: tuple[tuple[str, bool, str, dict[str, Any]], ...] = (
        ("lmtp.requireclientcert", configuration.lmtp.enable and configuration.lmtp.requireclientcert, "yes",
         {"tls.certfile": tls.certfile, "tls.clientca": tls.clientca}),
        ("sasl.oauthkeys", bool(sasl.oauthkeys), sasl.oauthkeys,
         {"sasl.oauthissuer": sasl.oauthissuer, "sasl.oauthaudience": sasl.oauthaudience}),
        ("tls.snifolder", bool(tls.snifolder), tls.snifolder, {"tls.certfile": tls.certfile}),
        ("tls.crlfile", bool(tls.crlfile), tls.crlfile, {"tls.clientca": tls.clientca}),
        ("tls.certmap", bool(tls.certmap), tls.certmap, {"tls.clientca": tls.clientca}),
        ("store.listen", bool(store.listen), store.listen,
         {"store.certfile": store.certfile, "store.cafile": store.cafile}),
        ("store.target", remote, store.target,
         {"store.clientcertfile": store.clientcertfile, "store.cafile": store.cafile}),
        ("directory.kind", directory.kind == "ldap", "ldap",
         {"ldap.servers": ldap.servers, "ldap.basedn": ldap.basedn or ldap.schema == "dctree"}),
        ("ldap.searchfordomain", directory.kind == "ldap" and not ldap.searchfordomain, "no",
         {"ldap.basedn": ldap.basedn}),
        ("ldap.binddn", bool(ldap.binddn), ldap.binddn,
         {"ldap.bindpassword": ldap.bindpassword or ldap.bindpasswordfile}),
    )  # fmt: skip
    for option, applies, value, needed in (*wanted, *_proxy_needs(configuration)):
        missing = [name for name, set_to in needed.items() if not set_to]
        if applies and missing:
            yield Problem(option, value, f"needs {' and '.join(missing)}")


def _proxy_needs(configuration: Configuration) -> Iterator[tuple[str, bool, str, dict[str, Any]]]:
    trusted = {"access.trustedproxies": configuration.access.trustedproxies}
    for name in FRONT_ENDS:
        for option in PROXY_PORTS:
            port = getattr(getattr(configuration, name), option, 0)
            tls = {"tls.certfile": configuration.tls.certfile} if option == "proxysslport" else {}
            yield f"{name}.{option}", bool(port), str(port), {**trusted, **tls}


def _socket_paths(configuration: Configuration) -> Iterator[Problem]:
    # The store has a second socket, whose path is its first one's and an ending.
    room = MAX_SOCKET_PATH - len(frames_path(""))
    paths = (
        ("store.socket", configuration.store.socket, room),
        ("lmtp.socket", configuration.lmtp.socket, MAX_SOCKET_PATH),
    )
    for option, path, longest in paths:
        if len(os.fsencode(path)) > longest:
            yield Problem(option, path, f"is too long for a Unix socket; allowed: {longest} bytes")


_CHECKS: Final[tuple[Callable[[Configuration], Iterator[Problem]], ...]] = (_conflicts, _pairs, _needs, _socket_paths)


# ---- of the machine -------------------------------------------------------------------------------------------------
def check_ports(configuration: Configuration, services: Collection[str] = SERVICES) -> None:
    """Whether every port of these services can be opened now. Raises ConfigurationError."""
    problems = [problem for port in listening(configuration, services) if (problem := _try_port(port))]
    if problems:
        raise ConfigurationError(problems)


def check_new_ports(configuration: Configuration, running: Configuration | None, service: str) -> None:
    """Whether the ports of a service can be opened, those aside that it holds already. Raises ConfigurationError."""
    held = [] if running is None else listening(running, [service])
    problems = [
        problem
        for port in listening(configuration, [service])
        if not any(port.meets(other) for other in held) and (problem := _try_port(port))
    ]
    if problems:
        raise ConfigurationError(problems)


def _try_port(port: Port) -> Problem | None:
    host = "::" if port.host in EVERYWHERE and socket.has_dualstack_ipv6() else port.host
    try:
        family, _, _, _, address = socket.getaddrinfo(host or None, port.port, type=socket.SOCK_STREAM)[0]
        bind_port((family, address)).close()
    except OSError as error:
        text = _PORT_ERRORS.get(error.errno or 0, f"cannot be listened on: {error.strerror}")
        return Problem(port.option, f"{port.host}:{port.port}", text)
    return None


_PORT_ERRORS: Final[dict[int, str]] = {
    errno.EADDRINUSE: "is in use by another program",
    errno.EACCES: "needs privileges; allowed to everyone: 1024 to 65535",
    errno.EADDRNOTAVAIL: "is not an address of this machine",
}


def check_files(configuration: Configuration) -> None:
    """Whether certificates and libraries that are asked for can be used. Raises ConfigurationError."""
    problems = []
    for option, load in _certificate_loads(configuration):
        try:
            load()
        except CertificateError as error:
            problems.append(Problem(option, "", str(error)))
    if configuration.trace.endpoint and not traceexport.installed():
        text = f"needs OpenTelemetry: install mailkeep[{traceexport.EXTRA}]"
        problems.append(Problem("trace.endpoint", configuration.trace.endpoint, text))
    if problems:
        raise ConfigurationError(problems)


def _certmap(path: str) -> None:
    try:
        load_certmap(path)
    except CertmapError as error:
        raise CertificateError(str(error)) from None


def _certificate_loads(configuration: Configuration) -> Iterator[tuple[str, Callable[[], object]]]:
    """By the option that brings the file in: each load has one more of them."""
    tls, store = configuration.tls, configuration.store
    plain = replace(tls, snifolder="", crlfile="", ciphers="")
    if tls.certfile:
        yield "tls.certfile", lambda: server_context(plain)
        if tls.ciphers:
            yield "tls.ciphers", lambda: server_context(replace(plain, ciphers=tls.ciphers))
        if tls.snifolder:
            yield "tls.snifolder", lambda: server_context(replace(plain, snifolder=tls.snifolder))
        if tls.clientca:
            yield "tls.clientca", lambda: server_context(plain, ClientCertificates.REQUIRED)
            if tls.crlfile:
                crl = replace(plain, crlfile=tls.crlfile)
                yield "tls.crlfile", lambda: server_context(crl, ClientCertificates.REQUIRED)
    if tls.certmap:
        yield "tls.certmap", lambda: _certmap(tls.certmap)
    if store.cafile:
        yield "store.cafile", lambda: client_context(store.cafile, store.clientcertfile, store.clientkeyfile)
