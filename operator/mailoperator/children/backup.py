"""Backups: a CronJob that asks the running store for a copy of itself on a volume of its own, and the way back.

The store writes the copy, since it alone can make one that is consistent; so the volume is mounted in its pod. The
CronJob only asks, over gRPC, with a certificate whose role may do nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from mailoperator.children.pods import CONTAINER_SECURITY, ENVIRONMENT, POD_SECURITY, common_volumes, mounts
from mailoperator.podconfig import DATA_FOLDER
from mailoperator.spec import BACKUP, MailService

Child = dict[str, Any]

BACKUP_FOLDER: Final = "/var/lib/mailkeep-backup"
RESTORE_FOLDER: Final = "/var/lib/mailkeep-restore"
BACKUP_SECONDS: Final = 12 * 3600
"""How long one backup may take."""


def backup_children(service: MailService) -> list[Child]:
    """The CronJob; none where the spec wants no backups."""
    return [cron_job(service, service.backup)] if service.backup else []


def cron_job(service: MailService, wanted: Mapping[str, Any]) -> Child:
    """One backup at a time; one that failed is tried again twice."""
    command = ["mailkeep", "store", "backup", "--dated", "--keep", str(wanted["keep"]), BACKUP_FOLDER]
    container = {
        "name": BACKUP,
        "image": service.spec["image"],
        "imagePullPolicy": service.spec["imagePullPolicy"],
        "command": command,
        "env": ENVIRONMENT,
        "resources": {"requests": {"cpu": "10m", "memory": "64Mi"}, "limits": {"memory": "256Mi"}},
        "securityContext": CONTAINER_SECURITY,
        "volumeMounts": mounts(BACKUP),
    }
    pod: Child = {
        "restartPolicy": "Never",
        "serviceAccountName": service.object_name(BACKUP),
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": POD_SECURITY,
        "containers": [container],
        "volumes": common_volumes(service, BACKUP),
    }
    if service.spec.get("imagePullSecrets"):
        pod["imagePullSecrets"] = service.spec["imagePullSecrets"]
    template = {"metadata": {"labels": service.labels(BACKUP)}, "spec": pod}
    return {
        "apiVersion": "batch/v1",
        "kind": "CronJob",
        "metadata": service.metadata(BACKUP),
        "spec": {
            "schedule": wanted["schedule"],
            "concurrencyPolicy": "Forbid",
            "startingDeadlineSeconds": 3600,
            "successfulJobsHistoryLimit": 1,
            "failedJobsHistoryLimit": 3,
            "jobTemplate": {
                "spec": {"backoffLimit": 2, "activeDeadlineSeconds": BACKUP_SECONDS, "template": template},
            },
        },
    }


def store_volumes(service: MailService) -> list[Child]:
    """The claims that the store's pod has beside its own."""
    claims = {"backup": service.backup, "restore": service.restore_from}
    return [
        {"name": name, "persistentVolumeClaim": {"claimName": wanted["claimName"], "readOnly": name == "restore"}}
        for name, wanted in claims.items()
        if wanted
    ]


def store_mounts(service: MailService) -> list[Child]:
    """Where backups go in the store's container."""
    return [{"name": "backup", "mountPath": BACKUP_FOLDER}] if service.backup else []


def restorers(service: MailService) -> list[Child]:
    """The init container that fills an empty volume from a backup; one with a store in it is left as it is."""
    wanted = service.restore_from
    if not wanted:
        return []
    source = [f"{RESTORE_FOLDER}/{wanted['path']}"] if wanted.get("path") else ["--latest", RESTORE_FOLDER]
    return [
        {
            "name": "restore",
            "image": service.spec["image"],
            "imagePullPolicy": service.spec["imagePullPolicy"],
            "command": ["mailkeep", "store", "restore", "--if-absent", *source],
            "env": ENVIRONMENT,
            "securityContext": CONTAINER_SECURITY,
            "volumeMounts": [
                *mounts(BACKUP),
                {"name": "data", "mountPath": DATA_FOLDER},
                {"name": "restore", "mountPath": RESTORE_FOLDER, "readOnly": True},
            ],
        }
    ]
