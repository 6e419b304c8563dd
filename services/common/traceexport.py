"""The tracer that the options ask for."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from typing import Final

from services.common.live import Live
from services.common.sharedoptions import TraceOptions
from services.common.tracing import Tracer

EXTRA: Final = "tracing"
"""The extra of the distribution that brings OpenTelemetry."""
_LIBRARIES: Final = ("opentelemetry.sdk", "opentelemetry.exporter.otlp.proto.grpc")


def open_tracer(
    service: str, options: Live[TraceOptions], exported: Callable[[str, int], None] = lambda result, spans: None
) -> Tracer | None:
    """For one process; `exported` is told what became of spans (sent or lost), and how many.

    None, and nothing is imported, where no traces are wanted.
    """
    if not options.value.endpoint:
        return None
    from services.common.otlp import OtlpTracer

    return OtlpTracer(service, options, exported)


def installed() -> bool:
    """Whether the libraries are there."""
    try:
        return all(find_spec(name) is not None for name in _LIBRARIES)
    except ModuleNotFoundError:
        return False
