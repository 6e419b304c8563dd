"""One operator leads: the holder of a Lease (coordination.k8s.io). The others take over when it is stale."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final, Protocol

from lightkube import AsyncClient
from lightkube.core.exceptions import ApiError
from lightkube.generic_resource import create_namespaced_resource

_log = logging.getLogger(__name__)

LEASE_SECONDS: Final = 15
RENEW_SECONDS: Final = 5.0
RETRY_SECONDS: Final = 2.0
_CONFLICT: Final = 409
_NOT_FOUND: Final = 404
_LEASES: Final = create_namespaced_resource("coordination.k8s.io", "v1", "Lease", "leases")

Lease = dict[str, Any]


class Leases(Protocol):
    """The one Lease."""

    async def get(self) -> Lease | None:
        """As it is; None where there is none."""

    async def put(self, lease: Lease) -> bool:
        """Write it; False where somebody else was first."""


class ApiLeases:
    """`Leases` at the API server: `resourceVersion` decides who was first."""

    def __init__(self, client: AsyncClient, namespace: str, name: str) -> None:
        self._client = client
        self._namespace = namespace
        self._name = name

    async def get(self) -> Lease | None:
        """See `Leases`."""
        try:
            found: Any = await self._client.get(_LEASES, self._name, namespace=self._namespace)
        except ApiError as error:
            if error.status.code == _NOT_FOUND:
                return None
            raise
        lease: Lease = found.to_dict()
        return lease

    async def put(self, lease: Lease) -> bool:
        """See `Leases`."""
        lease["metadata"] = {**lease.get("metadata", {}), "name": self._name, "namespace": self._namespace}
        thing = _LEASES.from_dict({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", **lease})
        try:
            await (
                self._client.replace(thing) if "resourceVersion" in lease["metadata"] else self._client.create(thing)
            )
        except ApiError as error:
            if error.status.code == _CONFLICT:
                return False
            raise
        return True


class Leader:
    """Takes the lease when it can, keeps it, and gives it back."""

    def __init__(self, leases: Leases, me: str, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._leases = leases
        self._me = me
        self._clock = clock
        self.leading = False

    async def acquire(self) -> None:
        """Wait until the lease is ours."""
        while not await self._attempt():  # noqa: ASYNC110 - the lease is at the API server
            await asyncio.sleep(RETRY_SECONDS)
        self.leading = True
        _log.info("leading as %s", self._me)

    async def keep(self) -> None:
        """Renew the lease; returns when it is lost: whoever leads now must find us still."""
        renewed = self._clock()
        while (self._clock() - renewed).total_seconds() < LEASE_SECONDS - RENEW_SECONDS:
            await asyncio.sleep(RENEW_SECONDS)
            try:
                if not await self._attempt():
                    break
                renewed = self._clock()
            except Exception as error:
                _log.warning("the lease could not be renewed: %s", type(error).__name__)
        self.leading = False
        _log.error("the lease is lost")

    async def release(self) -> None:
        """Let the next one take over at once."""
        self.leading = False
        lease = await self._leases.get()
        if lease is not None and lease["spec"].get("holderIdentity") == self._me:
            lease["spec"]["holderIdentity"] = ""
            await self._leases.put(lease)

    async def _attempt(self) -> bool:
        """Take or renew; whether it is ours now."""
        lease = await self._leases.get()
        now = self._clock()
        if lease is None:
            return await self._leases.put({"spec": self._spec(now, 0)})
        held = lease["spec"]
        if held.get("holderIdentity") not in ("", None, self._me) and not _stale(held, now):
            return False
        changes = held.get("leaseTransitions", 0) + (held.get("holderIdentity") != self._me)
        return await self._leases.put({**lease, "spec": {**held, **self._spec(now, changes)}})

    def _spec(self, now: datetime, changes: int) -> dict[str, Any]:
        return {
            "holderIdentity": self._me,
            "leaseDurationSeconds": LEASE_SECONDS,
            "renewTime": now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
            "leaseTransitions": changes,
        }


def _stale(held: dict[str, Any], now: datetime) -> bool:
    renewed = held.get("renewTime")
    if not renewed:
        return True
    age = now - datetime.fromisoformat(renewed)
    return age.total_seconds() > int(held.get("leaseDurationSeconds", LEASE_SECONDS))
