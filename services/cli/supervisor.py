"""One parent for all service processes on a machine: start in order, restart what dies, stop in order.

The store starts first and stops last. What cannot start at all ends everything, with its own words on standard error;
what dies later is started again, with a growing pause while it keeps dying, and takes only its own sessions with it.
The supervisor holds no mail and no connection.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final

from services.cli.readiness import ReadinessSocket
from services.cli.worker import Ended, Worker
from services.common import configuration as configurations
from services.common import process as processes
from services.common.crosschecks import FRONT_ENDS
from services.common.options import Configuration
from services.common.parent import PARENT
from services.common.problems import ConfigurationError
from services.common.telemetry import session_logger

LOG = session_logger("supervisor")

STORE: Final = "store"
READY_SECONDS: Final = 60.0
"""What a front end has to start in. The store may take its time: it may have an older store to migrate."""
REMIND_SECONDS: Final = 30.0
STOP_MARGIN: Final = 10.0
"""What an end may take beyond the drain window; the process itself forces it before."""


def workers(configuration: Configuration) -> list[Worker]:
    """The front-end processes that the configuration asks for."""
    wanted = {name: getattr(configuration, name) for name in FRONT_ENDS}
    return [
        Worker(name, number)
        for name, options in wanted.items()
        if options.enable
        for number in range(options.numprocesses)
    ]


class Supervisor:
    """Runs the services until it is told to stop.

    `environ` is what the services are started with (it carries the data folder and the overrides). `prepare` is awaited
    when the store answers, before the front ends start; `ready` is called once all of them listen.
    """

    def __init__(
        self,
        configuration: Configuration,
        environ: Mapping[str, str],
        ready: Callable[[], None],
        prepare: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self._configuration = configuration
        self._environ = environ
        self._ready = ready
        self._prepare = prepare
        self._store = Worker(STORE, 0)
        self._workers = workers(configuration)
        self._stop = asyncio.Event()
        self._code = 0

    async def run(self) -> int:
        """Start everything, keep it running, stop it in order. Returns the exit code."""
        readiness = ReadinessSocket(self._is_up)
        environ = {**self._environ, "NOTIFY_SOCKET": readiness.name, PARENT: str(os.getpid())}
        self._on_signals()
        try:
            if await self._start(environ):
                self._ready()
                processes.notify("READY=1")
                await self._stop.wait()
        finally:
            processes.notify("STOPPING=1")
            await self._stop_all()
            readiness.close()
        return self._code

    # ---- signals ----------------------------------------------------------------------------------------------------
    def _on_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._asked_to_stop)
        at_terminal = os.isatty(0)
        loop.add_signal_handler(signal.SIGHUP, self._hung_up, at_terminal)

    def _asked_to_stop(self) -> None:
        """Asked once: drain. Asked again: somebody is waiting, cut it short."""
        if not self._stop.is_set():
            LOG.info("stopping; ask once more to cut it short", seconds=self._drain_seconds())
            self._stop.set()
            return
        for worker in [self._store, *self._workers]:
            if worker.stopping:
                worker.signal(signal.SIGTERM)

    def _hung_up(self, at_terminal: bool) -> None:
        """SIGHUP: reload; but stop where it came because the terminal was closed."""
        if at_terminal and not os.isatty(0):
            self._stop.set()
            return
        for worker in [self._store, *self._workers]:
            worker.reload()

    def _is_up(self, pid: int) -> None:
        for worker in [self._store, *self._workers]:
            worker.said_ready(pid)

    # ---- start ------------------------------------------------------------------------------------------------------
    async def _start(self, environ: Mapping[str, str]) -> bool:
        """Whether all came up; the store first, since the others wait for it."""
        self._store.begin(environ)
        if not await self._up([self._store], None):
            return False
        if self._prepare is not None:
            await self._prepare()
        for worker in self._workers:
            worker.begin(environ)
        return await self._up(self._workers, READY_SECONDS)

    async def _up(self, started: Sequence[Worker], seconds: float | None) -> bool:
        """Wait until all of them listen, one of them ends, or we are told to stop."""
        loop = asyncio.get_running_loop()
        deadline = None if seconds is None else loop.time() + seconds
        while not self._stop.is_set():
            if failed := next((worker for worker in started if worker.failed), None):
                self._give_up(failed, "cannot start", ended=str(failed.failed))
                return False
            missing = [worker for worker in started if not worker.up.is_set()]
            if not missing:
                return True
            if deadline is not None and loop.time() >= deadline:
                self._give_up(missing[0], "not up in time", seconds=READY_SECONDS)
                return False
            if not await self._something(missing, deadline):
                LOG.warning("still starting", processes=", ".join(worker.name for worker in missing))
        return False

    async def _something(self, missing: Sequence[Worker], deadline: float | None) -> bool:
        """Wait for news of these; False where there was none for a while."""
        news = [asyncio.ensure_future(event) for worker in missing for event in (worker.up.wait(), worker.over.wait())]
        news.append(asyncio.ensure_future(self._stop.wait()))
        left = REMIND_SECONDS if deadline is None else deadline - asyncio.get_running_loop().time()
        done, waiting = await asyncio.wait(
            news, timeout=min(REMIND_SECONDS, max(left, 0.0)), return_when=asyncio.FIRST_COMPLETED
        )
        for future in waiting:
            future.cancel()
        return bool(done)

    def _give_up(self, worker: Worker, event: str, **facts: str | float) -> None:
        LOG.error(event, error=None, process=worker.name, **facts)
        configuration = worker.failed == Ended(configurations.EXIT_CONFIGURATION)
        self._code = configurations.EXIT_CONFIGURATION if configuration else 1

    # ---- stop -------------------------------------------------------------------------------------------------------
    async def _stop_all(self) -> None:
        """Front ends first, so that running commands still find the store; each within its drain time."""
        self._stop.set()
        seconds = self._drain_seconds() + STOP_MARGIN
        await asyncio.gather(*(worker.end(seconds) for worker in self._workers))
        await self._store.end(self._current().store.drainseconds + STOP_MARGIN)

    def _drain_seconds(self) -> int:
        """The longest drain window of the front ends."""
        current = self._current()
        return max((int(getattr(current, worker.service).drainseconds) for worker in self._workers), default=0)

    def _current(self) -> Configuration:
        """The configuration as it is now: the services take up new drain times while they run."""
        with contextlib.suppress(ConfigurationError):
            return configurations.load(environ=self._environ)
        return self._configuration


def environment(configuration: Configuration, overrides: Mapping[str, str]) -> dict[str, str]:
    """What the services are started with: ours, the data folder, and the overrides of `--demo`."""
    return {**os.environ, "MAILKEEP_DATA": configuration.data, **overrides}
