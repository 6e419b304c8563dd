"""What the pods of a role read: their configuration file, and the hash of that part of it which replaces pods.

Options that a running service takes up change the file alone; the kubelet brings it to the pod and the service reads it
again. Only the others are in the hash that stands in the pod's template.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any, Final

import yaml

from mailoperator.references import given
from mailoperator.schema import front_ends, groups, option_rows
from mailoperator.spec import ADMIN_PORTS, CONTAINER_PORTS, STORE, STORE_PORT, FrontEnd, MailService
from services.common.values import TABLE

EVERYWHERE: Final = "*"
CONFIG_FOLDER: Final = "/etc/mailkeep/config"
IDENTITY_FOLDER: Final = "/etc/mailkeep/identity"
DATA_FOLDER: Final = "/var/lib/mailkeep"
RUN_FOLDER: Final = f"{DATA_FOLDER}/run"
"""Where a front end keeps who is shut out (access.statefile). It is the pod's: a new container finds it again."""
FILE: Final = "mailkeep.yaml"

Values = dict[str, dict[str, Any]]


def shared_groups() -> list[str]:
    """Groups that are of no service: directory, tls, log, and what the table gains."""
    return [name for name in groups() if name not in (*front_ends(), STORE)]


def front_end_values(front_end: FrontEnd) -> Values:
    """Everything in the configuration of a front end's pods: group -> option -> value."""
    service = front_end.service
    inside = CONTAINER_PORTS[front_end.name]
    own = {**front_end.pod_options, "listen": EVERYWHERE, **_admin(front_end.name)}
    own.update(
        {name: port if front_end.opens(name) or not name.startswith("proxy") else 0 for name, port in inside.items()}
    )
    if "enablesslport" in own:
        own["enablesslport"] = front_end.tls_port
    others = {name: {"enable": False} for name in front_ends() if name != front_end.name}
    return {front_end.name: own, **others, STORE: _store_of_front_end(service), **_shared(service)}


def store_values(service: MailService) -> Values:
    """Everything in the configuration of the store's pod."""
    own = {
        **_given(service, STORE),
        "path": f"{DATA_FOLDER}/store",
        "listen": EVERYWHERE,
        "port": STORE_PORT,
        **_admin(STORE),
        "certfile": f"{IDENTITY_FOLDER}/tls.crt",
        "keyfile": f"{IDENTITY_FOLDER}/tls.key",
        "cafile": f"{IDENTITY_FOLDER}/ca.crt",
    }
    others = {name: {"enable": False} for name in front_ends()}
    return {**others, STORE: own, "log": _given(service, "log"), "trace": _given(service, "trace")}


def backup_values(service: MailService) -> Values:
    """What who asks for backups has to know: where the store is."""
    others = {name: {"enable": False} for name in front_ends()}
    return {**others, STORE: _store_of_front_end(service), "log": _given(service, "log")}


def _admin(role: str) -> dict[str, Any]:
    """Health and metrics: for the kubelet and for Prometheus, which come from outside of the pod."""
    return {"adminlisten": EVERYWHERE, "adminport": ADMIN_PORTS[role]}


def _store_of_front_end(service: MailService) -> dict[str, Any]:
    """What a front end has to know of the store: limits, where it is, and who to be towards it."""
    return {
        **_given(service, STORE),
        "target": f"{service.host(STORE)}:{STORE_PORT}",
        "cafile": f"{IDENTITY_FOLDER}/ca.crt",
        "clientcertfile": f"{IDENTITY_FOLDER}/tls.crt",
        "clientkeyfile": f"{IDENTITY_FOLDER}/tls.key",
    }


def _shared(service: MailService) -> Values:
    values = {group: _given(service, group) for group in shared_groups()}
    for reference, _ in given(service.spec):
        values[reference.group] |= reference.options()
    return values


def _given(service: MailService, group: str) -> dict[str, Any]:
    """The options of the group as the spec has them."""
    part: Mapping[str, Any] = service.spec[group]
    names = [row.name.partition(".")[2] for row in option_rows(group)]
    return {name: part[name] for name in names if name in part}


def text(values: Values) -> str:
    """The configuration file."""
    return "# Made by mailkeep-operator; a change here is undone.\n" + yaml.safe_dump(values, sort_keys=True)


def restart_hash(values: Values) -> str:
    """Of every value that a running service does not take up."""
    fixed = {
        f"{group}.{name}": value
        for group, options in values.items()
        for name, value in options.items()
        if not TABLE[f"{group}.{name}"].option.live
    }
    return hashlib.blake2b(json.dumps(fixed, sort_keys=True).encode(), digest_size=12).hexdigest()
