"""Events of a MailService: one when a condition changes, none while it stays."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, Final

from mailoperator.crd import API_VERSION, KIND
from mailoperator.spec import MANAGER, MailService

_TOLD_PARTS: Final[Mapping[str, tuple[str, ...]]] = {
    "Ready": ("status", "reason"),
    "ConfigValid": ("status", "reason", "message"),
    "CertificatesReady": ("status", "reason", "message"),
}
"""Conditions and what of them is worth an Event when it changes. The others follow from these, or from the pods' own
Events; why pods are not ready changes with every attempt of the kubelet's.
"""
MAX_NOTE: Final = 1024
"""What the API server takes."""


def of_changes(
    service: MailService, before: Mapping[str, Any], after: Mapping[str, Any], now: datetime
) -> Iterator[dict[str, Any]]:
    """An Event for each condition that has another status, or is not true for another reason, than before."""
    known = {each["type"]: each for each in before.get("conditions", ())}
    for condition in after["conditions"]:
        old = known.get(condition["type"], {})
        changed = any(old.get(part) != condition[part] for part in _TOLD_PARTS.get(condition["type"], ()))
        if changed and (old or condition["status"] != "True"):
            yield _event(service, condition, now)


def _event(service: MailService, condition: Mapping[str, Any], now: datetime) -> dict[str, Any]:
    bad = condition["status"] != "True"
    note = f"{condition['type']} is {condition['status']}" + (
        f": {condition['message']}" if condition["message"] else ""
    )
    mark = hashlib.blake2b(f"{service.uid}{condition}{now.isoformat()}".encode(), digest_size=6).hexdigest()
    return {
        "apiVersion": "events.k8s.io/v1",
        "kind": "Event",
        "metadata": {"name": f"{service.name}.{mark}", "namespace": service.namespace},
        "eventTime": now.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "reportingController": MANAGER,
        "reportingInstance": MANAGER,
        "action": "Reconcile",
        "reason": condition["reason"],
        "type": "Warning" if bad else "Normal",
        "note": note[:MAX_NOTE],
        "regarding": {
            "apiVersion": API_VERSION,
            "kind": KIND,
            "name": service.name,
            "namespace": service.namespace,
            "uid": service.uid,
        },
    }
