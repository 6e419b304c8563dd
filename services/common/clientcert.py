"""What a client's certificate says of its owner. No I/O: TLS has verified it already."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from cryptography import x509

MAX_SIZE: Final = 65_536
"""Bytes; certificates have one or two thousand."""
Rdn = tuple[tuple[str, str], ...]
Dn = tuple[Rdn, ...]
"""A name, its most specific part first (RFC 4514 section 2.1): attributes in lower case, values as they compare."""
_TYPE: Final = re.compile(r"(^|(?<!\\)[,+])([A-Za-z][\w-]*)\s*=\s*")
_ALIASES: Final = {"e": "mail", "email": "mail", "emailaddress": "mail", "1.2.840.113549.1.9.1": "mail", "s": "st"}
"""One word for what is written in several ways; certificate maps say `e` or `mail`."""


class CertificateInvalid(ValueError):  # noqa: N818 - an answer, not a fault
    """The certificate cannot be read."""


@dataclass(frozen=True, slots=True)
class ClientCertificate:
    """One certificate. `mails`: addresses of its alternative names (RFC 5280 section 4.2.1.6) and its subject."""

    issuer: Dn
    subject: Dn
    mails: tuple[str, ...]
    der: bytes = field(repr=False)

    def values(self, attribute: str) -> tuple[str, ...]:
        """The values of an attribute in the subject, and for `mail` the addresses of the alternative names too."""
        name = attribute_name(attribute)
        if name == "mail":
            return self.mails
        return tuple(value for rdn in self.subject for each, value in rdn if each == name)


def attribute_name(written: str) -> str:
    """The one word for an attribute."""
    name = written.strip().lower()
    return _ALIASES.get(name, name)


def parse_dn(text: str) -> Dn:
    """Read a name as people write it, blanks around commas allowed. Raises ValueError."""
    from cryptography import x509

    if not text.strip():
        return ()
    # The library wants no blanks, and types in capitals.
    tight = re.sub(r"(?<!\\)\s*([,+])\s*", r"\1", text.strip())
    shouted = re.sub(
        r"(^|(?<!\\)[,+])\s*([A-Za-z][\w-]*)\s*=\s*", lambda found: f"{found[1]}{found[2].upper()}=", tight
    )
    return _dn(x509.Name.from_rfc4514_string(shouted, {name.upper(): oid for name, oid in _oids().items()}))


def _oids() -> dict[str, x509.ObjectIdentifier]:
    """Attribute words that are not among the library's own."""
    from cryptography.x509.oid import NameOID

    mail = NameOID.EMAIL_ADDRESS
    return {"e": mail, "mail": mail, "email": mail, "emailaddress": mail, "s": NameOID.STATE_OR_PROVINCE_NAME}


@lru_cache(maxsize=256)
def read(der: bytes) -> ClientCertificate:
    """Read a certificate. Raises CertificateInvalid."""
    from cryptography import x509

    if len(der) > MAX_SIZE:
        raise CertificateInvalid("too large")
    try:
        certificate = x509.load_der_x509_certificate(der)
        subject = _dn(certificate.subject)
        mails = [*_alternative_mails(certificate), *(v for rdn in subject for name, v in rdn if name == "mail")]
        return ClientCertificate(_dn(certificate.issuer), subject, tuple(dict.fromkeys(mails)), der)
    except (ValueError, TypeError) as error:
        raise CertificateInvalid(str(error)) from None


def _alternative_mails(certificate: x509.Certificate) -> list[str]:
    from cryptography import x509

    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    return [_folded(mail) for mail in names.get_values_for_type(x509.RFC822Name)]


def _dn(name: x509.Name) -> Dn:
    """RFC 4514 order is the reverse of the certificate's."""
    return tuple(
        tuple((_word(attribute), _folded(str(attribute.value))) for attribute in rdn) for rdn in reversed(name.rdns)
    )


def _word(attribute: x509.NameAttribute[str | bytes]) -> str:
    name = attribute.rfc4514_attribute_name
    return attribute_name(attribute.oid.dotted_string if name == attribute.oid.dotted_string else name)


def _folded(text: str) -> str:
    """As directories compare names (RFC 4518): case and runs of blanks do not matter."""
    return " ".join(text.split()).lower()
