"""MailServices as the API server hands them out: with the defaults of the schema filled in."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from mailoperator.crd import API_VERSION, KIND, definition
from mailoperator.spec import MailService

UID = "5a3c1e0e-0000-4000-8000-000000000001"


def resource(**spec: Any) -> dict[str, Any]:
    """A MailService with this spec, as it is stored."""
    schema = definition()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    meta = {"name": "mail", "namespace": "post", "uid": UID, "generation": 3}
    return {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "metadata": meta,
        "spec": _filled(schema, {"image": "registry.example/mailkeep:1", **spec}),
    }


def service(**spec: Any) -> MailService:
    """The same, as the operator reads it."""
    return MailService.read(resource(**spec))


def _filled(schema: dict[str, Any], value: Any) -> Any:
    """Defaults as a structural schema's are filled in: those of an object that is there, from the outside in."""
    if not isinstance(value, dict):
        return value
    filled = deepcopy(value)
    for name, part in schema.get("properties", {}).items():
        if name not in filled and "default" in part:
            filled[name] = deepcopy(part["default"])
        if name in filled:
            filled[name] = _filled(part, filled[name])
    return filled
