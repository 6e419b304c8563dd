"""What kopf watches for us. It is plumbing: an event only says which MailService wants a pass (`mailoperator.queue`).

Only `on.event`: it stores nothing on the objects and adds no finalizer; what it misses, the full pass sees.
Secrets are not watched (a watch would stream every one of the namespace): the pass reads those that it needs by name.
"""

from __future__ import annotations

import time
from typing import Any, Final

import kopf

from mailoperator.cluster import RESOURCES
from mailoperator.crd import GROUP, KIND, PLURAL, VERSION
from mailoperator.queue import Queue
from mailoperator.spec import MANAGER

MANAGED: Final = {"app.kubernetes.io/managed-by": MANAGER}
WATCHED: Final = (
    "Deployment", "StatefulSet", "Service", "ConfigMap", "CronJob", "PodDisruptionBudget", "NetworkPolicy",
    "HorizontalPodAutoscaler",
)  # fmt: skip
"""Kinds of objects whose change or deletion by somebody else is undone at once."""


class Watch:
    """Hands events on to the queue, and knows when the last one came."""

    def __init__(self, queue: Queue) -> None:
        self._queue = queue
        self.last = time.monotonic()

    @property
    def age(self) -> float:
        """Seconds since the last event."""
        return time.monotonic() - self.last

    async def resource(self, *, name: str, namespace: str | None, type: str, **_: Any) -> None:  # noqa: A002 - kopf's
        """A MailService is there, was changed or is gone."""
        self.last = time.monotonic()
        key = (namespace or "", name)
        if type == "DELETED":
            self._queue.forget(key)
        else:
            self._queue.add(key)

    async def child(self, *, namespace: str | None, meta: kopf.Meta, **_: Any) -> None:
        """An object that may be a MailService's."""
        self.last = time.monotonic()
        for owner in meta.get("ownerReferences", ()):
            if owner.get("kind") == KIND and owner.get("apiVersion", "").startswith(f"{GROUP}/"):
                self._queue.add((namespace or "", owner["name"]))


def registry_for(watch: Watch) -> kopf.OperatorRegistry:
    """kopf's table of handlers."""
    registry = kopf.OperatorRegistry()
    kopf.on.login(registry=registry, id="login")(_log_in)
    kopf.on.event(GROUP, VERSION, PLURAL, registry=registry, id="resource")(watch.resource)
    for group, version, plural in map(RESOURCES.__getitem__, WATCHED):
        kopf.on.event(group, version, plural, labels=MANAGED, registry=registry, id=plural)(watch.child)
    return registry


def _log_in(**given: Any) -> kopf.ConnectionInfo | None:
    """As the pod's ServiceAccount, or as KUBECONFIG says."""
    return kopf.login_with_service_account(**given) or kopf.login_with_kubeconfig(**given)


def settings_for(*, namespaced: bool) -> kopf.OperatorSettings:
    """kopf's settings: time-outs everywhere, no Events and no progress of its own.

    An operator of one namespace may not look at namespaces and definitions, and does not.
    """
    settings = kopf.OperatorSettings()
    settings.scanning.disabled = namespaced
    settings.posting.enabled = False
    settings.peering.standalone = True
    settings.networking.request_timeout = 15
    settings.networking.connect_timeout = 10
    settings.watching.connect_timeout = 10
    settings.watching.server_timeout = 290
    settings.watching.client_timeout = 300
    # Never used by event handlers; set from the first day, since a change makes everything look new.
    settings.persistence.finalizer = f"{GROUP}/none"
    settings.persistence.progress_storage = kopf.AnnotationsProgressStorage(prefix=f"kopf.{GROUP}")
    settings.persistence.diffbase_storage = kopf.AnnotationsDiffBaseStorage(prefix=f"kopf.{GROUP}")
    return settings
