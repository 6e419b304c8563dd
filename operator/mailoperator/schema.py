"""Options as OpenAPI properties: the part of the MailService schema that comes from the table of options.

An option keeps its name, bounds, default and documentation (`services/common/options.py`). What belongs to the pod and
not to the site (addresses, ports inside the container, paths, secrets) is the operator's to set and is no property.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any, Final, get_type_hints

from services.common.options import Configuration, ServiceOptions
from services.common.values import MAX_TEXT, TABLE, Row

Schema = dict[str, Any]

MAX_ITEMS: Final = 256
"""Entries of a list option: bounded, so that validation rules over it have a bounded cost."""
SIZE_PATTERN: Final = r"^[0-9]{1,18}([KMGT])?$"
URL_PATTERN: Final = r"^(https://[^\x00-\x20\x7f]*)?$"
PRINTABLE: Final = r"^[^\x00-\x1f\x7f]*$"
"""No control characters: a line break in a banner would be a line of its own to the client."""

RESERVED: Final = frozenset({"listen", "adminlisten", "adminport", "socket", "target", "bodyaccess"})
"""Names, in whatever group, that the operator sets for the pods."""
RESERVED_ROWS: Final = frozenset({"store.port"})
URLS: Final = frozenset({"sasl.oauthkeys"})
"""Options that are a file or an https URL: here the URL alone; a file comes by reference."""
SERVICE_PORTS: Final = ("port", "sslport", "proxyport", "proxysslport")
"""Options of a front end that are ports of its Service; containers listen on high ports of their own."""
WITHOUT_DEFAULT: Final = frozenset({"numprocesses"})
"""Options whose default the API server must not fill in: whether they were given means something."""


def groups() -> list[str]:
    """The groups of options, in the order of the table."""
    return [each.name for each in fields(Configuration) if each.name != "data"]


def front_ends() -> list[str]:
    """The groups that are services which clients connect to."""
    hints = get_type_hints(Configuration)
    return [name for name in groups() if issubclass(hints[name], ServiceOptions)]


def group_doc(group: str) -> str:
    """What the group is for, in a line."""
    return (get_type_hints(Configuration)[group].__doc__ or "").splitlines()[0]


def is_reserved(row: Row) -> bool:
    """Whether the operator sets the option, not the MailService."""
    if row.name in URLS:
        return False
    name = row.name.partition(".")[2]
    return name in RESERVED or row.name in RESERVED_ROWS or row.option.path or row.option.secret


def option_rows(group: str) -> list[Row]:
    """The options of the group that a MailService may set."""
    return [row for row in TABLE.values() if row.group == group and not is_reserved(row)]


def option_properties(group: str) -> dict[str, Schema]:
    """Property name -> schema for the options of the group."""
    return {row.name.partition(".")[2]: option_property(row) for row in option_rows(group)}


def option_property(row: Row) -> Schema:
    """One option."""
    schema: Schema = {"description": _description(row), **_KINDS[row.type](row)}
    if row.name.partition(".")[2] not in WITHOUT_DEFAULT:
        schema["default"] = list(row.default) if isinstance(row.default, tuple) else row.default
    return schema


def _description(row: Row) -> str:
    legacy = f" Messaging Server: {row.legacy}." if row.legacy else ""
    effect = "Running pods take a change." if row.option.live else "A change replaces the pods."
    if row.name.partition(".")[2] in SERVICE_PORTS:
        effect = "A port of the Service: another number touches no pod."
    return f"{row.option.doc} Allowed: {row.allowed}. {effect}{legacy}"


def _number(row: Row) -> Schema:
    option = row.option
    if option.unit == "bytes":
        return {
            "x-kubernetes-int-or-string": True,
            "anyOf": [{"type": "integer"}, {"type": "string"}],
            "pattern": SIZE_PATTERN,
            "x-kubernetes-validations": [_size_rule(row)],
        }
    bounds = {"minimum": option.low, "maximum": option.high}
    return {
        "type": "integer",
        "format": "int64",
        **{name: value for name, value in bounds.items() if value is not None},
    }


def _size_rule(row: Row) -> Schema:
    low, high = row.option.low or 0, row.option.high or 1 << 62
    return {
        "rule": f"type(self) == string || (self >= {low} && self <= {high})",
        "message": f"{row.name} must be {row.allowed}",
    }


def _text(row: Row) -> Schema:
    option = row.option
    if option.choices:
        return {"type": "string", "enum": list(option.choices)}
    pattern = URL_PATTERN if row.name in URLS else PRINTABLE
    return {"type": "string", "maxLength": option.high or MAX_TEXT, "pattern": pattern}


def _list(row: Row) -> Schema:
    items = {"type": "string", "maxLength": MAX_TEXT, "pattern": PRINTABLE}
    return {"type": "array", "maxItems": MAX_ITEMS, "x-kubernetes-list-type": "atomic", "items": items}


_KINDS: Final[Mapping[type, Callable[[Row], Schema]]] = {
    int: _number,
    bool: lambda _: {"type": "boolean"},
    str: _text,
    tuple: _list,
}


def filled_object(
    description: str, properties: Mapping[str, Schema], validations: list[Schema] | None = None
) -> Schema:
    """An object that is there when nobody gave it: its default holds the defaults of its fields.

    Without it the API server would not fill in what is below; an empty one would not satisfy rules over the fields.
    """
    defaults = {name: schema["default"] for name, schema in properties.items() if "default" in schema}
    schema: Schema = {"type": "object", "description": description, "default": defaults, "properties": dict(properties)}
    return {**schema, "x-kubernetes-validations": validations} if validations else schema
