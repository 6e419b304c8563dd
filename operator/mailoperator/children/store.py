"""The store: one pod on one volume, and the Service by which front ends find it."""

from __future__ import annotations

from typing import Any

from mailoperator.children.backup import restorers, store_mounts, store_volumes
from mailoperator.children.pods import mounts, template
from mailoperator.podconfig import DATA_FOLDER, restart_hash, store_values
from mailoperator.spec import ADMIN_PORTS, STORE, STORE_PORT, MailService

Child = dict[str, Any]


def store_children(service: MailService) -> list[Child]:
    """StatefulSet and headless Service."""
    return [stateful_set(service), headless_service(service)]


def stateful_set(service: MailService) -> Child:
    """One pod: a volume has one writer. The claim is the StatefulSet's, and is kept when all of it is deleted."""
    container = {
        "ports": [
            {"name": "grpc", "containerPort": STORE_PORT, "protocol": "TCP"},
            {"name": "admin", "containerPort": ADMIN_PORTS[STORE], "protocol": "TCP"},
        ],
        "volumeMounts": [*mounts(STORE), {"name": "data", "mountPath": DATA_FOLDER}, *store_mounts(service)],
    }
    pod = template(service, STORE, container, store_volumes(service), restart_hash(store_values(service)))
    if before := restorers(service):
        pod["spec"]["initContainers"] = before
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": service.metadata(STORE),
        "spec": {
            "replicas": 1,
            "serviceName": service.object_name(STORE),
            "podManagementPolicy": "Parallel",
            "revisionHistoryLimit": 3,
            "selector": {"matchLabels": service.selector(STORE)},
            "persistentVolumeClaimRetentionPolicy": {"whenDeleted": "Retain", "whenScaled": "Retain"},
            "template": pod,
            "volumeClaimTemplates": [_claim(service)],
        },
    }


def _claim(service: MailService) -> Child:
    storage = service.spec[STORE]["storage"]
    spec: Child = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": storage["size"]}}}
    if "storageClassName" in storage:
        spec["storageClassName"] = storage["storageClassName"]
    # Without an owner: deleting the MailService keeps the mail.
    return {"metadata": {"name": "data", "labels": service.selector(STORE)}, "spec": spec}


def headless_service(service: MailService) -> Child:
    """Front ends find the pod by it; only while it is ready."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": service.metadata(STORE),
        "spec": {
            "clusterIP": "None",
            "selector": service.selector(STORE),
            "ports": [{"name": "grpc", "port": STORE_PORT, "targetPort": "grpc", "protocol": "TCP"}],
        },
    }
