"""Pods: what all roles have in common, under the restricted Pod Security standard."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from mailoperator.podconfig import CONFIG_FOLDER, DATA_FOLDER, FILE, IDENTITY_FOLDER
from mailoperator.spec import ADMIN_PORTS, MailService

USER: Final = 10001
"""Numeric, so that the kubelet can see that it is not root."""
ENDPOINT_SECONDS: Final = 5
"""From the removal of a pod from its Service until every node knows; new clients still come meanwhile."""
MARGIN_SECONDS: Final = 10
"""What a process may take beyond its drain window before it is killed."""
HASH_ANNOTATION: Final = "mailkeep.dev/restart-hash"

Pod = dict[str, Any]

POD_SECURITY: Final[Pod] = {
    "runAsNonRoot": True,
    "runAsUser": USER,
    "runAsGroup": USER,
    "fsGroup": USER,
    "fsGroupChangePolicy": "OnRootMismatch",
    "seccompProfile": {"type": "RuntimeDefault"},
}
CONTAINER_SECURITY: Final[Pod] = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
}
ENVIRONMENT: Final[list[Pod]] = [
    {"name": "MAILKEEP_CONFIG", "value": f"{CONFIG_FOLDER}/{FILE}"},
    {"name": "MAILKEEP_DATA", "value": DATA_FOLDER},
]


def template(service: MailService, role: str, container: Pod, volumes: list[Pod], config_hash: str) -> Pod:
    """The pod template of a role; `container` is its container without what every container has."""
    options = service.spec[role]
    meta = {
        "labels": {**options.get("podLabels", {}), **service.labels(role)},
        "annotations": {**options.get("podAnnotations", {}), HASH_ANNOTATION: config_hash},
    }
    return {"metadata": meta, "spec": _pod(service, role, container, volumes)}


def _pod(service: MailService, role: str, container: Pod, volumes: list[Pod]) -> Pod:
    options = service.spec[role]
    pod: Pod = {
        "serviceAccountName": service.object_name(role),
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": ENDPOINT_SECONDS + options["drainseconds"] + MARGIN_SECONDS,
        "securityContext": POD_SECURITY,
        "containers": [{**_container(service, role), **container}],
        "volumes": [*common_volumes(service, role), *volumes],
    }
    return {**pod, **_placement(service, role, options)}


def _container(service: MailService, role: str) -> Pod:
    return {
        "name": role,
        "image": service.spec["image"],
        "imagePullPolicy": service.spec["imagePullPolicy"],
        "command": ["python3", "-m", f"services.{role}"],
        "env": ENVIRONMENT,
        "resources": service.spec[role].get("resources", {}),
        "securityContext": CONTAINER_SECURITY,
        # A slow start is none of liveness's business; a store that is away makes a front end not ready, never dead.
        "startupProbe": _probe(role, "/healthz", periodSeconds=2, failureThreshold=60),
        "livenessProbe": _probe(role, "/healthz", periodSeconds=10, timeoutSeconds=5, failureThreshold=6),
        "readinessProbe": _probe(role, "/readyz", periodSeconds=5, timeoutSeconds=5, failureThreshold=2),
        # The pod leaves its Service while this runs, so that it is not asked for new connections when it drains.
        "lifecycle": {"preStop": {"sleep": {"seconds": ENDPOINT_SECONDS}}},
    }


def _probe(role: str, path: str, **clock: int) -> Pod:
    return {"httpGet": {"path": path, "port": ADMIN_PORTS[role]}, **clock}


def mounts(role: str) -> list[Pod]:
    """Where the common volumes are in the container."""
    return [
        {"name": "config", "mountPath": CONFIG_FOLDER, "readOnly": True},
        {"name": "identity", "mountPath": IDENTITY_FOLDER, "readOnly": True},
    ]


def common_volumes(service: MailService, role: str) -> list[Pod]:
    """The configuration of the role, and its certificate towards the store."""
    return [
        {"name": "config", "configMap": {"name": service.object_name(role, "config")}},
        {"name": "identity", "secret": {"secretName": service.object_name(role, "identity"), "defaultMode": 0o440}},
    ]


def _placement(service: MailService, role: str, options: Mapping[str, Any]) -> Pod:
    """Where the pods may run: spread over nodes, unless the spec says otherwise."""
    passed_on = ("nodeSelector", "tolerations", "affinity", "priorityClassName")
    placed = {name: options[name] for name in passed_on if name in options}
    if service.spec.get("imagePullSecrets"):
        placed["imagePullSecrets"] = service.spec["imagePullSecrets"]
    if "affinity" not in options:
        placed["topologySpreadConstraints"] = [
            {
                "maxSkew": 1,
                "topologyKey": "kubernetes.io/hostname",
                "whenUnsatisfiable": "ScheduleAnyway",
                "labelSelector": {"matchLabels": service.selector(role)},
            }
        ]
    return placed
