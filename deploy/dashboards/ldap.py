"""The LDAP servers behind the directory."""

from __future__ import annotations

from typing import Final

from deploy.dashboards.panels import OURS, Board, Panel, Query, Row, panel
from deploy.dashboards.queries import PER_SECOND, quantile, rate

_CALLS: Final = "mailkeep_ldap_call_seconds"

LDAP: Final = Board(
    "ldap",
    "Mailkeep / LDAP",
    "For sites whose directory is LDAP: its servers, and the connections to them.",
    (
        Row(
            "Servers",
            (
                Panel(
                    "Servers",
                    "How many there are, and how many answered when they were last asked.",
                    (
                        Query(f"max(mailkeep_ldap_servers{{{OURS}}})", "there are"),
                        Query(f"mailkeep_ldap_servers_up{{{OURS}}}", "answer {{instance}}"),
                    ),
                ),
                panel(
                    "Questions",
                    "Searches, binds and compares, by result; reach: whether a server answers.",
                    rate(f"{_CALLS}_count", "operation, result"),
                    "{{operation}} {{result}}",
                    PER_SECOND,
                ),
                panel(
                    "Time",
                    "99 %, with the wait for a connection.",
                    quantile("0.99", _CALLS, "operation"),
                    "{{operation}}",
                    "s",
                ),
                Panel(
                    "Pool",
                    "Questions that a server is answering, and that wait for a connection.",
                    (
                        Query(f"mailkeep_ldap_calls_running{{{OURS}}}", "running {{instance}}"),
                        Query(f"mailkeep_ldap_calls_waiting{{{OURS}}}", "waiting {{instance}}"),
                    ),
                ),
            ),
        ),
    ),
    whose="mailkeep_ldap_servers",
)
