"""The operator."""

from __future__ import annotations

from typing import Final

from deploy.dashboards.panels import RATE, Board, Panel, Query, Row, panel
from deploy.dashboards.queries import PER_SECOND, QUANTILES

_SECONDS: Final = "mailkeep_operator_reconcile_seconds"
_THERE: Final = 'namespace=~"$namespace"'

OPERATOR: Final = Board(
    "operator",
    "Mailkeep / Operator",
    "The operator: passes over MailServices.",
    (
        Row(
            "Passes",
            (
                panel(
                    "Passes",
                    "By result. waiting: something is not ready yet.",
                    f"sum by (result) (rate(mailkeep_operator_reconciles_total{{{_THERE}}}{RATE}))",
                    "{{result}}",
                    PER_SECOND,
                ),
                Panel(
                    "Time of a pass",
                    "",
                    tuple(
                        Query(
                            f"histogram_quantile({of}, sum by (le) (rate({_SECONDS}_bucket{{{_THERE}}}{RATE})))",
                            legend,
                        )
                        for of, legend in QUANTILES
                    ),
                    "s",
                ),
                panel(
                    "Since the last success",
                    "Seconds since a pass went well; each MailService is passed over every few minutes.",
                    f"time() - max(mailkeep_operator_last_success_timestamp_seconds{{{_THERE}}})",
                    "operator",
                    "s",
                ),
                panel(
                    "Queue",
                    "MailServices that wait for a pass.",
                    f"mailkeep_operator_queue_length{{{_THERE}}}",
                    "{{pod}}",
                ),
                panel("Leader", "1: this operator acts.", f"mailkeep_operator_leading{{{_THERE}}}", "{{pod}}", top=1),
                panel(
                    "Last event",
                    "Seconds since the API server told anything.",
                    f"mailkeep_operator_watch_age_seconds{{{_THERE}}}",
                    "{{pod}}",
                    "s",
                ),
            ),
        ),
    ),
    whose="mailkeep_operator_leading",
    by_service=False,
)
