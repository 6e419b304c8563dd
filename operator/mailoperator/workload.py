"""Schema of what a MailService says of pods, replicas, Services and volumes, beside the options of the table."""

from __future__ import annotations

from typing import Final

from mailoperator import rules
from mailoperator.schema import Schema, filled_object

MAX_REPLICAS: Final = 1000


def _int(description: str, low: int, high: int, **more: int) -> Schema:
    return {"type": "integer", "format": "int32", "minimum": low, "maximum": high, "description": description, **more}


def _text(description: str, length: int = 253) -> Schema:
    return {"type": "string", "maxLength": length, "description": description}


def _texts(description: str, count: int = 64, length: int = 253) -> Schema:
    return {
        "type": "array",
        "maxItems": count,
        "description": description,
        "x-kubernetes-list-type": "atomic",
        "items": {"type": "string", "maxLength": length},
    }


def _map(description: str) -> Schema:
    return {
        "type": "object",
        "maxProperties": 64,
        "description": description,
        "additionalProperties": {"type": "string", "maxLength": 4096},
    }


def _opaque(description: str) -> Schema:
    """A part of a pod that is passed on; the API server checks it in the pod."""
    return {"type": "object", "description": description, "x-kubernetes-preserve-unknown-fields": True}


def _opaque_list(description: str) -> Schema:
    return {
        "type": "array",
        "maxItems": 32,
        "description": description,
        "x-kubernetes-list-type": "atomic",
        "items": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
    }


def pod_properties() -> dict[str, Schema]:
    """What every kind of pod may be given."""
    return {
        "resources": _opaque("Requests and limits of the container."),
        "podLabels": _map("Further labels of the pods."),
        "podAnnotations": _map("Further annotations of the pods."),
        "nodeSelector": _map("Labels of the nodes that may run the pods."),
        "tolerations": _opaque_list("Taints that the pods tolerate."),
        "affinity": _opaque("Affinity of the pods, in place of spreading them over nodes."),
        "priorityClassName": _text("Priority class of the pods."),
    }


def front_end_properties() -> dict[str, Schema]:
    """Replicas and Service of a front end."""
    return {
        "replicas": _int("Pods. By default numprocesses.", 1, MAX_REPLICAS),
        "capacity": _capacity(),
        "autoscaling": _autoscaling(),
        "service": _service(),
        **pod_properties(),
    }


def _capacity() -> Schema:
    return {
        "type": "object",
        "description": "As many pods as are needed for so many sessions, and one to spare.",
        "required": ["sessions"],
        "properties": {"sessions": _int("Sessions that all pods take together.", 1, 1_000_000_000)},
    }


def _autoscaling() -> Schema:
    return {
        "type": "object",
        "description": "A HorizontalPodAutoscaler sets the number of pods.",
        "required": ["maxReplicas"],
        "properties": {
            "minReplicas": _int("Fewest pods.", 1, MAX_REPLICAS, default=2),
            "maxReplicas": _int("Most pods.", 1, MAX_REPLICAS),
            "sessionsPercent": _int(
                "Sessions of a pod, in per cent of maxsessions, to aim for; wants the metric mailkeep_sessions.", 1, 100
            ),
            "cpuPercent": _int("CPU of a pod, in per cent of its request, to aim for.", 1, 100),
        },
        "x-kubernetes-validations": rules.AUTOSCALING,
    }


def _service() -> Schema:
    properties: dict[str, Schema] = {
        "type": {
            "type": "string",
            "enum": ["ClusterIP", "NodePort", "LoadBalancer"],
            "default": "ClusterIP",
            "description": "How it is reached.",
        },
        "annotations": _map("Annotations, for the load balancer."),
        "externalTrafficPolicy": {
            "type": "string",
            "enum": ["Cluster", "Local"],
            "description": "Local keeps the clients' addresses; only for NodePort and LoadBalancer.",
        },
        "loadBalancerClass": _text("Implementation of the load balancer."),
        "loadBalancerSourceRanges": _texts("Networks whose clients the load balancer lets in.", 256, 64),
        "ipFamilyPolicy": {
            "type": "string",
            "enum": ["SingleStack", "PreferDualStack", "RequireDualStack"],
            "description": "One family of addresses or two.",
        },
        "ipFamilies": _texts("IPv4, IPv6 or both, in order.", 2, 4),
    }
    return filled_object("The Service that clients connect to.", properties, rules.SERVICE)


def store_properties() -> dict[str, Schema]:
    """The store's volume and pod."""
    size: Schema = {
        "type": "string",
        "maxLength": 32,
        "default": "10Gi",
        "description": "Size; may grow where the storage class allows it, never shrink.",
        "x-kubernetes-validations": rules.QUANTITY,
    }
    storage = filled_object(
        "The store's volume. It is kept when the MailService is deleted.",
        {"size": size, "storageClassName": _text("Storage class; by default the cluster's. Cannot be changed.")},
        rules.STORAGE,
    )
    return {"storage": storage, "backup": _backup(), "restoreFrom": _restore_from(), **pod_properties()}


def _backup() -> Schema:
    properties = {
        "claimName": _text(
            "Claim of the volume that backups are written to; it must be there. Mounted in the store's pod."
        ),
        "schedule": {**_text("When, in the form of cron.", 100), "default": "0 3 * * *"},
        "keep": _int("Backups that stay, the newest.", 1, 1000, default=7),
    }
    return {
        "type": "object",
        "description": "Backups of the running store to a volume of their own.",
        "required": ["claimName"],
        "properties": properties,
    }


def _restore_from() -> Schema:
    path = {
        **_text("Folder of the backup on that volume; by default the newest."),
        "pattern": "^[A-Za-z0-9][A-Za-z0-9._-]*$",
    }
    return {
        "type": "object",
        "description": "A backup that the store begins with; where it has mail already nothing is restored.",
        "required": ["claimName"],
        "properties": {"claimName": _text("Claim of the volume with the backups."), "path": path},
    }
