"""The API server as the operator uses it: get, list, apply on the server's side, delete. One place for all calls.

Objects are plain dicts, as the builders make them: what this client does not know is passed on as it is.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import Any, Final, Protocol

import httpx2
from lightkube import AsyncClient
from lightkube.core.exceptions import ApiError
from lightkube.generic_resource import create_namespaced_resource
from lightkube.types import CascadeType

from mailoperator.children.monitoring import POD_MONITOR
from mailoperator.crd import GROUP, KIND, PLURAL, VERSION
from mailoperator.spec import MANAGER

Thing = dict[str, Any]

CALLS_AT_ONCE: Final = 8
"""Calls under way; the API server has others to serve."""
CALL_SECONDS: Final = 15.0
NOT_FOUND: Final = 404
REFUSALS: Final = frozenset({403, 422})
"""What the API server says of an object that it will not take however often it is asked."""

RESOURCES: Final[Mapping[str, tuple[str, str, str]]] = {
    "ConfigMap": ("", "v1", "configmaps"),
    "Pod": ("", "v1", "pods"),
    "Secret": ("", "v1", "secrets"),
    "PersistentVolumeClaim": ("", "v1", "persistentvolumeclaims"),
    "Service": ("", "v1", "services"),
    "ServiceAccount": ("", "v1", "serviceaccounts"),
    "Deployment": ("apps", "v1", "deployments"),
    "StatefulSet": ("apps", "v1", "statefulsets"),
    "HorizontalPodAutoscaler": ("autoscaling", "v2", "horizontalpodautoscalers"),
    "CronJob": ("batch", "v1", "cronjobs"),
    "Event": ("events.k8s.io", "v1", "events"),
    POD_MONITOR: ("monitoring.coreos.com", "v1", "podmonitors"),
    "NetworkPolicy": ("networking.k8s.io", "v1", "networkpolicies"),
    "PodDisruptionBudget": ("policy", "v1", "poddisruptionbudgets"),
    KIND: (GROUP, VERSION, PLURAL),
}
"""Every kind that the operator touches: its group, version and plural. RBAC in the chart lists the same."""
KINDS: Final[Mapping[str, Any]] = {
    kind: create_namespaced_resource(group, version, kind, plural)
    for kind, (group, version, plural) in RESOURCES.items()
}
"""The same as lightkube's classes."""
OPTIONAL: Final = frozenset({POD_MONITOR})
"""Kinds that a cluster may not know."""
KNOWN_SECONDS: Final = 300.0
"""For how long what the cluster knows is not asked again."""


class Refused(Exception):  # noqa: N818 - an answer, not a fault
    """The API server does not take an object; the message is its own."""


class Cluster(Protocol):
    """What the reconciler asks of a cluster. Raises Refused, ApiError and the transport's errors."""

    async def get(self, kind: str, namespace: str, name: str) -> Thing | None:
        """An object, None where there is none."""

    async def list(self, kind: str, namespace: str | None, labels: Mapping[str, str]) -> list[Thing]:
        """Objects with these labels, in one namespace or in all."""

    async def apply(self, thing: Thing) -> Thing:
        """Create or change an object: the fields given are ours, whoever had them."""

    async def apply_status(self, thing: Thing) -> None:
        """The same for the status of a MailService."""

    async def create(self, thing: Thing) -> None:
        """Create an object that is not there yet."""

    async def delete(self, kind: str, namespace: str, name: str, *, orphan: bool = False) -> None:
        """Delete an object; one that is gone is none's error. `orphan`: what it owns stays."""

    async def known_kinds(self, namespace: str) -> frozenset[str]:
        """Which of the kinds in OPTIONAL this cluster has."""


class ApiCluster:
    """`Cluster` over lightkube."""

    def __init__(self, client: AsyncClient) -> None:
        self._client = client
        self._places = asyncio.Semaphore(CALLS_AT_ONCE)
        self._known: frozenset[str] = frozenset()
        self._known_until = 0.0

    async def get(self, kind: str, namespace: str, name: str) -> Thing | None:
        """See `Cluster`."""
        async with self._call():
            try:
                return _plain(await self._client.get(KINDS[kind], name, namespace=namespace))
            except ApiError as error:
                if error.status.code == NOT_FOUND:
                    return None
                raise

    async def list(self, kind: str, namespace: str | None, labels: Mapping[str, str]) -> list[Thing]:
        """See `Cluster`."""
        async with self._call():
            found = self._client.list(KINDS[kind], namespace=namespace or "*", labels=dict(labels))
            return [_plain(each) async for each in found]

    async def apply(self, thing: Thing) -> Thing:
        """See `Cluster`."""
        async with self._call():
            try:
                return _plain(await self._client.apply(KINDS[thing["kind"]](thing), field_manager=MANAGER, force=True))
            except ApiError as error:
                if error.status.code in REFUSALS:
                    raise Refused(error.status.message) from error
                raise

    async def apply_status(self, thing: Thing) -> None:
        """See `Cluster`."""
        meta = thing["metadata"]
        async with self._call():
            await self._client.apply(
                KINDS[KIND].Status(thing), meta["name"], namespace=meta["namespace"], field_manager=MANAGER, force=True
            )

    async def create(self, thing: Thing) -> None:
        """See `Cluster`."""
        async with self._call():
            await self._client.create(KINDS[thing["kind"]](thing))

    async def delete(self, kind: str, namespace: str, name: str, *, orphan: bool = False) -> None:
        """See `Cluster`."""
        cascade = CascadeType.ORPHAN if orphan else CascadeType.BACKGROUND
        async with self._call():
            try:
                await self._client.delete(KINDS[kind], name, namespace=namespace, cascade=cascade)
            except ApiError as error:
                if error.status.code != NOT_FOUND:
                    raise

    async def known_kinds(self, namespace: str) -> frozenset[str]:
        """See `Cluster`. Asked by listing, which needs no right beyond that on the kind; kept for a while."""
        if time.monotonic() >= self._known_until:
            self._known = frozenset([kind for kind in OPTIONAL if await self._is_known(kind, namespace)])
            self._known_until = time.monotonic() + KNOWN_SECONDS
        return self._known

    async def _is_known(self, kind: str, namespace: str) -> bool:
        async with self._call():
            found = self._client.list(KINDS[kind], namespace=namespace, labels={"app.kubernetes.io/name": "none"})
            try:
                async for _ in found:
                    pass
            except httpx2.HTTPStatusError as error:
                # Of a kind that it does not know the API server says so in plain text, which is no ApiError.
                if error.response.status_code == NOT_FOUND:
                    return False
                raise
            return True

    def _call(self) -> _Call:
        return _Call(self._places)


class _Call:
    """A place among the calls, and a bound of its time."""

    def __init__(self, places: asyncio.Semaphore) -> None:
        self._places = places
        self._clock = asyncio.timeout(None)

    async def __aenter__(self) -> None:
        await self._places.acquire()
        await self._clock.__aenter__()
        self._clock.reschedule(asyncio.get_running_loop().time() + CALL_SECONDS)

    async def __aexit__(self, *raised: Any) -> None:
        try:
            await self._clock.__aexit__(*raised)
        finally:
            self._places.release()


def _plain(thing: Any) -> Thing:
    """As a dict; lightkube gives metadata as an object of its own."""
    return thing.to_dict() if hasattr(thing, "to_dict") else dict(thing)
