"""One dashboard for each protocol, all of the same form."""

from __future__ import annotations

from typing import Final

from deploy.dashboards.panels import OURS, Board, Panel, Query, Row, panel
from deploy.dashboards.queries import COMMANDS, PER_SECOND, QUANTILES, processes, quantile, rate, share

PROTOCOLS: Final = {"imap": "IMAP", "pop": "POP3", "http": "HTTP", "lmtp": "LMTP"}
_LOG_IN: Final = ("imap", "pop", "http")
"""Protocols whose clients log in."""


def protocol(name: str, title: str) -> Board:
    """The dashboard of a front end."""
    service, component = f',service="{name}"', f',component="{name}"'
    logs_in = name in _LOG_IN
    rows = (
        _commands(service, component),
        _sessions(service, logs_in=logs_in),
        _behind(component, logs_in=logs_in),
        processes(component),
    )
    return Board(name, f"Mailkeep / {title}", f"The {title} service.", rows)


def _commands(service: str, component: str) -> Row:
    return Row(
        "Commands",
        (
            panel(
                "Rate",
                "Commands by name.",
                rate(f"{COMMANDS}_count", "command", service),
                "{{command}}",
                PER_SECOND,
            ),
            panel(
                "Refused or failed",
                "no: refused; bad: not understood; error: an outage or a fault.",
                rate(f"{COMMANDS}_count", "command, result", f'{service},result!="ok"'),
                "{{command}} {{result}}",
                PER_SECOND,
            ),
            Panel(
                "Time",
                "Time to the answer.",
                tuple(Query(quantile(of, COMMANDS, "", f'{service},result="ok"'), legend) for of, legend in QUANTILES),
                "s",
            ),
            panel(
                "Time by command",
                "99 % were answered within this time.",
                quantile("0.99", COMMANDS, "command", service),
                "{{command}}",
                "s",
                width=12,
            ),
            Panel(
                "Slots of maxthreads",
                "Commands that work, and commands that wait for a slot.",
                (
                    Query(f"mailkeep_commands_running{{{OURS}{component}}}", "running {{instance}}"),
                    Query(f"mailkeep_commands_waiting{{{OURS}{component}}}", "waiting {{instance}}"),
                    Query(f"mailkeep_commands_limit{{{OURS}{component}}}", "limit {{instance}}"),
                ),
                width=12,
            ),
        ),
    )


def _sessions(service: str, *, logs_in: bool) -> Row:
    return Row(
        "Sessions",
        (
            Panel(
                "Sessions",
                "By process, and how many one may have.",
                (
                    Query(f"mailkeep_sessions{{{OURS}{service}}}", "{{instance}}"),
                    Query(f"max(mailkeep_sessions_limit{{{OURS}{service}}})", "limit of a process"),
                ),
            ),
            panel(
                "New sessions",
                "Clients that were let in.",
                rate("mailkeep_sessions_opened_total", "instance", service),
                "{{instance}}",
                PER_SECOND,
            ),
            panel(
                "Turned away",
                "By reason.",
                rate("mailkeep_sessions_refused_total", "reason", service),
                "{{reason}}",
                PER_SECOND,
            ),
            *((_logins(service),) if logs_in else ()),
            Panel(
                "Bytes",
                "Before TLS.",
                (
                    Query(rate("mailkeep_sent_bytes_total", "service", service), "to clients"),
                    Query(rate("mailkeep_received_bytes_total", "service", service), "from clients"),
                ),
                "Bps",
            ),
        ),
    )


def _behind(component: str, *, logs_in: bool) -> Row:
    return Row(
        "What stands behind it",
        (
            panel(
                "Calls to the store",
                "By method and result.",
                rate("mailkeep_store_call_seconds_count", "method, result", component),
                "{{method}} {{result}}",
                PER_SECOND,
            ),
            panel(
                "Time of calls to the store",
                "99 %, waits and repeats included.",
                quantile("0.99", "mailkeep_store_call_seconds", "method", component),
                "{{method}}",
                "s",
            ),
            panel(
                "Directory",
                "Questions by operation and result.",
                rate("mailkeep_directory_call_seconds_count", "operation, result", component),
                "{{operation}} {{result}}",
                PER_SECOND,
            ),
            *((_caches(component),) if logs_in else ()),
            panel(
                "Checks",
                "1: passes.",
                f"min by (check) (mailkeep_check_passing{{{OURS}{component}}})",
                "{{check}}",
                top=1,
            ),
        ),
    )


def _logins(service: str) -> Panel:
    return panel("Logins", "By result.", rate("mailkeep_logins_total", "result", service), "{{result}}", PER_SECOND)


def _caches(component: str) -> Panel:
    return panel(
        "Caches",
        "Share of questions that a cache of the front end answered.",
        share("mailkeep_cache_requests_total", "cache", f'{component},result="hit"', component),
        "{{cache}}",
        "percentunit",
        top=1,
    )
