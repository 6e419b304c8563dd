"""All dashboards."""

from __future__ import annotations

from typing import Final

from deploy.dashboards.directory import DIRECTORY
from deploy.dashboards.ldap import LDAP
from deploy.dashboards.operator import OPERATOR
from deploy.dashboards.overview import OVERVIEW
from deploy.dashboards.protocol import PROTOCOLS, protocol
from deploy.dashboards.store import STORE

BOARDS: Final = (
    OVERVIEW,
    *(protocol(name, title) for name, title in PROTOCOLS.items()),
    STORE,
    DIRECTORY,
    LDAP,
    OPERATOR,
)
