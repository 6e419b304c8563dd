"""Traces go from a front end into the store, by both ways that calls go."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.common.directory import DirectoryUnavailable, LoginRefusal, LoginRefused
from services.common.domain import AppendItem, Quota
from services.common.errors import Reason, StoreError
from services.common.live import Live
from services.common.otlp import OtlpTracer
from services.common.prometheus import PrometheusObserver
from services.common.sharedoptions import TraceOptions
from services.common.telemetry import JsonFormatter
from services.common.traceexport import open_tracer
from services.common.tracing import (
    CONTEXT_BYTES,
    SPAN,
    current,
    current_context,
    read_traceparent,
    traceparent,
    within,
)
from services.common.values import TABLE, convert
from tests.support.collector import Collector, collector
from tests.support.stores import OpenStore, mail, request, served


@pytest.fixture
def receiver() -> Iterator[Collector]:
    with collector() as started:
        yield started


def tracer(receiver: Collector, service: str = "imap", sample: int = 1000) -> OtlpTracer:
    return OtlpTracer(service, Live(TraceOptions(endpoint=receiver.endpoint, sample=sample)))


async def use(opened: OpenStore, front: OtlpTracer) -> None:
    """A command that calls the store in a frame, by a call of its own, and in vain."""
    span = front.begin("imap APPEND", "session-1")
    assert span is not None
    SPAN.set(span)
    account = await opened.store.open_account("ada@example.org")
    for body in (mail(), mail(text="x" * 600_000)):
        await opened.store.append(account.account_id, "INBOX", [AppendItem(body)], Quota(), request_id=request())
    with pytest.raises(StoreError):
        await opened.store.get_mailbox(account.account_id, "Nowhere")
    span.end("no")


@pytest.mark.parametrize("frames", [True, False], ids=["frames", "grpc"])
async def test_what_the_store_does_for_a_command_is_part_of_its_trace(receiver: Collector, frames: bool) -> None:
    front, store = tracer(receiver), tracer(receiver, "store")
    async with served(frames=frames, tracer=store) as opened:
        await asyncio.create_task(use(opened, front))
        # Not part of it: nobody traces this.
        await opened.store.open_account("bob@example.org")
    await front.close()
    await store.close()
    spans = receiver.spans
    first = next(span for span in spans if not span.parent)
    assert (first.service, first.name, first.kind) == ("mailkeep-imap", "imap APPEND", "SERVER")
    assert first.attributes == {"mailkeep.session": "session-1", "mailkeep.result": "no"}
    assert {span.trace for span in spans} == {first.trace}
    calls = {span.span: span for span in spans if span.kind == "CLIENT"}
    assert {call.parent for call in calls.values()} == {first.span}
    answered = {calls[span.parent].name: span for span in spans if span.kind == "SERVER" and span.parent}
    assert {name: (span.service, span.name) for name, span in answered.items()} == {
        "store open_account": ("mailkeep-store", "OpenAccount"),
        "store append_messages": ("mailkeep-store", "AppendMessages"),
        "store upload_messages": ("mailkeep-store", "UploadMessages"),
        "store get_mailbox": ("mailkeep-store", "GetMailbox"),
    }
    assert answered["store get_mailbox"].attributes["mailkeep.result"] == "no"
    assert not any(span.failed for span in spans)
    inside = {span.name for span in spans if span.parent == answered["store append_messages"].span}
    assert "commit" in inside


async def test_a_share_of_commands_is_traced_and_it_may_change(receiver: Collector) -> None:
    options = Live(TraceOptions(endpoint=receiver.endpoint, sample=0))
    sampling = OtlpTracer("imap", options)
    assert all(sampling.begin("imap NOOP", "s") is None for _ in range(1000))
    options.replace(TraceOptions(endpoint=receiver.endpoint, sample=500))
    traced = sum(sampling.begin("imap NOOP", "s") is not None for _ in range(2000))
    assert 700 < traced < 1300
    await sampling.close()


async def test_a_collector_that_is_away_is_told_of_once(caplog: pytest.LogCaptureFixture) -> None:
    with collector() as gone:
        endpoint = gone.endpoint
    observer = PrometheusObserver()
    away = OtlpTracer("imap", Live(TraceOptions(endpoint=endpoint, sample=1000)), observer.spans)
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            span = away.begin("imap NOOP", "s")
            assert span is not None
            span.end()
            await asyncio.to_thread(away.flush)
        await away.close()
    assert [record.getMessage() for record in caplog.records] == ["traces cannot be sent"]
    assert 'mailkeep_trace_spans_total{result="lost"} 2.0' in observer.page().decode()
    assert 'mailkeep_trace_spans_total{result="sent"} 0.0' in observer.page().decode()


async def test_results_are_those_of_the_metrics(receiver: Collector) -> None:
    front = tracer(receiver)
    span = front.begin("imap LOGIN", "s")
    assert span is not None
    SPAN.set(span)

    async def failing(error: Exception) -> None:
        raise error

    async def hanging() -> None:
        await asyncio.Event().wait()

    for name, error in {
        "refused": LoginRefused(LoginRefusal.CREDENTIALS),
        "away": DirectoryUnavailable(),
        "full": StoreError(Reason.STORAGE_FULL),
        "quota": StoreError(Reason.OVER_QUOTA),
    }.items():
        with pytest.raises(type(error)):
            await within(name, failing(error), (LoginRefused,))
    waiting = asyncio.ensure_future(within("given up", hanging()))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    span.end()
    await front.close()
    assert {span.name: (span.attributes["mailkeep.result"], span.failed) for span in receiver.spans} == {
        "refused": ("no", False),
        "away": ("error", True),
        "full": ("error", True),
        "quota": ("no", False),
        "given up": ("cancelled", False),
        "imap LOGIN": ("ok", False),
    }


async def test_what_a_command_leaves_behind_is_no_part_of_it(receiver: Collector) -> None:
    front = tracer(receiver)
    span = front.begin("imap SELECT", "s")
    assert span is not None
    SPAN.set(span)
    go_on = asyncio.Event()

    async def left_behind() -> bytes:
        await go_on.wait()
        await within("much later", asyncio.sleep(0))
        return current_context()

    task = asyncio.create_task(left_behind())
    assert current() is span
    span.end()
    go_on.set()
    assert await task == b""
    assert current() is None
    await front.close()
    assert [span.name for span in receiver.spans] == ["imap SELECT"]


@given(st.binary(min_size=CONTEXT_BYTES, max_size=CONTEXT_BYTES))
def test_a_context_travels_as_text(context: bytes) -> None:
    assert read_traceparent(traceparent(context)) == context


@given(st.text())
def test_any_text_is_a_context_or_none(text: str) -> None:
    assert len(read_traceparent(text)) in (0, CONTEXT_BYTES)


@given(st.binary())
def test_any_octets_are_joined_or_not(context: bytes) -> None:
    joined = _OFF.join("GetMailbox", context)
    assert joined is None or joined.context[:16] == context[:16]


_OFF = OtlpTracer("store", Live(TraceOptions(endpoint="http://127.0.0.1:9")))


def test_lines_of_any_logger_name_the_trace() -> None:
    record = logging.LogRecord("library", logging.WARNING, "file", 1, "odd", None, None)
    assert "trace" not in json.loads(JsonFormatter().format(record))
    span = _OFF.join("GetMailbox", bytes(range(CONTEXT_BYTES)))
    assert span is not None
    token = SPAN.set(span)
    try:
        assert json.loads(JsonFormatter().format(record))["trace"] == bytes(range(16)).hex()
    finally:
        SPAN.reset(token)
        span.end()


@pytest.mark.parametrize(
    ("endpoint", "allowed"),
    [
        ("http://127.0.0.1:4317", True),
        ("https://collector.example:4317", True),
        ("http://[::1]:4317", True),
        ("collector:4317", False),
        ("http://collector", False),
        ("http://unix:/x", False),
        ("http://a b:1", False),
    ],
)
def test_an_endpoint_has_a_scheme_a_host_and_a_port(endpoint: str, allowed: bool) -> None:
    row = TABLE["trace.endpoint"]
    if allowed:
        assert convert(row, endpoint) == endpoint
    else:
        with pytest.raises(ValueError):  # noqa: PT011 - the row says what is allowed
            convert(row, endpoint)


async def test_a_missing_library_is_named_at_the_start() -> None:
    code = "import sys; sys.modules['opentelemetry'] = None\n"
    code += "from services.common.configuration import check_files, load\ncheck_files(load())"
    environ = {**os.environ, "MAILKEEP_TRACE_ENDPOINT": "http://127.0.0.1:4317"}
    done = await asyncio.to_thread(
        subprocess.run, [sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=False
    )
    assert "trace.endpoint" in done.stderr
    assert "install mailkeep[tracing]" in done.stderr


async def test_nothing_is_imported_where_nothing_is_traced() -> None:
    assert open_tracer("imap", Live(TraceOptions())) is None
    code = "import sys, services.imap.service, services.store.service, services.common.service\n"
    code += "sys.exit(any(name.startswith('opentelemetry') for name in sys.modules))"
    done = await asyncio.to_thread(subprocess.run, [sys.executable, "-c", code], check=False)
    assert done.returncode == 0
