"""The message store."""

from __future__ import annotations

from typing import Final

from deploy.dashboards.panels import OURS, Board, Panel, Query, Row, panel
from deploy.dashboards.queries import COMMANDS, PER_SECOND, QUANTILES, processes, quantile, rate

_STORE: Final = ',service="store"'
_AT_STORE: Final = ',component="store"'

STORE: Final = Board(
    "store",
    "Mailkeep / Store",
    "The message store: its calls, its disk.",
    (
        Row(
            "Calls",
            (
                panel(
                    "Rate", "Calls by method.", rate(f"{COMMANDS}_count", "command", _STORE), "{{command}}", PER_SECOND
                ),
                panel(
                    "By result",
                    "no: refused (over quota, no such mailbox); error: a full disk, a damaged file, a fault.",
                    rate(f"{COMMANDS}_count", "result", _STORE),
                    "{{result}}",
                    PER_SECOND,
                ),
                Panel(
                    "Time",
                    "In the store itself.",
                    tuple(
                        Query(
                            quantile(of, COMMANDS, "", f'{_STORE},command!~"Exchange|WatchChanges|WatchSessions"'),
                            legend,
                        )
                        for of, legend in QUANTILES
                    ),
                    "s",
                ),
                panel(
                    "Time by method",
                    "99 %.",
                    quantile("0.99", COMMANDS, "command", _STORE),
                    "{{command}}",
                    "s",
                    width=12,
                ),
                panel(
                    "As the front ends see it",
                    "99 %, with the way to the store, waits and repeats.",
                    quantile("0.99", "mailkeep_store_call_seconds", "method"),
                    "{{method}}",
                    "s",
                    width=12,
                ),
            ),
        ),
        Row(
            "Mail",
            (
                panel(
                    "Delivered",
                    "Calls that deliver a message, for any number of recipients.",
                    rate(f"{COMMANDS}_count", "result", f'{_STORE},command="DeliverMessage"'),
                    "{{result}}",
                    PER_SECOND,
                ),
                panel(
                    "Front ends",
                    "Processes with a stream to the store.",
                    f"mailkeep_store_processes{{{OURS}}}",
                    "{{instance}}",
                ),
                panel(
                    "Failed for the front ends",
                    "Calls that did not end well, by reason. UNAVAILABLE: the store was away.",
                    rate("mailkeep_store_call_seconds_count", "method, result", ',result!="ok"'),
                    "{{method}} {{result}}",
                    PER_SECOND,
                ),
            ),
        ),
        Row(
            "Disk",
            (
                Panel(
                    "Mail on the disk",
                    "Segment files of bodies; metadata with its log.",
                    (
                        Query(f"mailkeep_store_bodies_bytes{{{OURS}}}", "bodies {{instance}}"),
                        Query(f"mailkeep_store_metadata_bytes{{{OURS}}}", "metadata {{instance}}"),
                    ),
                    "bytes",
                    stacked=True,
                ),
                Panel(
                    "File system",
                    "Size, and what is free.",
                    (
                        Query(f"mailkeep_store_filesystem_size_bytes{{{OURS}}}", "size {{instance}}"),
                        Query(f"mailkeep_store_filesystem_free_bytes{{{OURS}}}", "free {{instance}}"),
                    ),
                    "bytes",
                ),
                panel(
                    "Check",
                    "1: a read of the metadata succeeds.",
                    f'mailkeep_check_passing{{{OURS},check="storage"}}',
                    "{{instance}}",
                    top=1,
                ),
            ),
        ),
        processes(_AT_STORE),
    ),
)
