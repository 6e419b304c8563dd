"""Spans by OpenTelemetry's SDK, sent by OTLP over gRPC.

Importing this costs a process memory and time at its start; `open_tracer` of `services.common.traceexport` does it only
where traces are wanted.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.trace import (
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    Status,
    StatusCode,
    TraceFlags,
    set_span_in_context,
)
from opentelemetry.trace import Span as OtelSpan
from opentelemetry.trace import Tracer as OtelTracer

import services
from services.common.live import Live
from services.common.sharedoptions import TraceOptions
from services.common.telemetry import session_logger
from services.common.tracing import CONTEXT_BYTES, ERROR, Span

EXPORT_SECONDS: Final = 3.0
"""How long one batch is tried to be sent; what cannot be sent is dropped."""
CLOSE_SECONDS: Final = 1.0
QUEUE: Final = 4_096
"""Spans that wait to be sent; more are dropped."""
DELAY_MILLISECONDS: Final = 1_000
THOUSAND: Final = 1_000
_TRACE_BYTES: Final = 16
_log: Final = session_logger("trace")

Exported = Callable[[str, int], None]


class OtlpSpan:
    """`services.common.tracing.Span`."""

    __slots__ = ("_span", "_tracer")

    def __init__(self, tracer: OtelTracer, span: OtelSpan) -> None:
        self._tracer = tracer
        self._span = span

    @property
    def context(self) -> bytes:
        """See `Span.context`."""
        known = self._span.get_span_context()
        return known.trace_id.to_bytes(_TRACE_BYTES) + known.span_id.to_bytes(CONTEXT_BYTES - _TRACE_BYTES)

    @property
    def trace_id(self) -> str:
        """See `Span.trace_id`."""
        return f"{self._span.get_span_context().trace_id:032x}"

    @property
    def open(self) -> bool:
        """See `Span.open`."""
        return self._span.is_recording()

    def rename(self, name: str) -> None:
        """See `Span.rename`."""
        self._span.update_name(name)

    def part(self, name: str) -> Span:
        """See `Span.part`."""
        return self._inside(name, SpanKind.INTERNAL)

    def call(self, name: str) -> Span:
        """See `Span.call`."""
        return self._inside(name, SpanKind.CLIENT)

    def end(self, result: str = "ok") -> None:
        """See `Span.end`."""
        self._span.set_attribute("mailkeep.result", result)
        if result == ERROR:
            self._span.set_status(Status(StatusCode.ERROR))
        self._span.end()

    def _inside(self, name: str, kind: SpanKind) -> Span:
        parent = set_span_in_context(self._span, Context())
        return OtlpSpan(self._tracer, self._tracer.start_span(name, context=parent, kind=kind))


class _Telling(SpanExporter):
    """Sends by another exporter, counts, and says once that it cannot and once that it can again.

    It runs in a thread of the SDK's.
    """

    def __init__(self, exporter: SpanExporter, endpoint: str, exported: Exported) -> None:
        self._exporter = exporter
        self._endpoint = endpoint
        self._exported = exported
        self._failing = False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """See `SpanExporter.export`."""
        result = self._exporter.export(spans)
        failed = result is not SpanExportResult.SUCCESS
        self._exported("lost" if failed else "sent", len(spans))
        if failed and not self._failing:
            _log.warning("traces cannot be sent", collector=self._endpoint)
        elif self._failing and not failed:
            _log.info("traces are sent again", collector=self._endpoint)
        self._failing = failed
        return result

    def shutdown(self) -> None:
        """See `SpanExporter.shutdown`."""
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """See `SpanExporter.force_flush`."""
        return self._exporter.force_flush(timeout_millis)


class OtlpTracer:
    """`services.common.tracing.Tracer`. `options.value.sample` may change at any time."""

    def __init__(
        self, service: str, options: Live[TraceOptions], exported: Exported = lambda result, spans: None
    ) -> None:
        """`exported` is told what became of spans: sent or lost, and how many."""
        endpoint = options.value.endpoint
        # They tell of every try; what an operator needs to know of it, _Telling says.
        logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)
        exporter = OTLPSpanExporter(endpoint, insecure=endpoint.startswith("http://"), timeout=EXPORT_SECONDS)
        self._options = options
        self._provider = TracerProvider(ALWAYS_ON, _resource(service), shutdown_on_exit=False)
        telling = _Telling(exporter, endpoint, exported)
        self._provider.add_span_processor(BatchSpanProcessor(telling, QUEUE, DELAY_MILLISECONDS))
        self._tracer = self._provider.get_tracer("mailkeep", services.__version__)

    def begin(self, name: str, session_id: str) -> Span | None:
        """See `Tracer.begin`. `trace.sample` of a thousand commands are traced."""
        if random.random() * THOUSAND >= self._options.value.sample:  # noqa: S311 - chance, no secret
            return None
        attributes = {"mailkeep.session": session_id}
        return self._started(name, Context(), attributes)

    def join(self, name: str, context: bytes) -> Span | None:
        """See `Tracer.join`."""
        trace_id, span_id = int.from_bytes(context[:_TRACE_BYTES]), int.from_bytes(context[_TRACE_BYTES:])
        caller = SpanContext(trace_id, span_id, is_remote=True, trace_flags=TraceFlags(TraceFlags.SAMPLED))
        if len(context) != CONTEXT_BYTES or not caller.is_valid:
            return None
        return self._started(name, set_span_in_context(NonRecordingSpan(caller), Context()), {})

    def flush(self) -> None:
        """Send what has ended, now. Blocks."""
        self._provider.force_flush()

    async def close(self) -> None:
        """See `Tracer.close`. The end of the process does not wait for a collector that does not answer."""
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_SECONDS + EXPORT_SECONDS):
                await asyncio.to_thread(self._provider.shutdown)

    def _started(self, name: str, parent: Context, attributes: dict[str, str]) -> Span:
        span = self._tracer.start_span(name, context=parent, kind=SpanKind.SERVER, attributes=attributes)
        return OtlpSpan(self._tracer, span)


def _resource(service: str) -> Resource:
    """Who sends, by the names of OpenTelemetry's semantic conventions."""
    return Resource(
        {
            "service.namespace": "mailkeep",
            "service.name": f"mailkeep-{service}",
            "service.version": services.__version__,
            "service.instance.id": f"{socket.gethostname()}:{os.getpid()}",
        }
    )
