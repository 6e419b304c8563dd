"""NetworkPolicies: only front ends reach the store; front ends reach the store, DNS and what the spec lists."""

from __future__ import annotations

from typing import Any, Final

from mailoperator.spec import ADMIN_PORTS, BACKUP, STORE, STORE_PORT, FrontEnd, MailService

Child = dict[str, Any]

_DNS: Final = {"ports": [{"protocol": "UDP", "port": 53}, {"protocol": "TCP", "port": 53}]}


def network_children(service: MailService) -> list[Child]:
    """One policy for each role; none where the spec wants none."""
    if not service.spec["network"]["policies"]:
        return []
    found = [store_policy(service), *(front_end_policy(each) for each in service.front_ends)]
    return [*found, *([backup_policy(service)] if service.backup else [])]


def store_policy(service: MailService) -> Child:
    """In: calls from front ends and backups, scrapes and probes. Out: names, and traces where they are wanted."""
    names = [*(each.name for each in service.front_ends), *([BACKUP] if service.backup else [])]
    callers = [{"podSelector": {"matchLabels": service.selector(name)}} for name in names]
    ingress: list[Child] = [{"ports": [_tcp(ADMIN_PORTS[STORE])]}]
    if callers:
        ingress.append({"from": callers, "ports": [_tcp(STORE_PORT)]})
    return _policy(service, STORE, ingress, [_DNS, *_collector(service)])


def front_end_policy(front_end: FrontEnd) -> Child:
    """In: clients, scrapes and probes. Out: the store, names, and what `network.egress` lists."""
    service = front_end.service
    opened = [_tcp(inside) for _, inside in front_end.ports.values()]
    egress = [_to_store(service), _DNS, *_collector(service), *service.spec["network"].get("egress", [])]
    return _policy(service, front_end.name, [{"ports": [*opened, _tcp(ADMIN_PORTS[front_end.name])]}], egress)


def _collector(service: MailService) -> list[Child]:
    """The way to the collector of traces, wherever its host is: policies know no names."""
    port = service.spec["trace"].get("endpoint", "").rpartition(":")[2]
    return [{"ports": [_tcp(int(port))]}] if port.isdecimal() else []


def backup_policy(service: MailService) -> Child:
    """In: nobody. Out: the store, and names."""
    return _policy(service, BACKUP, [], [_to_store(service), _DNS])


def _to_store(service: MailService) -> Child:
    return {"to": [{"podSelector": {"matchLabels": service.selector(STORE)}}], "ports": [_tcp(STORE_PORT)]}


def _policy(service: MailService, role: str, ingress: list[Child], egress: list[Child]) -> Child:
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": service.metadata(role),
        "spec": {
            "podSelector": {"matchLabels": service.selector(role)},
            "policyTypes": ["Ingress", "Egress"],
            "ingress": ingress,
            "egress": egress,
        },
    }


def _tcp(port: int) -> Child:
    return {"protocol": "TCP", "port": port}
