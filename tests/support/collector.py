"""A collector of traces: OTLP over gRPC on a port of the test, as OpenTelemetry's own messages."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field

import grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc
from opentelemetry.proto.trace.v1 import trace_pb2


@dataclass(frozen=True)
class Received:
    """A span, and the service that sent it. Ids in hexadecimal; `parent` is "" for the first of a trace."""

    service: str
    name: str
    trace: str
    span: str
    parent: str
    kind: str
    failed: bool
    nanoseconds: int
    attributes: dict[str, str] = field(hash=False)


class Collector(trace_service_pb2_grpc.TraceServiceServicer):
    """Keeps all that comes."""

    def __init__(self) -> None:
        self.endpoint = ""
        self._spans: list[Received] = []
        self._lock = threading.Lock()

    def Export(  # noqa: N802 - the service's word
        self, request: trace_service_pb2.ExportTraceServiceRequest, context: grpc.ServicerContext
    ) -> trace_service_pb2.ExportTraceServiceResponse:
        """Take a batch."""
        for resource in request.resource_spans:
            known = {each.key: each.value.string_value for each in resource.resource.attributes}
            found = [_received(known["service.name"], span) for scope in resource.scope_spans for span in scope.spans]
            with self._lock:
                self._spans += found
        return trace_service_pb2.ExportTraceServiceResponse()

    @property
    def spans(self) -> list[Received]:
        """All that came so far."""
        with self._lock:
            return list(self._spans)

    def trace_of(self, name: str) -> list[Received]:
        """The spans of the first trace that begins with one of this name."""
        spans = self.spans
        first = next((span for span in spans if span.name == name and not span.parent), None)
        return [] if first is None else [span for span in spans if span.trace == first.trace]


def _received(service: str, span: trace_pb2.Span) -> Received:
    return Received(
        service,
        span.name,
        span.trace_id.hex(),
        span.span_id.hex(),
        span.parent_span_id.hex(),
        trace_pb2.Span.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_"),
        span.status.code == trace_pb2.Status.STATUS_CODE_ERROR,
        span.end_time_unix_nano - span.start_time_unix_nano,
        {each.key: each.value.string_value for each in span.attributes},
    )


@contextmanager
def collector() -> Iterator[Collector]:
    """One that listens."""
    server = grpc.server(ThreadPoolExecutor(2))
    started = Collector()
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(started, server)  # type: ignore[no-untyped-call]
    port = server.add_insecure_port("127.0.0.1:0")
    started.endpoint = f"http://127.0.0.1:{port}"
    server.start()
    try:
        yield started
    finally:
        server.stop(None).wait()
