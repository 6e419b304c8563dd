"""The Secrets that a MailService may refer to: one table for the schema, the checks and the pods."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

FOLDER: Final = "/etc/mailkeep"


@dataclass(frozen=True, slots=True)
class Reference:
    """A field of the spec that names a Secret, and the options of its group that are files of it.

    `volume` is the volume's name in the pods, and the folder's under FOLDER. `files`: option -> key of the Secret.
    """

    field: str
    volume: str
    files: Mapping[str, str]
    description: str

    @property
    def group(self) -> str:
        """The group of options that it belongs to."""
        return self.field.partition(".")[0]

    @property
    def folder(self) -> str:
        """Where the Secret is in the pods."""
        return f"{FOLDER}/{self.volume}"

    def secret(self, spec: Mapping[str, Any]) -> str:
        """Name of the Secret; "" where the spec names none."""
        part: Any = spec
        for step in self.field.split("."):
            part = part.get(step) or {}
        return str(part.get("name", ""))

    def options(self) -> dict[str, str]:
        """Option -> path in the pods."""
        return {option: f"{self.folder}/{key}" for option, key in self.files.items()}


REFERENCES: Final = (
    Reference(
        "tls.secretRef", "tls", {"certfile": "tls.crt", "keyfile": "tls.key"},
        "Secret of type kubernetes.io/tls for the clients' ports. Pods take a change.",
    ),
    Reference(
        "tls.clientcaSecretRef", "client-ca", {"clientca": "ca.crt"},
        "Secret whose key ca.crt is the authority of client certificates. Pods take a change.",
    ),
    Reference(
        "directory.users.secretRef", "users", {"usersfile": "users.yaml"},
        "Secret whose key users.yaml is the users file. Pods take a change.",
    ),
    Reference(
        "ldap.bindSecretRef", "ldap-bind", {"bindpasswordfile": "password"},
        "Secret whose key password goes with ldap.binddn. Pods take a change.",
    ),
    Reference(
        "ldap.caSecretRef", "ldap-ca", {"cafile": "ca.crt"},
        "Secret whose key ca.crt is the authority of the directory's certificates. Pods take a change.",
    ),
    Reference(
        "sasl.keysSecretRef", "oauth-keys", {"oauthkeys": "keys.json"},
        "Secret whose key keys.json has the keys that sign access tokens (JWKS), where they are not fetched from "
        "a URL. Pods take a change.",
    ),
)  # fmt: skip


def given(spec: Mapping[str, Any]) -> Iterator[tuple[Reference, str]]:
    """The references that the spec makes, and the name of each one's Secret."""
    for reference in REFERENCES:
        if name := reference.secret(spec):
            yield reference, name
