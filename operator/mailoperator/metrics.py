"""The operator's own metrics, and its pages: /metrics, /healthz, /readyz."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from aiohttp import web
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

RESULTS: Final = ("ok", "waiting", "error")


class Metrics:
    """What Prometheus is told."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.reconciles = Counter(
            "mailkeep_operator_reconciles", "Passes over a MailService.", ["result"], registry=self.registry
        )
        self.seconds = Histogram(
            "mailkeep_operator_reconcile_seconds", "How long a pass took.", registry=self.registry,
            buckets=(0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60),
        )  # fmt: skip
        self.last_success = Gauge(
            "mailkeep_operator_last_success_timestamp_seconds", "When a pass last went well.", registry=self.registry
        )
        for result in RESULTS:
            self.reconciles.labels(result)

    def watch(self, name: str, doc: str, value: Callable[[], float]) -> None:
        """A gauge that is read when it is asked for."""
        Gauge(f"mailkeep_operator_{name}", doc, registry=self.registry).set_function(value)


async def serve(metrics: Metrics, port: int, healthy: Callable[[], bool], ready: Callable[[], bool]) -> web.AppRunner:
    """Open the pages on every address; the runner is the caller's to clean up."""

    async def show(_: web.Request) -> web.Response:
        return web.Response(body=generate_latest(metrics.registry), headers={"Content-Type": CONTENT_TYPE_LATEST})

    def answering(holds: Callable[[], bool]) -> Callable[[web.Request], object]:
        async def answer(_: web.Request) -> web.Response:
            return web.Response(text="ok\n") if holds() else web.Response(status=503, text="no\n")

        return answer

    app = web.Application()
    app.router.add_get("/metrics", show)
    app.router.add_get("/healthz", answering(healthy))  # type: ignore[arg-type]
    app.router.add_get("/readyz", answering(ready))  # type: ignore[arg-type]
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, None, port).start()
    return runner
