"""What a MailService refers to, looked at before anything is applied: pods keep the last good configuration."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import yaml
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from mailoperator.podconfig import USERS_FILE
from mailoperator.spec import MailService
from services.common.problems import ConfigurationError
from services.common.values import TABLE, convert

Thing = Mapping[str, Any]


def secrets_of(service: MailService) -> dict[str, str]:
    """Field of the spec -> name of the Secret that it refers to."""
    spec = service.spec
    references = {
        "tls.secretRef": spec["tls"].get("secretRef"),
        "directory.users.secretRef": spec["directory"].get("users", {}).get("secretRef"),
    }
    return {field: reference["name"] for field, reference in references.items() if reference}


def problems(service: MailService, secrets: Mapping[str, Thing | None], now: datetime) -> list[str]:
    """Everything that is wrong, in words; `secrets` are the objects by their names, None for one that is not there."""
    found = [*_options(service)]
    for field, name in secrets_of(service).items():
        secret = secrets.get(name)
        if secret is None:
            found.append(f"{field}: there is no Secret {name}")
        else:
            why = _CHECKS[field](data_of(secret), now)
            found += [f"{field}: Secret {name}: {why}"] if why else []
    return found


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
    missing = [name for name in ("tls.crt", "tls.key") if name not in data]
    if missing:
        return f"it has no {' and no '.join(missing)}"
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
    if USERS_FILE not in data:
        return f"it has no {USERS_FILE}"
    try:
        content = yaml.safe_load(data[USERS_FILE])
    except (yaml.YAMLError, UnicodeDecodeError):
        return f"{USERS_FILE} is no YAML"
    return "" if content is None or isinstance(content, dict) else f"{USERS_FILE} is no users file"


_CHECKS = {"tls.secretRef": _certificate, "directory.users.secretRef": _users}
