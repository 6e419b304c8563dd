"""Queries that several dashboards ask, and the row that each ends with."""

from __future__ import annotations

from typing import Final

from deploy.dashboards.panels import OURS, RATE, Row, panel

COMMANDS: Final = "mailkeep_command_seconds"
PER_SECOND: Final = "ops"
QUANTILES: Final = (("0.5", "half"), ("0.99", "99 %"))


def rate(metric: str, by: str, more: str = "") -> str:
    """Events a second, by labels."""
    return f"sum by ({by}) (rate({metric}{{{OURS}{more}}}{RATE}))"


def share(metric: str, by: str, part: str, whole: str = "") -> str:
    """How much of a metric's events has the labels `part`."""
    return f"{rate(metric, by, part)} / {rate(metric, by, whole)}"


def quantile(of: str, metric: str, by: str = "", more: str = "") -> str:
    """A duration that this share of the events did not exceed."""
    labels = f"le, {by}" if by else "le"
    return f"histogram_quantile({of}, sum by ({labels}) (rate({metric}_bucket{{{OURS}{more}}}{RATE})))"


def of_process(metric: str, more: str, rated: bool = False) -> str:
    """A process's own metric: processes of Mailkeep only."""
    found = f"{metric}{{{OURS}{more}}}"
    return f"rate({found}{RATE})" if rated else found


def processes(more: str = "") -> Row:
    """What the processes themselves use."""
    return Row(
        "Processes",
        (
            panel(
                "CPU",
                "Share of one CPU. A process uses one; near 1 it is full.",
                of_process("process_cpu_seconds_total", more, rated=True),
                "{{instance}}",
                "percentunit",
            ),
            panel(
                "Memory",
                "Resident memory.",
                of_process("process_resident_memory_bytes", more),
                "{{instance}}",
                "bytes",
            ),
            panel(
                "Event loop",
                "How late a timer ran at worst between two scrapes; every client of the process waits as long.",
                of_process("mailkeep_event_loop_lag_seconds", more),
                "{{instance}}",
                "s",
            ),
            panel(
                "Descriptors",
                "Share of the file descriptors that a process may have.",
                f"{of_process('process_open_fds', more)} / {of_process('process_max_fds', more)}",
                "{{instance}}",
                "percentunit",
            ),
            panel(
                "Threads",
                "Threads for calls that block.",
                of_process("mailkeep_threads", more),
                "{{instance}}",
            ),
            panel(
                "Traces",
                "Spans by whether the collector took them; none where tracing is off.",
                f"sum by (result) (rate(mailkeep_trace_spans_total{{{OURS}{more}}}{RATE}))",
                "{{result}}",
                PER_SECOND,
            ),
            panel(
                "Draining",
                "1 while a process lets its clients go.",
                of_process("mailkeep_draining", more),
                "{{instance}}",
                top=1,
            ),
        ),
    )
