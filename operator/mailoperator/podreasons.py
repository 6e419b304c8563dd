"""Why a pod is not ready, out of what the kubelet and the scheduler say of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

Thing = Mapping[str, Any]

USUAL: Final = frozenset({"ContainerCreating", "PodInitializing"})
"""What every pod passes through; no reason worth telling."""
MAX_MESSAGE: Final = 200


def reason(pods: Iterable[Thing]) -> str:
    """The first pod's that has one, as `NAME: Reason: message`; "" where none has."""
    return next((f"{pod['metadata']['name']}: {why}" for pod in pods for why in _reasons(pod.get("status", {}))), "")


def _reasons(status: Thing) -> Iterator[str]:
    for container in (*status.get("initContainerStatuses", ()), *status.get("containerStatuses", ())):
        waiting = container.get("state", {}).get("waiting", {})
        if waiting.get("reason") and waiting["reason"] not in USUAL:
            yield _text(waiting)
    for condition in status.get("conditions", ()):
        if condition["type"] == "PodScheduled" and condition["status"] == "False":
            yield _text(condition)


def _text(found: Thing) -> str:
    message = str(found.get("message", ""))[:MAX_MESSAGE]
    return f"{found.get('reason', '')}: {message}" if message else str(found.get("reason", ""))
