"""A PodMonitor, where the cluster knows that kind: Prometheus scrapes every pod of the site by its admin port."""

from __future__ import annotations

from typing import Any, Final

from mailoperator.spec import MailService

Child = dict[str, Any]

POD_MONITOR: Final = "PodMonitor"
"""A kind of prometheus-operator's; a cluster may not know it."""

RELABELINGS: Final = [
    {"sourceLabels": [f"__meta_kubernetes_pod_label_app_kubernetes_io_{label}"], "targetLabel": target}
    for label, target in (("instance", "mailservice"), ("component", "component"))
]
"""The labels by which rules and dashboards (deploy/monitoring) tell sites and services apart."""


def monitoring_children(service: MailService, kinds: frozenset[str]) -> list[Child]:
    """None where the kind is not known or not wanted."""
    wanted = service.spec["monitoring"]
    if POD_MONITOR not in kinds or not wanted["podMonitor"]:
        return []
    meta = service.metadata("metrics")
    meta["labels"] = {**wanted.get("labels", {}), **meta["labels"]}
    by_instance = {"app.kubernetes.io/name": "mailkeep", "app.kubernetes.io/instance": service.name}
    return [
        {
            "apiVersion": "monitoring.coreos.com/v1",
            "kind": POD_MONITOR,
            "metadata": meta,
            "spec": {
                "selector": {"matchLabels": by_instance},
                "podMetricsEndpoints": [
                    {"port": "admin", "path": "/metrics", "interval": "30s", "relabelings": RELABELINGS}
                ],
            },
        }
    ]
