"""A MailService as the operator reads it: the resource with the API server's defaults filled in, and what follows.

Nothing here asks the cluster. `MailService.read` takes the object as it came; the API server has checked it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil
from typing import Any, Final

from mailoperator.crd import API_VERSION, GROUP, KIND
from mailoperator.schema import SERVICE_PORTS, front_ends, option_rows

PAUSE_ANNOTATION: Final = f"{GROUP}/paused"
MANAGER: Final = "mailkeep-operator"
STORE: Final = "store"
BACKUP: Final = "backup"

CONTAINER_PORTS: Final[Mapping[str, Mapping[str, int]]] = {
    "pop": {"port": 1110, "sslport": 1995, "proxyport": 2110, "proxysslport": 2995},
    "imap": {"port": 1143, "sslport": 1993, "proxyport": 2143, "proxysslport": 2993},
    "http": {"port": 8990, "sslport": 8991},
    "lmtp": {"port": 1024, "proxyport": 2024},
}
"""Where containers listen: high ports, so that they need no privilege and a Service's port touches no pod."""
PORT_NAMES: Final = {"port": "{}", "sslport": "{}s", "proxyport": "{}-proxy", "proxysslport": "{}s-proxy"}
"""Names of the ports of a Service, by the option and the front end."""
ADMIN_PORTS: Final[Mapping[str, int]] = {"pop": 9110, "imap": 9143, "http": 9080, "lmtp": 9024, STORE: 9643}
STORE_PORT: Final = 7643


@dataclass(frozen=True, slots=True)
class MailService:
    """One resource. `spec` has the defaults of the schema in it."""

    name: str
    namespace: str
    uid: str
    generation: int
    annotations: Mapping[str, str]
    spec: Mapping[str, Any]

    @classmethod
    def read(cls, thing: Mapping[str, Any]) -> MailService:
        """The object as the API server gives it."""
        meta = thing["metadata"]
        return cls(
            name=meta["name"],
            namespace=meta["namespace"],
            uid=meta["uid"],
            generation=meta.get("generation", 0),
            annotations=meta.get("annotations") or {},
            spec=thing["spec"],
        )

    @property
    def paused(self) -> bool:
        """Whether the annotation asks to leave everything as it is."""
        return self.annotations.get(PAUSE_ANNOTATION, "").lower() in ("true", "yes", "1")

    @property
    def front_ends(self) -> tuple[FrontEnd, ...]:
        """The front ends that are enabled, in the order of the table."""
        known = (FrontEnd(self, name) for name in front_ends() if name in CONTAINER_PORTS)
        return tuple(each for each in known if each.options["enable"])

    @property
    def backup(self) -> Mapping[str, Any] | None:
        """When backups are made, and where to."""
        wanted: Mapping[str, Any] | None = self.spec[STORE].get("backup")
        return wanted

    @property
    def restore_from(self) -> Mapping[str, Any] | None:
        """The backup that an empty store begins with."""
        wanted: Mapping[str, Any] | None = self.spec[STORE].get("restoreFrom")
        return wanted

    def object_name(self, role: str, what: str = "") -> str:
        """The name of an object of a role: `mail-imap`, `mail-imap-config`."""
        return "-".join(part for part in (self.name, role, what) if part)

    def selector(self, role: str) -> dict[str, str]:
        """Labels by which the pods of a role are found; they never change."""
        return {
            "app.kubernetes.io/name": "mailkeep",
            "app.kubernetes.io/instance": self.name,
            "app.kubernetes.io/component": role,
        }

    def labels(self, role: str) -> dict[str, str]:
        """Labels of the objects of a role."""
        return {**self.selector(role), "app.kubernetes.io/managed-by": MANAGER, "app.kubernetes.io/part-of": "mailkeep"}

    def metadata(self, role: str, what: str = "", **more: Any) -> dict[str, Any]:
        """Metadata of an object that goes when the MailService goes; by its owner, not by a finalizer."""
        return {
            "name": self.object_name(role, what),
            "namespace": self.namespace,
            "labels": self.labels(role),
            "ownerReferences": [self.owner()],
            **more,
        }

    def owner(self) -> dict[str, Any]:
        """The reference that makes the cluster's garbage collector remove an object with the MailService."""
        return {"apiVersion": API_VERSION, "kind": KIND, "name": self.name, "uid": self.uid, "controller": True}

    def host(self, role: str) -> str:
        """The name of a role's Service inside the cluster."""
        return f"{self.object_name(role)}.{self.namespace}.svc"


@dataclass(frozen=True, slots=True)
class FrontEnd:
    """A front end of a MailService: `name` is pop, imap, http or lmtp."""

    service: MailService
    name: str

    @property
    def options(self) -> Mapping[str, Any]:
        """Its part of the spec."""
        part: Mapping[str, Any] = self.service.spec[self.name]
        return part

    @property
    def autoscaling(self) -> Mapping[str, Any] | None:
        """Bounds and targets where an autoscaler sets the number of pods."""
        return self.options.get("autoscaling")

    @property
    def replicas(self) -> int:
        """How many pods are wanted; with an autoscaler the fewest."""
        options = self.options
        if self.autoscaling:
            return int(self.autoscaling["minReplicas"])
        if "capacity" in options:
            return ceil(int(options["capacity"]["sessions"]) / int(options["maxsessions"])) + 1
        return int(options.get("replicas") or options.get("numprocesses") or 1)

    @property
    def ports(self) -> dict[str, tuple[int, int]]:
        """Name of each port that is open -> (port of the Service, port of the container)."""
        inside = CONTAINER_PORTS[self.name]
        return {
            PORT_NAMES[option].format(self.name): (self.options[option], inside[option])
            for option in SERVICE_PORTS
            if option in inside and self.opens(option)
        }

    def opens(self, option: str) -> bool:
        """Whether the port of this option is open: one with TLS from the first byte wants a certificate."""
        wanted = {"port": True, "sslport": bool(self.options.get("enablesslport"))}
        needs_certificate = option.endswith("sslport")
        return wanted.get(option, bool(self.options.get(option))) and (not needs_certificate or self._has_certificate)

    @property
    def _has_certificate(self) -> bool:
        return self.service.spec["tls"].get("secretRef") is not None

    @property
    def tls_port(self) -> bool:
        """Whether there is a port with TLS from the first byte: it is asked for, and there is a certificate."""
        return self.opens("sslport")

    @property
    def pod_options(self) -> dict[str, Any]:
        """The options that go into the pods' configuration: all of the table but the Service's ports and the count."""
        left_out = {*SERVICE_PORTS, "numprocesses"}
        names = [row.name.partition(".")[2] for row in option_rows(self.name)]
        return {name: self.options[name] for name in names if name not in left_out and name in self.options}
