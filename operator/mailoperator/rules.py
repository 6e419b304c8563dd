"""Validation rules (CEL) of MailService: what the API server refuses, with the message that it gives."""

from __future__ import annotations

from typing import Any, Final

Rule = dict[str, Any]


def _rule(rule: str, message: str, **more: str) -> Rule:
    return {"rule": rule, "message": message, **more}


MAX_NAME: Final = 40
"""Longest name of a MailService: its objects' names are longer, and labels end at 63 characters."""

OBJECT: Final[list[Rule]] = [
    _rule(f"size(self.metadata.name) <= {MAX_NAME}", f"the name may have at most {MAX_NAME} characters"),
    _rule("self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')", "the name must be a DNS label"),
]

SPEC: Final[list[Rule]] = [
    _rule(
        "size(self.access.trustedproxies) > 0 || [self.pop.proxyport, self.pop.proxysslport, self.imap.proxyport, "
        "self.imap.proxysslport, self.lmtp.proxyport].all(port, port == 0)",
        "a proxyport wants access.trustedproxies: the networks of the balancers that are believed",
    )
]

FRONT_END: Final[list[Rule]] = [
    _rule(
        "!(has(self.replicas) && has(self.numprocesses)) || self.replicas == self.numprocesses",
        "numprocesses is the default of replicas: set one of them, or both the same",
    ),
    _rule(
        "(has(self.replicas) ? 1 : 0) + (has(self.capacity) ? 1 : 0) + (has(self.autoscaling) ? 1 : 0) <= 1",
        "set only one of replicas, capacity and autoscaling",
    ),
]

_TWO_PORTS: Final = _rule(
    "!self.enablesslport || self.port != self.sslport", "port and sslport must differ: one Service has both"
)

GROUPS: Final[dict[str, list[Rule]]] = {
    "pop": [_TWO_PORTS],
    "imap": [_TWO_PORTS],
    "http": [_TWO_PORTS],
}

AUTOSCALING: Final[list[Rule]] = [
    _rule("self.maxReplicas >= self.minReplicas", "maxReplicas must not be below minReplicas"),
    _rule(
        "has(self.sessionsPercent) || has(self.cpuPercent)",
        "set sessionsPercent or cpuPercent: without a target nothing is scaled",
    ),
]

STORAGE: Final[list[Rule]] = [
    _rule(
        "has(self.storageClassName) == has(oldSelf.storageClassName) && "
        "(!has(self.storageClassName) || self.storageClassName == oldSelf.storageClassName)",
        "storageClassName cannot be changed",
    ),
    _rule("quantity(self.size).compareTo(quantity(oldSelf.size)) >= 0", "the store's volume cannot be made smaller"),
]

QUANTITY: Final[list[Rule]] = [_rule("isQuantity(self)", "must be a quantity such as 10Gi")]

SERVICE: Final[list[Rule]] = [
    _rule(
        "self.type != 'ClusterIP' || !(has(self.externalTrafficPolicy) || has(self.loadBalancerSourceRanges) || "
        "has(self.loadBalancerClass))",
        "externalTrafficPolicy, loadBalancerClass and loadBalancerSourceRanges want type NodePort or LoadBalancer",
    ),
    _rule("!has(self.loadBalancerClass) || self.type == 'LoadBalancer'", "loadBalancerClass wants type LoadBalancer"),
]
