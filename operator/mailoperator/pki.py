"""The certificates between the pods of a MailService: an authority of its own, and one certificate for each role.

Pure functions: what the Secrets hold now and the time in, what they shall hold out. A certificate is renewed when a
third of its life is left, the authority likewise. A new authority is first only trusted, beside the one before it; it
signs when every pod has had the time to get to know it. So a change of it breaks no connection.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

AUTHORITY_LIFE: Final = timedelta(days=3650)
CERTIFICATE_LIFE: Final = timedelta(days=90)
RENEW_SHARE: Final = 3
"""Renewed when one part in so many of the life is left."""
SETTLE: Final = timedelta(hours=1)
"""How long a new authority is only trusted; the kubelet takes a minute or two to bring a changed Secret to a pod."""
_BACKDATED: Final = timedelta(minutes=5)
"""Clocks of nodes differ a little."""

CERTIFICATE, KEY, AUTHORITIES = "tls.crt", "tls.key", "ca.crt"
BEFORE_CERTIFICATE, BEFORE_KEY = "before.crt", "before.key"
"""The authority before, which signs until the new one has settled."""
Data = Mapping[str, bytes]
"""What a Secret holds."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Whom a certificate names: the first name is the role's, by which the store knows what its caller may do."""

    role: str
    hosts: Sequence[str] = ()

    @property
    def names(self) -> list[str]:
        """All names of hosts in it."""
        return [self.role, *self.hosts]


def authority(name: str, now: datetime, current: Data | None) -> dict[str, bytes]:
    """The authority's Secret: as it is, or a new one in front of those it replaces in `ca.crt`."""
    current = current or {}
    if _usable(current, now) is not None:
        return {**current, AUTHORITIES: _valid(current.get(AUTHORITIES), now)}
    key = ec.generate_private_key(ec.SECP256R1())
    # The day in the name keeps an authority apart from the one that it replaces.
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"{name} {now:%Y-%m-%dT%H:%M:%SZ}")])
    certificate = (
        _builder(subject, subject, key.public_key(), now, AUTHORITY_LIFE)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(_usage(sign=True), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = certificate.public_bytes(serialization.Encoding.PEM)
    made = {CERTIFICATE: pem, KEY: _private(key), AUTHORITIES: pem + _valid(current.get(AUTHORITIES), now)}
    before = {BEFORE_CERTIFICATE: current.get(CERTIFICATE, b""), BEFORE_KEY: current.get(KEY, b"")}
    return {**made, **before} if _holds(before[BEFORE_CERTIFICATE], before[BEFORE_KEY]) else made


def signer(held: Data, now: datetime) -> dict[str, bytes]:
    """The authority of a Secret that signs now, and all that are trusted."""
    newest = x509.load_pem_x509_certificate(held[CERTIFICATE])
    settled = now >= newest.not_valid_before_utc + _BACKDATED + SETTLE
    before = _holds(held.get(BEFORE_CERTIFICATE, b""), held.get(BEFORE_KEY, b""))
    if settled or before is None or now >= before.not_valid_after_utc - CERTIFICATE_LIFE:
        return {CERTIFICATE: held[CERTIFICATE], KEY: held[KEY], AUTHORITIES: held[AUTHORITIES]}
    return {CERTIFICATE: held[BEFORE_CERTIFICATE], KEY: held[BEFORE_KEY], AUTHORITIES: held[AUTHORITIES]}


def identity(who: Identity, now: datetime, signer: Data, current: Data | None) -> dict[str, bytes]:
    """A role's Secret: as it is while it names whom it shall, is young enough, and is signed by who signs now."""
    issuer = x509.load_pem_x509_certificate(signer[CERTIFICATE])
    kept = _usable(current, now)
    if kept is not None and current is not None and _signed(kept, issuer) and _names(kept) == who.names:
        return {CERTIFICATE: current[CERTIFICATE], KEY: current[KEY], AUTHORITIES: signer[AUTHORITIES]}
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, who.role)])
    certificate = (
        _builder(subject, issuer.subject, key.public_key(), now, CERTIFICATE_LIFE)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name) for name in who.names]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(_load_key(signer[KEY]).public_key()), False)
        .add_extension(_usage(sign=False), critical=True)
        .add_extension(
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False
        )
        .sign(_load_key(signer[KEY]), hashes.SHA256())
    )
    pem = certificate.public_bytes(serialization.Encoding.PEM)
    return {CERTIFICATE: pem, KEY: _private(key), AUTHORITIES: signer[AUTHORITIES]}


def renew_at(certificate: x509.Certificate) -> datetime:
    """When it is replaced."""
    life = certificate.not_valid_after_utc - certificate.not_valid_before_utc
    return certificate.not_valid_after_utc - life / RENEW_SHARE


def _usable(data: Data | None, now: datetime) -> x509.Certificate | None:
    """The certificate of a Secret where it can go on; None where there is none, it is broken, or it is due."""
    found = _holds(data.get(CERTIFICATE, b""), data.get(KEY, b"")) if data else None
    return found if found is not None and now < renew_at(found) else None


def _holds(certificate: bytes, key: bytes) -> x509.Certificate | None:
    """The certificate, where it and its key can be read and belong together."""
    try:
        read, private = x509.load_pem_x509_certificate(certificate), _load_key(key)
    except ValueError:
        return None
    return read if private.public_key() == read.public_key() else None


def _valid(bundle: bytes | None, now: datetime) -> bytes:
    """The certificates of a bundle that are not over."""
    try:
        found = x509.load_pem_x509_certificates(bundle or b"")
    except ValueError:
        return b""
    return b"".join(each.public_bytes(serialization.Encoding.PEM) for each in found if now < each.not_valid_after_utc)


def _signed(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def _names(certificate: x509.Certificate) -> list[str]:
    found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    return found.value.get_values_for_type(x509.DNSName)


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, now: datetime, life: timedelta
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now.astimezone(UTC) - _BACKDATED)
        .not_valid_after(now.astimezone(UTC) + life)
    )


def _usage(*, sign: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not sign, key_cert_sign=sign, crl_sign=sign, content_commitment=False, key_encipherment=False,
        data_encipherment=False, key_agreement=False, encipher_only=False, decipher_only=False,
    )  # fmt: skip


def _private(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _load_key(pem: bytes) -> ec.EllipticCurvePrivateKey:
    key = serialization.load_pem_private_key(pem, password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ValueError("not an elliptic curve key")
    return key
