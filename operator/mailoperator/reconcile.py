"""One pass over a MailService: look, build, apply, prune, tell. It can be run at any time, and again.

Rules:
1. Level, not edge: a pass looks at what is and brings about what shall be, whatever made it run.
2. With an input that cannot be used nothing is applied: the pods go on with what they have, and `ConfigValid` says why.
3. Whatever a MailService owns and does not want any more is deleted; volumes and their claims never.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from mailoperator import events, inputs, pki
from mailoperator.children import children, identities, roles
from mailoperator.cluster import OPTIONAL, Cluster, Refused
from mailoperator.crd import KIND
from mailoperator.pki import Identity
from mailoperator.podreasons import reason
from mailoperator.spec import MANAGER, STORE, MailService
from mailoperator.status import Seen, is_complete, status_object
from services import __version__

Thing = dict[str, Any]

PRUNED: Final = (
    "CronJob", "HorizontalPodAutoscaler", "PodDisruptionBudget", "PodMonitor", "Deployment", "StatefulSet", "Service",
    "NetworkPolicy", "ConfigMap", "Secret", "ServiceAccount",
)  # fmt: skip
"""Kinds of which a MailService may own objects, in the order in which they are deleted."""


class Reconciler:
    """Brings MailServices about. `clock` gives the time, with its zone."""

    def __init__(self, cluster: Cluster, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._cluster = cluster
        self._clock = clock

    async def reconcile(self, namespace: str, name: str) -> bool:
        """One pass; whether all is as it shall be (else it is worth another look soon). Raises what `Cluster` does."""
        found = await self._cluster.get(KIND, namespace, name)
        if found is None or found["metadata"].get("deletionTimestamp"):
            return True
        service = MailService.read(found)
        problems = await self._problems(service)
        if not problems and not service.paused:
            problems = await self._apply(service)
        return await self._tell(service, found, problems)

    async def _problems(self, service: MailService) -> list[str]:
        names = inputs.secrets_of(service).values()
        secrets = {name: await self._cluster.get("Secret", service.namespace, name) for name in names}
        return inputs.problems(service, secrets, self._clock())

    async def _apply(self, service: MailService) -> list[str]:
        """Bring everything about; what could not be, in words."""
        known = await self._cluster.known_kinds(service.namespace)
        wanted, problems = [*await self._secrets(service), *children(service, known)], []
        for thing in wanted:
            if thing["kind"] == "StatefulSet":
                problems += await self._grow(service, thing)
            await self._cluster.apply(thing)
        await self._prune(service, wanted, known)
        return problems

    async def _secrets(self, service: MailService) -> list[Thing]:
        """The Secrets of the authority and of every role."""
        now = self._clock()
        authority = pki.authority(f"mailkeep {service.name}", now, await self._held(service, "ca"))
        signer, made = pki.signer(authority, now), [self._secret(service, "ca", "", authority)]
        for role in identities(service):
            hosts = [service.host(role), f"{service.host(role)}.cluster.local"] if role == STORE else []
            current = await self._held(service, role, "identity")
            made.append(
                self._secret(service, role, "identity", pki.identity(Identity(role, hosts), now, signer, current))
            )
        return made

    async def _held(self, service: MailService, role: str, what: str = "") -> dict[str, bytes] | None:
        secret = await self._cluster.get("Secret", service.namespace, service.object_name(role, what))
        return None if secret is None else inputs.data_of(secret)

    def _secret(self, service: MailService, role: str, what: str, data: Mapping[str, bytes]) -> Thing:
        return {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": service.metadata(role, what),
            "type": "Opaque",
            "data": {key: base64.b64encode(value).decode() for key, value in data.items()},
        }

    async def _grow(self, service: MailService, wanted: Thing) -> list[str]:
        """A StatefulSet's claims cannot be changed: the claim itself grows, and the set is made anew around its pod.

        Where the claim cannot grow the set keeps the size that it has, so that all else still comes about.
        """
        name = wanted["metadata"]["name"]
        there = await self._cluster.get("StatefulSet", service.namespace, name)
        if there is None or _claimed(there) == _claimed(wanted):
            return []
        claim = {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {"name": f"data-{name}-0", "namespace": service.namespace},
            "spec": {"resources": {"requests": {"storage": _claimed(wanted)}}},
        }
        try:
            await self._cluster.apply(claim)
        except Refused as refused:
            problem = f"store.storage.size: the claim cannot become {_claimed(wanted)}: {refused}"
            wanted["spec"]["volumeClaimTemplates"] = there["spec"]["volumeClaimTemplates"]
            return [problem]
        await self._cluster.delete("StatefulSet", service.namespace, name, orphan=True)
        return []

    async def _prune(self, service: MailService, wanted: list[Thing], known: frozenset[str]) -> None:
        keep = {(thing["kind"], thing["metadata"]["name"]) for thing in wanted}
        labels = {"app.kubernetes.io/instance": service.name, "app.kubernetes.io/managed-by": MANAGER}
        for kind in PRUNED:
            if kind in OPTIONAL - known:
                continue
            for thing in await self._cluster.list(kind, service.namespace, labels):
                name = thing["metadata"]["name"]
                if (kind, name) not in keep and _is_owned(thing, service):
                    await self._cluster.delete(kind, service.namespace, name)

    async def _tell(self, service: MailService, found: Thing, problems: list[str]) -> bool:
        workloads = {role: await self._workload(service, role) for role in roles(service)}
        known = {role: each for role, each in workloads.items() if each is not None}
        seen = Seen(known, problems, await self._reasons(service, known), version=__version__)
        now = self._clock().astimezone(UTC)
        previous = found.get("status") or {}
        told = status_object(service, seen, previous, now.strftime("%Y-%m-%dT%H:%M:%SZ"))
        if told["status"] != previous:
            await self._cluster.apply_status(told)
            for event in events.of_changes(service, previous, told["status"], now):
                await self._cluster.create(event)
        ready = next(each for each in told["status"]["conditions"] if each["type"] == "Ready")
        return bool(ready["status"] == "True")

    async def _reasons(self, service: MailService, workloads: Mapping[str, Thing]) -> dict[str, str]:
        """Why pods of a role are not ready; asked for only where some are not."""
        short = [role for role, each in workloads.items() if not is_complete(each)]
        return {
            role: reason(await self._cluster.list("Pod", service.namespace, service.selector(role))) for role in short
        }

    async def _workload(self, service: MailService, role: str) -> Thing | None:
        kind = "StatefulSet" if role == STORE else "Deployment"
        return await self._cluster.get(kind, service.namespace, service.object_name(role))


def _claimed(stateful_set: Thing) -> str:
    """The size of its claim."""
    return str(stateful_set["spec"]["volumeClaimTemplates"][0]["spec"]["resources"]["requests"]["storage"])


def _is_owned(thing: Thing, service: MailService) -> bool:
    return any(each.get("uid") == service.uid for each in thing["metadata"].get("ownerReferences", ()))
