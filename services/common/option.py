"""What the table of options says of one option, and the kinds of options that several groups have."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

METADATA_KEY: Final = "option"
LOG_LEVELS: Final = ("debug", "info", "warning", "error")
LOG_SYNONYMS: Final = (("information", "info"), ("notice", "info"), ("critical", "error"))
"""Messaging Server's other levels."""


@dataclass(frozen=True, slots=True)
class Option:
    """What the table says of an option beside its type and default.

    `low` and `high` bound numbers (and lengths of strings); `floor` is a default that may be raised but not lowered,
    and `low` equals it then. `choices` are the allowed strings. `live`: a running service takes a change in place.
    `path`: relative values are below the data folder. `secret`: never shown. `syntax`: a row of
    `services.common.values.SYNTAXES` that a text has to satisfy.
    """

    doc: str
    low: int | None = None
    high: int | None = None
    floor: bool = False
    choices: tuple[str, ...] = ()
    synonyms: tuple[tuple[str, str], ...] = ()
    unit: str = ""
    live: bool = False
    path: bool = False
    port: bool = False
    secret: bool = False
    legacy: str = ""
    syntax: str = ""


def option(default: Any, doc: str, **rest: Any) -> Any:
    """A dataclass field that carries its row of the table."""
    metadata = {METADATA_KEY: Option(doc, **rest)}
    if isinstance(default, (list, dict)):
        return field(default_factory=lambda: type(default)(default), metadata=metadata)
    return field(default=default, metadata=metadata)


def listening_port(default: int, doc: str, legacy: str = "") -> Any:
    """A TCP port to listen on; taking a new one needs a restart."""
    return option(default, doc, low=1, high=65535, port=True, legacy=legacy)


def admin_port(default: int) -> Any:
    """The port of a service's health and metrics pages."""
    return option(default, "Port of /healthz, /readyz and /metrics; 0 opens none.", low=0, high=65535, port=True)


def admin_listen() -> Any:
    """The address of these pages: what they tell is for those who run the service, not for its clients."""
    return option(
        "127.0.0.1",
        "Address that the admin port listens on; * where another machine (a kubelet, Prometheus) asks it.",
        syntax="address",
    )


def proxy_port(doc: str) -> Any:
    """A port for balancers; what they are believed is up to `access.trustedproxies`."""
    return option(0, doc, low=0, high=65535, port=True)


def connection_limits() -> Any:
    """Limits of the sessions of an address, by the network that it is in."""
    return option(
        (), "Sessions from one address by where it is, such as `10.0.0.0|255.0.0.0:500`; the first "
        "realm that holds it counts, and where none does maxsessionsperaddress.", live=True, syntax="realm",
    )  # fmt: skip


def penalty() -> Any:
    """What a login that failed costs the next ones of its address."""
    return option(
        2, "Seconds that a wrong name or password adds to the wait of the next logins from its address; 0 adds none.",
        low=0, high=600, unit="s", live=True,
    )  # fmt: skip


def allowing_filters(service: str) -> Any:
    """Filters for clients of the service that may connect."""
    return option(
        (), f"Filters for clients that may connect, such as `{service}: 192.0.2.0/24`; they are looked at first.",
        live=True, syntax="filter",
    )  # fmt: skip


def refusing_filters() -> Any:
    """Filters for clients that may not."""
    return option(
        (), "Filters for clients that may not connect, such as `ALL: ALL EXCEPT 10.1.`.", live=True, syntax="filter"
    )
