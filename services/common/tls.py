"""TLS contexts from files, taken up again when the files change, and certificates for demonstrations."""

from __future__ import annotations

import os
import ssl
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from enum import Enum
from functools import cached_property
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Final

from services.common.endpoint import endpoint
from services.common.sharedoptions import TlsOptions

if TYPE_CHECKING:
    from cryptography import x509

VERSIONS: Final[dict[str, ssl.TLSVersion]] = {
    "TLSv1.2": ssl.TLSVersion.TLSv1_2,
    "TLSv1.3": ssl.TLSVersion.TLSv1_3,
}
CERTIFICATE_REFUSED: Final = "client certificate refused"
"""The log's words for a handshake that ends by it."""
SELF_SIGNED_DAYS: Final = 825
"""The longest life that Apple's clients take of a certificate."""


class CertificateUnavailable(Exception):  # noqa: N818 - a state, not a fault
    """There is no certificate to begin TLS with."""


class CertificateError(Exception):
    """A certificate, key or CA file cannot be used; the text says which and why."""


class ClientCertificates(Enum):
    """What a server asks of its clients."""

    NONE = ssl.CERT_NONE
    OPTIONAL = ssl.CERT_OPTIONAL
    """Where there is a CA for them (`tls.clientca`)."""
    REQUIRED = ssl.CERT_REQUIRED


def asked_of_clients(options: object) -> ClientCertificates:
    """Whether a service asks its clients for certificates, where there is a CA for them; `options` are its group."""
    if getattr(options, "requireclientcert", False):
        return ClientCertificates.REQUIRED
    asks = getattr(options, "clientcertificates", hasattr(options, "requireclientcert"))
    return ClientCertificates.OPTIONAL if asks else ClientCertificates.NONE


class ServerContext(ssl.SSLContext):
    """A server's context that remembers its certificate, which the ssl module does not tell."""

    certificate: bytes = b""
    """The server's own (DER)."""

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The host names of the certificate, in lower case."""
        from cryptography import x509

        certificate = x509.load_der_x509_certificate(self.certificate)
        try:
            found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        except x509.ExtensionNotFound:
            return ()
        return tuple(name.lower() for name in found.get_values_for_type(x509.DNSName))

    @cached_property
    def endpoint(self) -> bytes | None:
        """The channel binding tls-server-end-point of the certificate; None where it is not defined."""
        return endpoint(self.certificate)


def channel_bindings(connection: ssl.SSLObject) -> dict[str, bytes]:
    """What SCRAM can bind to on a connection whose server is ours, by the binding's name (RFC 5929).

    tls-unique is not defined for TLS 1.3 (RFC 9266 section 3), and the module does not have what that uses instead.
    """
    found: dict[str, bytes | None] = {}
    if isinstance(connection.context, ServerContext):
        found["tls-server-end-point"] = connection.context.endpoint
    if connection.version() == "TLSv1.2":
        found["tls-unique"] = connection.get_channel_binding("tls-unique")
    return {name: data for name, data in found.items() if data}


class ServerTls:
    """The present context for clients. A reload replaces it: new handshakes get the new certificate, sessions stay."""

    __slots__ = ("_clients", "_context")

    def __init__(self, options: TlsOptions, clients: ClientCertificates = ClientCertificates.NONE) -> None:
        """Raises CertificateError."""
        self._clients = clients
        self._context: ServerContext | None = None
        self.load(options)

    @property
    def available(self) -> bool:
        """Whether there is a certificate."""
        return self._context is not None

    @property
    def context(self) -> ServerContext:
        """For the next handshake. Raises CertificateUnavailable."""
        if self._context is None:
            raise CertificateUnavailable
        return self._context

    def load(self, options: TlsOptions) -> None:
        """Read the files (again). Raises CertificateError and leaves everything as it was."""
        self._context = server_context(options, self._clients) if options.certfile else None


def server_context(options: TlsOptions, clients: ClientCertificates = ClientCertificates.NONE) -> ServerContext:
    """A context for servers; cipher suites are OpenSSL's choice. Raises CertificateError."""
    context = _one_server_context(options, clients, options.certfile, options.keyfile)
    others = [
        _one_server_context(options, clients, str(pair / "tls.crt"), str(pair / "tls.key"))
        for pair in sni_pairs(options.snifolder)
    ]
    if others:
        context.sni_callback = by_server_name(others)
    return context


def _one_server_context(options: TlsOptions, clients: ClientCertificates, certfile: str, keyfile: str) -> ServerContext:
    context = ServerContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = VERSIONS[options.minversion]
    context.options |= ssl.OP_NO_RENEGOTIATION
    _set_ciphers(context, options.ciphers)
    _load_pair(context, certfile, keyfile)
    context.certificate = _leaf(certfile)
    if clients is ClientCertificates.REQUIRED or (clients is ClientCertificates.OPTIONAL and options.clientca):
        _load_ca(context, options.clientca)
        if options.crlfile:
            _load_ca(context, options.crlfile)
            context.verify_flags |= ssl.VerifyFlags.VERIFY_CRL_CHECK_LEAF
        context.verify_mode = ssl.VerifyMode(clients.value)
    return context


def _set_ciphers(context: ssl.SSLContext, ciphers: str) -> None:
    try:
        context.set_ciphers(ciphers or "DEFAULT")
    except ssl.SSLError as error:
        raise CertificateError(f"cipher suites {ciphers}: {_why(error)}") from None


def sni_pairs(folder: str) -> list[Path]:
    """The sub-folders of `tls.snifolder`, in their order. Raises CertificateError where the folder cannot be read."""
    if not folder:
        return []
    try:
        return sorted(path.parent for path in Path(folder).glob("*/tls.crt"))
    except OSError as error:
        raise CertificateError(f"folder {folder}: {_why(error)}") from None


def by_server_name(contexts: Sequence[ServerContext]) -> Callable[[ssl.SSLObject, str | None, ssl.SSLContext], None]:
    """What picks the context by the name that a client asks for (RFC 6066 section 3); the first that has it.

    Names are those of the certificates; `*` stands for one label at the beginning (RFC 9525 section 6.3).
    """
    known: dict[str, ServerContext] = {}
    for context in contexts:
        for name in context.names:
            known.setdefault(name, context)

    def pick(connection: ssl.SSLObject, name: str | None, _: ssl.SSLContext) -> None:
        asked = (name or "").lower()
        found = known.get(asked) or known.get(f"*.{asked.partition('.')[2]}")
        if found is not None:
            connection.context = found

    return pick


def client_context(cafile: str, certfile: str = "", keyfile: str = "") -> ssl.SSLContext:
    """A context for clients that trusts only `cafile`, with a certificate of its own where given (mutual TLS).

    Raises CertificateError.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    _load_ca(context, cafile)
    if certfile:
        _load_pair(context, certfile, keyfile)
    return context


def _load_pair(context: ssl.SSLContext, certfile: str, keyfile: str) -> None:
    try:
        # The callback keeps OpenSSL from asking a terminal for the passphrase of an encrypted key.
        context.load_cert_chain(certfile, keyfile, password=lambda: "")
    except (OSError, ssl.SSLError, ValueError) as error:
        raise CertificateError(f"certificate {certfile} with key {keyfile}: {_why(error)}") from None


def _leaf(certfile: str) -> bytes:
    """The first certificate of a chain that was loaded (DER)."""
    try:
        text = Path(certfile).read_text("ascii", "ignore")
        start = text.index(ssl.PEM_HEADER)
        return ssl.PEM_cert_to_DER_cert(text[start : text.index(ssl.PEM_FOOTER, start)] + ssl.PEM_FOOTER)
    except (OSError, ValueError) as error:
        raise CertificateError(f"certificate {certfile}: {error}") from None


def _load_ca(context: ssl.SSLContext, cafile: str) -> None:
    try:
        context.load_verify_locations(cafile)
    except (OSError, ssl.SSLError) as error:
        raise CertificateError(f"CA file {cafile}: {_why(error)}") from None


def _why(error: Exception) -> str:
    if isinstance(error, ssl.SSLError):
        # Some have no reason at all, not even None.
        reason = getattr(error, "reason", None) or "not usable"
        return str(reason).lower().replace("_", " ")
    return getattr(error, "strerror", None) or str(error)


LOOPBACK_NAMES: Final = ("localhost", "127.0.0.1", "::1")


def write_self_signed(certfile: Path | str, keyfile: Path | str, names: Sequence[str] = LOOPBACK_NAMES) -> None:
    """Make a key and a certificate for `names` (host names or addresses), the key readable by its owner only.

    For demonstrations and tests; whoever connects has to be told to trust it.
    """
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    certificate = _certificate_builder(names).public_key(key.public_key()).sign(key, hashes.SHA256())
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    _write(keyfile, private, 0o600)
    _write(certfile, certificate.public_bytes(serialization.Encoding.PEM), 0o644)


def _certificate_builder(names: Sequence[str]) -> x509.CertificateBuilder:
    from cryptography import x509
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, names[0])])
    now = datetime.now(UTC)
    usages = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=SELF_SIGNED_DAYS))
        .add_extension(x509.SubjectAlternativeName([_general_name(each) for each in names]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
    )


def _general_name(name: str) -> x509.GeneralName:
    from cryptography import x509

    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _write(path: Path | str, content: bytes, mode: int) -> None:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    partial = f"{path}.{os.getpid()}"
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    with open(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(partial, path)
