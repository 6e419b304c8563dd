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
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER,
            "runAsGroup": USER,
            "fsGroup": USER,
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [{**_container(service, role), **container}],
        "volumes": [*_common_volumes(service, role), *volumes],
    }
    return {**pod, **_placement(service, role, options)}


def _container(service: MailService, role: str) -> Pod:
    return {
        "name": role,
        "image": service.spec["image"],
        "imagePullPolicy": service.spec["imagePullPolicy"],
        "command": ["python3", "-m", f"services.{role}"],
        "env": [
            {"name": "MAILKEEP_CONFIG", "value": f"{CONFIG_FOLDER}/{FILE}"},
            {"name": "MAILKEEP_DATA", "value": DATA_FOLDER},
        ],
        "resources": service.spec[role].get("resources", {}),
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
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


def _common_volumes(service: MailService, role: str) -> list[Pod]:
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
