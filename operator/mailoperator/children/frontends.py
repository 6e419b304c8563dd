"""Deployment and Service of a front end, and what goes with the number of its pods."""

from __future__ import annotations

from typing import Any, Final

from mailoperator.children.pods import mounts, template
from mailoperator.podconfig import RUN_FOLDER, front_end_values, restart_hash
from mailoperator.references import given
from mailoperator.spec import ADMIN_PORTS, FrontEnd

Child = dict[str, Any]

MIN_READY_SECONDS: Final = 10
UNREACHABLE_SECONDS: Final = 30
"""How long a pod of a front end stays bound to a node that is gone."""
RUN_SIZE: Final = "8Mi"
"""Of the folder for who is shut out; its file has one mebibyte."""
SESSIONS_METRIC: Final = "mailkeep_sessions"
_GONE: Final = ("node.kubernetes.io/unreachable", "node.kubernetes.io/not-ready")


def front_end_children(front_end: FrontEnd) -> list[Child]:
    """Everything for one front end."""
    found = [deployment(front_end), mail_service(front_end)]
    if front_end.autoscaling:
        found.append(autoscaler(front_end))
    if front_end.replicas > 1:
        found.append(disruption_budget(front_end))
    return found


def deployment(front_end: FrontEnd) -> Child:
    """Pods that are replaced one by one, each new one ready before an old one goes."""
    service, role = front_end.service, front_end.name
    pod = template(service, role, _container(front_end), _volumes(front_end), restart_hash(front_end_values(front_end)))
    # Beside the tolerations of the spec: what the cluster adds by default would hold a lost pod for five minutes.
    lost = [
        {"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": UNREACHABLE_SECONDS}
        for key in _GONE
    ]
    pod["spec"]["tolerations"] = [*pod["spec"].get("tolerations", []), *lost]
    spec: Child = {
        "selector": {"matchLabels": service.selector(role)},
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
        "minReadySeconds": MIN_READY_SECONDS,
        "revisionHistoryLimit": 3,
        "progressDeadlineSeconds": 300,
        "template": pod,
    }
    if not front_end.autoscaling:
        # With an autoscaler the number is its to set: applying one would fight it.
        spec["replicas"] = front_end.replicas
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": service.metadata(role), "spec": spec}


def _container(front_end: FrontEnd) -> Child:
    ports = [
        {"name": name, "containerPort": inside, "protocol": "TCP"} for name, (_, inside) in front_end.ports.items()
    ]
    ports.append({"name": "admin", "containerPort": ADMIN_PORTS[front_end.name], "protocol": "TCP"})
    mounted = [
        *mounts(front_end.name),
        {"name": "run", "mountPath": RUN_FOLDER},
        *(
            {"name": reference.volume, "mountPath": reference.folder, "readOnly": True}
            for reference, _ in given(front_end.service.spec)
        ),
    ]
    return {"ports": ports, "volumeMounts": mounted}


def _volumes(front_end: FrontEnd) -> list[Child]:
    """The Secrets that the spec refers to."""
    return [
        {"name": "run", "emptyDir": {"medium": "Memory", "sizeLimit": RUN_SIZE}},
        *(
            {"name": reference.volume, "secret": {"secretName": name, "defaultMode": 0o440}}
            for reference, name in given(front_end.service.spec)
        ),
    ]


def mail_service(front_end: FrontEnd) -> Child:
    """The Service that clients connect to."""
    service, role, wanted = front_end.service, front_end.name, front_end.options["service"]
    ports = [
        {"name": name, "port": outside, "targetPort": name, "protocol": "TCP"}
        for name, (outside, _) in front_end.ports.items()
    ]
    passed_on = (
        "type",
        "externalTrafficPolicy",
        "loadBalancerClass",
        "loadBalancerSourceRanges",
        "ipFamilyPolicy",
        "ipFamilies",
    )
    spec = {name: wanted[name] for name in passed_on if name in wanted}
    meta = service.metadata(role, **({"annotations": wanted["annotations"]} if wanted.get("annotations") else {}))
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": meta,
        "spec": {**spec, "selector": service.selector(role), "ports": ports},
    }


def autoscaler(front_end: FrontEnd) -> Child:
    """Grows at once, shrinks slowly: every pod that goes takes its sessions with it."""
    service, role, wanted = front_end.service, front_end.name, front_end.autoscaling or {}
    slow = {"stabilizationWindowSeconds": 300, "policies": [{"type": "Pods", "value": 1, "periodSeconds": 120}]}
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": service.metadata(role),
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": service.object_name(role)},
            "minReplicas": wanted["minReplicas"],
            "maxReplicas": wanted["maxReplicas"],
            "metrics": _metrics(front_end),
            "behavior": {"scaleDown": slow},
        },
    }


def _metrics(front_end: FrontEnd) -> list[Child]:
    wanted, found = front_end.autoscaling or {}, []
    if "sessionsPercent" in wanted:
        sessions = front_end.options["maxsessions"] * wanted["sessionsPercent"] // 100
        target = {"type": "AverageValue", "averageValue": str(max(1, sessions))}
        found.append({"type": "Pods", "pods": {"metric": {"name": SESSIONS_METRIC}, "target": target}})
    if "cpuPercent" in wanted:
        target = {"type": "Utilization", "averageUtilization": wanted["cpuPercent"]}
        found.append({"type": "Resource", "resource": {"name": "cpu", "target": target}})
    return found


def disruption_budget(front_end: FrontEnd) -> Child:
    """One pod at a time may be evicted. There is none for a single pod: it would hold up every drain."""
    service, role = front_end.service, front_end.name
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": service.metadata(role),
        "spec": {
            "maxUnavailable": 1,
            "selector": {"matchLabels": service.selector(role)},
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
        },
    }
