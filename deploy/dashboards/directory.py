"""Logins and the directory behind them."""

from __future__ import annotations

from typing import Final

from deploy.dashboards.panels import OURS, Board, Row, panel
from deploy.dashboards.queries import COMMANDS, PER_SECOND, quantile, rate, share

_CALLS: Final = "mailkeep_directory_call_seconds"

DIRECTORY: Final = Board(
    "directory",
    "Mailkeep / Directory and login",
    "Who logs in, who may not, and how the directory answers.",
    (
        Row(
            "Logins",
            (
                panel(
                    "Logins",
                    "By service and result.",
                    rate("mailkeep_logins_total", "service, result"),
                    "{{service}} {{result}}",
                    PER_SECOND,
                ),
                panel(
                    "Refused",
                    "By reason.",
                    rate("mailkeep_logins_total", "result", ',result!~"ok|cached"'),
                    "{{result}}",
                    PER_SECOND,
                ),
                panel(
                    "Lost",
                    "Share that failed because the directory could not be asked. Objective: below 0.1 %.",
                    f"service:mailkeep_login_errors:ratio_rate5m{{{OURS}}}",
                    "{{service}}",
                    "percentunit",
                ),
                panel(
                    "Remembered",
                    "Share of successful logins that cost the directory nothing.",
                    share("mailkeep_logins_total", "service", ',result="cached"', ',result=~"ok|cached"'),
                    "{{service}}",
                    "percentunit",
                    top=1,
                ),
                panel(
                    "Time of a login",
                    "99 % of those that succeeded.",
                    quantile("0.99", COMMANDS, "command", ',command=~"LOGIN|AUTHENTICATE|PASS|AUTH",result="ok"'),
                    "{{command}}",
                    "s",
                ),
            ),
        ),
        Row(
            "Guessing",
            (
                panel(
                    "Logins that waited",
                    "Because earlier ones from their address failed.",
                    rate("mailkeep_logins_delayed_total", "service"),
                    "{{service}}",
                    PER_SECOND,
                    width=6,
                ),
                panel(
                    "Shut out",
                    "Addresses that were shut out because of their failed logins.",
                    rate("mailkeep_bans_total", "service"),
                    "{{service}}",
                    PER_SECOND,
                    width=6,
                ),
                panel(
                    "Addresses held",
                    "Whose logins wait, or that are shut out. The processes of a machine share them.",
                    f"max by (state) (mailkeep_held_addresses{{{OURS}}})",
                    "{{state}}",
                    width=6,
                ),
                panel(
                    "Host names looked up",
                    "For access filters, by result. spoofed: the name denies the address.",
                    rate("mailkeep_dns_lookup_seconds_count", "result"),
                    "{{result}}",
                    PER_SECOND,
                    width=6,
                ),
            ),
        ),
        Row(
            "Directory",
            (
                panel(
                    "Questions",
                    "By operation and result.",
                    rate(f"{_CALLS}_count", "operation, result"),
                    "{{operation}} {{result}}",
                    PER_SECOND,
                ),
                panel("Time", "99 %, by operation.", quantile("0.99", _CALLS, "operation"), "{{operation}}", "s"),
                panel(
                    "Check",
                    "1: it can answer.",
                    f'mailkeep_check_passing{{{OURS},check="directory"}}',
                    "{{instance}}",
                    top=1,
                ),
            ),
        ),
    ),
)
