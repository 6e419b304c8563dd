"""What a MailService refers to, looked at before anything is applied: pods keep the last good configuration."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

import yaml
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from mailoperator.references import Reference, given
from mailoperator.spec import MailService
from services.common.problems import ConfigurationError
from services.common.values import TABLE, convert

Thing = Mapping[str, Any]
Check = Callable[[Mapping[str, bytes], datetime], str]
"""What is wrong with the content of a Secret, in words; "" for nothing."""


def secrets_of(service: MailService) -> dict[str, str]:
    """Field of the spec -> name of the Secret that it refers to."""
    return {reference.field: name for reference, name in given(service.spec)}


def problems(service: MailService, secrets: Mapping[str, Thing | None], now: datetime) -> list[str]:
    """Everything that is wrong, in words; `secrets` are the objects by their names, None for one that is not there."""
    found = [*_options(service)]
    for reference, name in given(service.spec):
        secret = secrets.get(name)
        if secret is None:
            found.append(f"{reference.field}: there is no Secret {name}")
        elif why := _fault(reference, data_of(secret), now):
            found.append(f"{reference.field}: Secret {name}: {why}")
    return found


def _fault(reference: Reference, data: Mapping[str, bytes], now: datetime) -> str:
    missing = [key for key in reference.files.values() if key not in data]
    if missing:
        return f"it has no {' and no '.join(missing)}"
    check = _CHECKS.get(reference.field)
    return check(data, now) if check else ""


def _options(service: MailService) -> list[str]:
    """Values that the schema cannot judge, by the table of options."""
    found = []
    for row in TABLE.values():
        group, _, name = row.name.partition(".")
        value = service.spec.get(group, {}).get(name)
        if value is not None and not _allowed(row, value):
            found.append(f"{row.name}: {value!r} is not allowed; allowed: {row.allowed}")
    return found


def _allowed(row: Any, value: object) -> bool:
    try:
        convert(row, value)
    except (ValueError, ConfigurationError):
        return False
    return True


def data_of(secret: Thing) -> dict[str, bytes]:
    """What a Secret holds; a value that is no base64 is empty."""
    return {key: _decoded(value) for key, value in (secret.get("data") or {}).items()}


def _decoded(value: str) -> bytes:
    try:
        return base64.b64decode(value, validate=True)
    except binascii.Error:
        return b""


def _certificate(data: Mapping[str, bytes], now: datetime) -> str:
    try:
        certificate = x509.load_pem_x509_certificate(data["tls.crt"])
        key = serialization.load_pem_private_key(data["tls.key"], password=None)
    except ValueError:
        return "tls.crt or tls.key is no PEM that can be read"
    if key.public_key() != certificate.public_key():
        return "tls.key is not the key of tls.crt"
    if certificate.not_valid_after_utc < now.astimezone(UTC):
        return f"the certificate ended on {certificate.not_valid_after_utc:%Y-%m-%d}"
    return ""


def _users(data: Mapping[str, bytes], _: datetime) -> str:
    try:
        content = yaml.safe_load(data["users.yaml"])
    except (yaml.YAMLError, UnicodeDecodeError):
        return "users.yaml is no YAML"
    return "" if content is None or isinstance(content, dict) else "users.yaml is no users file"


def _authority(key: str) -> Check:
    def check(data: Mapping[str, bytes], _: datetime) -> str:
        try:
            x509.load_pem_x509_certificates(data[key])
        except ValueError:
            return f"{key} is no PEM that can be read"
        return ""

    return check


_CHECKS: Final[Mapping[str, Check]] = {
    "tls.secretRef": _certificate,
    "tls.clientcaSecretRef": _authority("ca.crt"),
    "ldap.caSecretRef": _authority("ca.crt"),
    "directory.users.secretRef": _users,
}
