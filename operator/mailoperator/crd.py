"""The CustomResourceDefinition of MailService: `python -m mailoperator.crd` prints it.

One version, additive changes only. What the API server can refuse is refused there: every string, list and map has a
bound, so that the validation rules (CEL) have a bounded cost. Every field says what it does, for `kubectl explain`.
"""

from __future__ import annotations

import sys
from typing import Any, Final

import yaml

from mailoperator import rules
from mailoperator.references import REFERENCES
from mailoperator.schema import Schema, filled_object, front_ends, group_doc, groups, option_properties
from mailoperator.workload import front_end_properties, store_properties

GROUP: Final = "mailkeep.dev"
VERSION: Final = "v1"
API_VERSION: Final = f"{GROUP}/{VERSION}"
KIND: Final = "MailService"
PLURAL: Final = "mailservices"
CONDITION_TYPES: Final = (
    "Ready", "Available", "Progressing", "StoreReady", "ConfigValid", "CertificatesReady", "Paused",
)  # fmt: skip


def definition() -> dict[str, Any]:
    """The whole object."""
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{PLURAL}.{GROUP}"},
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": KIND,
                "listKind": f"{KIND}List",
                "plural": PLURAL,
                "singular": KIND.lower(),
                "shortNames": ["msvc"],
                "categories": ["all", "mailkeep"],
            },
            "versions": [_version()],
        },
    }


def _version() -> dict[str, Any]:
    return {
        "name": VERSION,
        "served": True,
        "storage": True,
        "subresources": {"status": {}},
        "additionalPrinterColumns": _columns(),
        "schema": {"openAPIV3Schema": _object()},
    }


def _columns() -> list[dict[str, Any]]:
    ready = '.status.conditions[?(@.type=="Ready")]'
    columns = [("Ready", "string", f"{ready}.status", 0), ("Reason", "string", f"{ready}.reason", 0)]
    columns += [(name.upper(), "string", f".status.services.{name}.ready", 0) for name in (*front_ends(), "store")]
    columns += [
        ("Sessions", "integer", ".status.sessionsLimit", 1),
        ("Version", "string", ".status.version", 1),
        ("Message", "string", f"{ready}.message", 1),
    ]
    printed = [
        {"name": name, "type": kind, "jsonPath": path, "priority": priority} for name, kind, path, priority in columns
    ]
    return [*printed, {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}]


def _object() -> Schema:
    return {
        "type": "object",
        "description": "A mail site: POP3, IMAP and delivery in front of one message store.",
        "required": ["spec"],
        "properties": {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": {"type": "object"},
            "spec": _spec(),
            "status": _status(),
        },
        "x-kubernetes-validations": rules.OBJECT,
    }


def _spec() -> Schema:
    return {
        "type": "object",
        "description": "What the site shall be. Options have the names of docs/options.md.",
        "required": ["image"],
        "properties": {"image": _image(), **{name: _group(name) for name in groups()}, **_site()},
        "x-kubernetes-validations": rules.SPEC,
    }


def _group(name: str) -> Schema:
    extra: dict[str, Schema] = {}
    own_rules = rules.GROUPS.get(name, [])
    if name in front_ends():
        extra, own_rules = front_end_properties(), [*rules.FRONT_END, *own_rules]
    elif name == "store":
        extra = store_properties()
    else:
        extra = _references(name)
    return filled_object(group_doc(name), {**option_properties(name), **extra}, own_rules)


def _image() -> Schema:
    return {
        "type": "string",
        "minLength": 1,
        "maxLength": 512,
        "description": "Image of every pod, best by digest. A change replaces the pods.",
    }


def _reference(description: str) -> Schema:
    name = {"type": "string", "minLength": 1, "maxLength": 253, "description": "Name of the Secret."}
    return {"type": "object", "description": description, "required": ["name"], "properties": {"name": name}}


def _references(group: str) -> dict[str, Schema]:
    """The fields of a group that name Secrets."""
    made: dict[str, Schema] = {}
    for reference in REFERENCES:
        owner, *steps, last = reference.field.split(".")
        if owner != group:
            continue
        into = made
        for step in steps:
            into = into.setdefault(step, {"type": "object", "description": "By reference.", "properties": {}})[
                "properties"
            ]
        into[last] = _reference(reference.description)
    return made


def _site() -> dict[str, Schema]:
    """Fields that are of no option group."""
    return {
        "imagePullPolicy": {
            "type": "string",
            "enum": ["Always", "IfNotPresent", "Never"],
            "default": "IfNotPresent",
            "description": "When the image is pulled.",
        },
        "imagePullSecrets": {
            "type": "array",
            "maxItems": 8,
            "description": "Secrets for pulling the image.",
            "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["name"],
            "items": _reference("A Secret."),
        },
        "network": _network(),
        "monitoring": _monitoring(),
    }


def _network() -> Schema:
    policies: Schema = {
        "type": "boolean",
        "default": True,
        "description": "Whether NetworkPolicies are made: only front ends reach the store, and front ends reach "
        "nothing but the store, DNS and what egress lists.",
    }
    egress: Schema = {
        "type": "array",
        "maxItems": 32,
        "description": "Further egress rules of the front ends, as in a NetworkPolicy.",
        "x-kubernetes-list-type": "atomic",
        "items": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
    }
    return filled_object("Who may reach whom.", {"policies": policies, "egress": egress})


def _monitoring() -> Schema:
    monitor: Schema = {
        "type": "boolean",
        "default": True,
        "description": "Whether a PodMonitor is made where the cluster knows that kind.",
    }
    labels: Schema = {
        "type": "object",
        "maxProperties": 16,
        "description": "Labels of the PodMonitor, where Prometheus selects by them.",
        "additionalProperties": {"type": "string", "maxLength": 63},
    }
    return filled_object("How Prometheus finds the pods.", {"podMonitor": monitor, "labels": labels})


def _status() -> Schema:
    text, number = {"type": "string"}, {"type": "integer", "format": "int64"}
    service = {
        "type": "object",
        "properties": {
            "ready": {**text, "description": "Ready and wanted pods, as 2/3."},
            "readyReplicas": number,
            "replicas": number,
            "sessionsLimit": {**number, "description": "Sessions that the ready pods take together."},
            "endpoint": {**text, "description": "Where clients inside the cluster connect."},
            "configHash": {**text, "description": "Of the options that replace pods."},
            "labelSelector": {**text, "description": "Selects the pods, for autoscalers."},
        },
    }
    return {
        "type": "object",
        "description": "What the site is, as the operator saw it last.",
        "properties": {
            "observedGeneration": number,
            "version": text,
            "sessionsLimit": number,
            "services": {"type": "object", "additionalProperties": service},
            "conditions": _conditions(),
        },
    }


def _conditions() -> Schema:
    text = {"type": "string"}
    return {
        "type": "array",
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["type"],
        "items": {
            "type": "object",
            "required": ["type", "status", "reason", "lastTransitionTime"],
            "properties": {
                "type": {**text, "enum": list(CONDITION_TYPES)},
                "status": {**text, "enum": ["True", "False", "Unknown"]},
                "reason": text,
                "message": text,
                "lastTransitionTime": {**text, "format": "date-time"},
                "observedGeneration": {"type": "integer", "format": "int64"},
            },
        },
    }


def text() -> str:
    """The definition as YAML, as it is shipped."""
    return "# Made by `make docs` from the table of options; do not edit.\n" + yaml.safe_dump(
        definition(), sort_keys=False, width=120
    )


if __name__ == "__main__":
    sys.stdout.write(text())
