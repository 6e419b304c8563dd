"""Everything that a MailService stands for, as objects of Kubernetes: pure functions from its spec to dicts."""

from __future__ import annotations

from typing import Any

from mailoperator.children.backup import backup_children
from mailoperator.children.frontends import front_end_children
from mailoperator.children.monitoring import monitoring_children
from mailoperator.children.network import network_children
from mailoperator.children.store import store_children
from mailoperator.podconfig import FILE, Values, backup_values, front_end_values, store_values, text
from mailoperator.spec import BACKUP, STORE, MailService

Child = dict[str, Any]


def children(service: MailService, kinds: frozenset[str] = frozenset()) -> list[Child]:
    """All objects but the certificates, in the order in which they are applied: what pods read comes before pods.

    `kinds` are optional kinds that the cluster knows (PodMonitor).
    """
    found = [*_accounts(service), *_configs(service), *network_children(service), *store_children(service)]
    found.extend(backup_children(service))
    for front_end in service.front_ends:
        found.extend(front_end_children(front_end))
    return [*found, *monitoring_children(service, kinds)]


def roles(service: MailService) -> list[str]:
    """The store and every front end that is enabled."""
    return [STORE, *(each.name for each in service.front_ends)]


def identities(service: MailService) -> list[str]:
    """The roles towards the store: whoever has a certificate."""
    return [*roles(service), *([BACKUP] if service.backup else [])]


def _accounts(service: MailService) -> list[Child]:
    """A ServiceAccount for each role, without a token: no pod of a site speaks to the API server."""
    return [
        {
            "apiVersion": "v1",
            "kind": "ServiceAccount",
            "metadata": service.metadata(role),
            "automountServiceAccountToken": False,
        }
        for role in identities(service)
    ]


def _configs(service: MailService) -> list[Child]:
    values: dict[str, Values] = {STORE: store_values(service)}
    values |= {each.name: front_end_values(each) for each in service.front_ends}
    if service.backup:
        values[BACKUP] = backup_values(service)
    return [
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": service.metadata(role, "config"),
            "data": {FILE: text(configured)},
        }
        for role, configured in values.items()
    ]
