"""TLS contexts from files, taken up again when the files change, and certificates for demonstrations."""

from __future__ import annotations

import ssl
from enum import Enum

from services.common.options import TlsOptions


class CertificateUnavailable(Exception):  # noqa: N818 - a state, not a fault
    """There is no certificate to begin TLS with."""


class CertificateError(Exception):
    """A certificate, key or CA file cannot be used; the text says which and why."""


class ClientCertificates(Enum):
    """What a server asks of its clients."""

    NONE = ssl.CERT_NONE
    OPTIONAL = ssl.CERT_OPTIONAL
    REQUIRED = ssl.CERT_REQUIRED


class ServerTls:
    """The present context for clients. A reload replaces it: new handshakes get the new certificate, sessions stay."""

    __slots__ = ("_clients", "_context")

    def __init__(self, options: TlsOptions, clients: ClientCertificates = ClientCertificates.NONE) -> None:
        """Raises CertificateError."""
        self._clients = clients
        self._context: ssl.SSLContext | None = None
        self.load(options)

    @property
    def available(self) -> bool:
        """Whether there is a certificate."""
        return self._context is not None

    @property
    def context(self) -> ssl.SSLContext:
        """For the next handshake. Raises CertificateUnavailable."""
        if self._context is None:
            raise CertificateUnavailable
        return self._context

    def load(self, options: TlsOptions) -> None:
        """Read the files (again). Raises CertificateError and leaves everything as it was."""
        self._context = server_context(options, self._clients) if options.certfile else None


def server_context(options: TlsOptions, clients: ClientCertificates = ClientCertificates.NONE) -> ssl.SSLContext:
    """A context for servers. Raises CertificateError."""
    raise NotImplementedError
