"""A certificate authority for one test run: the store's certificate, and one for each role."""

from __future__ import annotations

import datetime
import ipaddress
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


class Authority:
    """Signs certificates into a folder."""

    def __init__(self, folder: Path, name: str = "authority") -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _name(name)
        self.cafile = folder / f"{name}.pem"
        certificate = (
            self._begin(self._name, self._key)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(self._key, hashes.SHA256())
        )
        self.cafile.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))

    def issue(self, common_name: str, *dns_names: str, ended: bool = False) -> tuple[Path, Path]:
        """Certificate and key for a name; the first DNS name, or the common name, names the files.

        `ended`: an hour ago.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        names: list[x509.GeneralName] = [x509.DNSName(name) for name in dns_names]
        if common_name == "localhost":
            names += [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
        builder = self._begin(_name(common_name), key, ended=ended)
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        stem = self._folder / (dns_names[0] if dns_names else common_name or "unnamed")
        certfile, keyfile = stem.with_suffix(".crt.pem"), stem.with_suffix(".key.pem")
        certfile.write_bytes(builder.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
        keyfile.write_bytes(_private(key))
        return certfile, keyfile

    def _begin(
        self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, *, ended: bool = False
    ) -> x509.CertificateBuilder:
        now = datetime.datetime.now(datetime.UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(hours=-1 if ended else 24))
        )


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)] if common_name else [])


def _private(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def certificate_until(end: datetime.datetime) -> bytes:
    """A certificate (PEM) that signs itself and ends then."""
    key, name = ec.generate_private_key(ec.SECP256R1()), _name("until")
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(x509.random_serial_number())
    begin = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
    certificate = builder.not_valid_before(begin).not_valid_after(end).sign(key, hashes.SHA256())
    return certificate.public_bytes(serialization.Encoding.PEM)
