"""Whether users are served."""

from __future__ import annotations

from typing import Final

from deploy.dashboards.panels import OURS, Board, Panel, Query, Row, panel
from deploy.dashboards.queries import COMMANDS, PER_SECOND, processes, quantile, rate

_CLIENTS: Final = ',service!="store"'

OVERVIEW: Final = Board(
    "overview",
    "Mailkeep / Overview",
    "Whether users are served: promises, load, room.",
    (
        Row(
            "Now",
            (
                panel(
                    "Processes",
                    "Processes that answer, by service.",
                    f"count by (service) (mailkeep_process_info{{{OURS}}})",
                    "{{service}}",
                    width=6,
                    single=True,
                ),
                panel(
                    "Sessions",
                    "Clients that are connected.",
                    f"sum by (service) (mailkeep_sessions{{{OURS}}})",
                    "{{service}}",
                    width=6,
                    single=True,
                ),
                panel(
                    "Checks",
                    "Checks of /readyz that fail; 0 is well.",
                    f"sum by (check) (1 - mailkeep_check_passing{{{OURS}}})",
                    "{{check}}",
                    width=6,
                    single=True,
                ),
                panel(
                    "Free for mail",
                    "Share of the store's file system that is free.",
                    f"mailkeep_store_filesystem_free_bytes{{{OURS}}} / mailkeep_store_filesystem_size_bytes{{{OURS}}}",
                    "{{mailservice}}",
                    "percentunit",
                    width=6,
                    single=True,
                ),
            ),
        ),
        Row(
            "Promises",
            (
                panel(
                    "Logins lost",
                    "Share of logins that failed because the directory could not be asked. Objective: below 0.1 %.",
                    f"service:mailkeep_login_errors:ratio_rate5m{{{OURS}}}",
                    "{{service}}",
                    "percentunit",
                ),
                panel(
                    "Commands lost",
                    "Share of commands that failed by an outage or a fault. Objective: below 0.1 %.",
                    f"service:mailkeep_command_errors:ratio_rate5m{{{OURS}}}",
                    "{{service}}",
                    "percentunit",
                ),
                panel(
                    "Slow commands",
                    "Share of commands that took longer than 250 ms. Objective: below 1 %.",
                    f"service:mailkeep_slow_commands:ratio_rate5m{{{OURS}}}",
                    "{{service}}",
                    "percentunit",
                ),
            ),
        ),
        Row(
            "Load",
            (
                panel(
                    "Commands",
                    "Commands of clients.",
                    rate(f"{COMMANDS}_count", "service", _CLIENTS),
                    "{{service}}",
                    PER_SECOND,
                ),
                panel(
                    "Time of commands",
                    "99 % were answered within this time. A message takes as long to fetch as its client reads.",
                    quantile("0.99", COMMANDS, "service", _CLIENTS),
                    "{{service}}",
                    "s",
                ),
                panel(
                    "Refused or failed",
                    "Commands that were not answered with success.",
                    rate(f"{COMMANDS}_count", "service, result", f'{_CLIENTS},result!="ok"'),
                    "{{service}} {{result}}",
                    PER_SECOND,
                ),
                panel(
                    "Logins",
                    "Logins by result.",
                    rate("mailkeep_logins_total", "service, result"),
                    "{{service}} {{result}}",
                    PER_SECOND,
                ),
                panel(
                    "Clients turned away",
                    "Before they could say anything, by reason.",
                    rate("mailkeep_sessions_refused_total", "service, reason"),
                    "{{service}} {{reason}}",
                    PER_SECOND,
                ),
                Panel(
                    "Bytes",
                    "To and from clients, before TLS.",
                    (
                        Query(rate("mailkeep_sent_bytes_total", "service"), "to {{service}}"),
                        Query(rate("mailkeep_received_bytes_total", "service"), "from {{service}}"),
                    ),
                    "Bps",
                ),
            ),
        ),
        Row(
            "Room",
            (
                panel(
                    "Sessions of the fullest process",
                    "Share of maxsessions.",
                    f"max by (service) (mailkeep_sessions{{{OURS}}} / mailkeep_sessions_limit{{{OURS}}})",
                    "{{service}}",
                    "percentunit",
                    width=6,
                ),
                panel(
                    "Certificates",
                    "Time until a certificate ends; below 0 it has.",
                    f"min by (option) (mailkeep_certificate_expiry_timestamp_seconds{{{OURS}}}) - time()",
                    "{{option}}",
                    "s",
                    width=6,
                    bottom=None,
                ),
                panel(
                    "Configuration",
                    "Processes that refused the last change and go on with the old one; 0 is well.",
                    f"sum(1 - mailkeep_config_last_reload_successful{{{OURS}}})",
                    "refused",
                    width=6,
                ),
                panel(
                    "Versions",
                    "Processes by version.",
                    f"count by (version) (mailkeep_build_info{{{OURS}}})",
                    "{{version}}",
                    width=6,
                ),
            ),
        ),
        processes(),
    ),
)
