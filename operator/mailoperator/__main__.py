"""`python -m mailoperator`: lead, watch, bring MailServices about, until SIGTERM.

Environment: WATCH_NAMESPACE (one namespace; empty: the whole cluster), POD_NAMESPACE (where the Lease is), POD_NAME,
ADMIN_PORT (default 8080), LOG_LEVEL.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import kopf
from kopf._core.engines.peering import Identity as kopf_identity  # noqa: N813 - a type that is used as a function
from lightkube import AsyncClient

from mailoperator.cluster import ApiCluster
from mailoperator.crd import KIND
from mailoperator.handlers import Watch, registry_for, settings_for
from mailoperator.leader import ApiLeases, Leader
from mailoperator.metrics import Metrics, serve
from mailoperator.queue import Key, Queue
from mailoperator.reconcile import Reconciler
from mailoperator.spec import MANAGER
from services.common.sharedoptions import LogOptions
from services.common.telemetry import configure_logging

_log = logging.getLogger("mailoperator")

FULL_PASS_SECONDS: Final = 120.0
STALE_SECONDS: Final = 900.0
"""Without any event for so long, watching does not work: bookmarks come every minute."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where the operator runs and what it looks after; `namespace` None is the whole cluster."""

    namespace: str | None
    home: str
    identity: str
    port: int

    @classmethod
    def of(cls, environ: Mapping[str, str]) -> Place:
        """As the pod's environment says."""
        return cls(
            environ.get("WATCH_NAMESPACE") or None,
            environ.get("POD_NAMESPACE") or "default",
            environ.get("POD_NAME") or f"{socket.gethostname()}-{os.getpid()}",
            int(environ.get("ADMIN_PORT") or 8080),
        )


class Operator:
    """All parts together."""

    def __init__(self, place: Place, client: AsyncClient) -> None:
        self._place = place
        self._cluster = ApiCluster(client)
        self._reconciler = Reconciler(self._cluster)
        self._leader = Leader(ApiLeases(client, place.home, MANAGER), place.identity)
        self._queue = Queue(self._pass, self._failed)
        self._watch = Watch(self._queue)
        self._metrics = Metrics()
        self._full_pass = time.monotonic()

    async def run(self, stopping: asyncio.Event) -> None:
        """Until `stopping` is set or the lease is lost."""
        self._metrics.watch("queue_length", "MailServices that wait for a pass.", lambda: len(self._queue))
        self._metrics.watch("leading", "1 while this operator leads.", lambda: float(self._leader.leading))
        self._metrics.watch("watch_age_seconds", "Seconds since the last event.", lambda: self._watch.age)
        pages = await serve(self._metrics, self._place.port, self._healthy, lambda: True)
        try:
            await _first(self._leader.acquire(), stopping.wait())
            if not stopping.is_set():
                await self._lead(stopping)
        finally:
            with contextlib.suppress(Exception):
                await self._leader.release()
            await pages.cleanup()

    async def _lead(self, stopping: asyncio.Event) -> None:
        namespaces = [self._place.namespace] if self._place.namespace else []
        watching = kopf.operator(
            registry=registry_for(self._watch),
            settings=settings_for(namespaced=bool(namespaces)),
            namespaces=namespaces,
            clusterwide=not namespaces,
            standalone=True,
            # By itself it would ask for the user's name, and in an image the number need not have one.
            identity=kopf_identity(self._place.identity),
            stop_flag=stopping,
        )
        await _first(watching, self._queue.run(), self._look_again(), self._leader.keep(), stopping.wait())

    async def _look_again(self) -> None:
        """A full pass, again and again: an event may be lost, a Secret changes without one."""
        while True:
            for thing in await self._cluster.list(KIND, self._place.namespace, {}):
                self._queue.add((thing["metadata"]["namespace"], thing["metadata"]["name"]))
            self._full_pass = time.monotonic()
            await asyncio.sleep(FULL_PASS_SECONDS)

    async def _pass(self, key: Key) -> bool:
        with self._metrics.seconds.time():
            settled = await self._reconciler.reconcile(*key)
        self._metrics.reconciles.labels("ok" if settled else "waiting").inc()
        self._metrics.last_success.set_to_current_time()
        return settled

    def _failed(self, key: Key, error: Exception) -> None:
        self._metrics.reconciles.labels("error").inc()
        _log.warning("%s/%s: %s: %.300s", *key, type(error).__name__, error)

    def _healthy(self) -> bool:
        """Whether it lives: a leader that has not looked for very long does not."""
        return not self._leader.leading or time.monotonic() - self._full_pass < STALE_SECONDS


async def _first(*works: object) -> None:
    """Until one of them ends; the others are cancelled. Raises what the one raised."""
    tasks = [asyncio.ensure_future(work) for work in works]  # type: ignore[call-overload]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _main() -> None:
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    client = AsyncClient(field_manager=MANAGER)
    try:
        await Operator(Place.of(os.environ), client).run(stopping)
    finally:
        await client.close()


def main() -> None:
    """Run until told to stop."""
    level = os.environ.get("LOG_LEVEL") or "info"
    configure_logging(LogOptions(level=level, format="json"))
    # A line for every call would hide all the others.
    logging.getLogger("httpx2").setLevel(logging.WARNING)
    asyncio.run(_main())


if __name__ == "__main__":
    main()
