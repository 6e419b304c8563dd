"""The status of a MailService: conditions and numbers, out of what was seen. Pure.

Every condition is always there, with a reason. `lastTransitionTime` moves only with `status`, so that a status that
says the same is the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mailoperator.crd import API_VERSION, KIND
from mailoperator.podconfig import front_end_values, restart_hash, store_values
from mailoperator.spec import STORE, FrontEnd, MailService

Thing = Mapping[str, Any]

TRUE, FALSE, UNKNOWN = "True", "False", "Unknown"


@dataclass(frozen=True, slots=True)
class Condition:
    """One condition without its times."""

    type: str
    status: str
    reason: str
    message: str = ""


@dataclass(frozen=True, slots=True)
class Seen:
    """What a pass found: the workloads by role, and what is wrong with the inputs."""

    workloads: Mapping[str, Thing] = field(default_factory=dict)
    problems: Sequence[str] = ()
    """Of the spec and what it refers to, in words, and what the API server did not take."""
    reasons: Mapping[str, str] = field(default_factory=dict)
    """Role -> why pods of it are not ready, where that is known."""
    certificates: str = ""
    """Why there are no certificates; "" where there are."""
    version: str = ""


def conditions(service: MailService, seen: Seen) -> list[Condition]:
    """All conditions."""
    if service.paused:
        paused = Condition("Paused", TRUE, "Annotated", "the operator changes nothing while the annotation says so")
    else:
        paused = Condition("Paused", FALSE, "NotPaused")
    parts = [
        _config_valid(seen),
        _certificates(seen),
        _store_ready(seen),
        _available(service, seen),
        _progressing(service, seen),
    ]
    return [_ready(parts, paused), *parts, paused]


def _config_valid(seen: Seen) -> Condition:
    if seen.problems:
        return Condition("ConfigValid", FALSE, "InvalidInput", "; ".join(seen.problems))
    return Condition("ConfigValid", TRUE, "Valid")


def _certificates(seen: Seen) -> Condition:
    if seen.certificates:
        return Condition("CertificatesReady", FALSE, "NotIssued", seen.certificates)
    return Condition("CertificatesReady", TRUE, "Issued")


def _store_ready(seen: Seen) -> Condition:
    ready, wanted = counts(seen.workloads.get(STORE))
    if ready >= wanted > 0:
        return Condition("StoreReady", TRUE, "PodReady")
    message = "the store's pod is not ready; front ends hold commands meanwhile" + _because(seen, [STORE])
    return Condition("StoreReady", FALSE, "PodNotReady", message)


def _because(seen: Seen, roles: Sequence[str]) -> str:
    known = [seen.reasons[role] for role in roles if seen.reasons.get(role)]
    return f" ({'; '.join(known)})" if known else ""


def _available(service: MailService, seen: Seen) -> Condition:
    """Whether every front end has a pod that takes clients."""
    without = [each.name for each in service.front_ends if counts(seen.workloads.get(each.name))[0] == 0]
    if without:
        message = f"no ready pod: {', '.join(without)}{_because(seen, without)}"
        return Condition("Available", FALSE, "NoReadyPods", message)
    return Condition("Available", TRUE, "PodsReady")


def _progressing(service: MailService, seen: Seen) -> Condition:
    """Whether pods are still being replaced; a rollout that got stuck says why."""
    for role, workload in seen.workloads.items():
        for each in workload.get("status", {}).get("conditions", ()):
            if each["type"] == "Progressing" and each["status"] == FALSE:
                message = f"{role}: {each.get('message', '')}{_because(seen, [role])}"
                return Condition("Progressing", FALSE, "RolloutStuck", message)
    behind = [
        role for role in (STORE, *(each.name for each in service.front_ends)) if _behind(seen.workloads.get(role))
    ]
    if behind:
        message = f"not all pods are new and ready: {', '.join(behind)}{_because(seen, behind)}"
        return Condition("Progressing", TRUE, "RollingOut", message)
    return Condition("Progressing", FALSE, "Complete")


def is_complete(workload: Thing) -> bool:
    """Whether all pods of it are there, new and ready."""
    return not _behind(workload)


def _behind(workload: Thing | None) -> bool:
    if workload is None:
        return True
    status, wanted = workload.get("status", {}), _wanted(workload)
    old = status.get("observedGeneration", 0) < workload["metadata"].get("generation", 0)
    updated = status.get("updatedReplicas", 0)
    # Pods of an earlier template count as well: while there are some the rollout goes on.
    return bool(
        old or updated < wanted or status.get("readyReplicas", 0) < wanted or status.get("replicas", 0) > updated
    )


def _ready(parts: Sequence[Condition], paused: Condition) -> Condition:
    """The summary: the first thing that is missing names itself."""
    for part in parts:
        if part.type != "Progressing" and part.status != TRUE:
            return Condition("Ready", FALSE, part.reason, part.message)
    stuck = next((part for part in parts if part.reason == "RolloutStuck"), None)
    if stuck is not None:
        return Condition("Ready", FALSE, stuck.reason, stuck.message)
    return Condition("Ready", TRUE, "Paused" if paused.status == TRUE else "AsSpecified")


def counts(workload: Thing | None) -> tuple[int, int]:
    """Ready and wanted pods."""
    if workload is None:
        return 0, 1
    return workload.get("status", {}).get("readyReplicas", 0), _wanted(workload)


def _wanted(workload: Thing) -> int:
    return int(workload.get("spec", {}).get("replicas", 1))


def status_object(service: MailService, seen: Seen, previous: Thing, now: str) -> dict[str, Any]:
    """The MailService with its status, ready to be applied; `now` in RFC 3339, `previous` the status that was."""
    services = {each.name: _front_end(each, seen) for each in service.front_ends}
    services[STORE] = _workload(service, STORE, seen) | {"configHash": restart_hash(store_values(service))}
    return {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "metadata": {"name": service.name, "namespace": service.namespace},
        "status": {
            "observedGeneration": service.generation,
            "version": seen.version,
            "sessionsLimit": sum(each.get("sessionsLimit", 0) for each in services.values()),
            "services": services,
            "conditions": [_dated(each, service, previous, now) for each in conditions(service, seen)],
        },
    }


def _front_end(front_end: FrontEnd, seen: Seen) -> dict[str, Any]:
    service, name = front_end.service, front_end.name
    found = _workload(service, name, seen)
    port = next(iter(front_end.ports.values()))[0]
    return found | {
        "sessionsLimit": found["readyReplicas"] * front_end.options["maxsessions"],
        "endpoint": f"{service.host(name)}:{port}",
        "configHash": restart_hash(front_end_values(front_end)),
    }


def _workload(service: MailService, role: str, seen: Seen) -> dict[str, Any]:
    ready, wanted = counts(seen.workloads.get(role))
    selector = ",".join(f"{key}={value}" for key, value in service.selector(role).items())
    return {"ready": f"{ready}/{wanted}", "readyReplicas": ready, "replicas": wanted, "labelSelector": selector}


def _dated(condition: Condition, service: MailService, previous: Thing, now: str) -> dict[str, Any]:
    before = next((each for each in previous.get("conditions", ()) if each["type"] == condition.type), None)
    same = before is not None and before["status"] == condition.status
    return {
        "type": condition.type,
        "status": condition.status,
        "reason": condition.reason,
        "message": condition.message,
        "observedGeneration": service.generation,
        "lastTransitionTime": before["lastTransitionTime"] if same and before is not None else now,
    }
