"""One parent for all service processes on a machine: start in order, restart what dies, stop in order.

The store starts first and stops last. A front end that dies takes only its own sessions with it and is started again,
with a growing pause while it keeps dying. The supervisor itself holds no mail and no connection.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from services.common.options import Configuration

logger = logging.getLogger(__name__)

STORE = "store"
FRONT_ENDS = ("lmtp", "pop", "imap")
READY_SECONDS = 60.0
STEADY_SECONDS = 30.0
MAX_PAUSE = 30.0
EXIT_CONFIGURATION = 78
STOP_MARGIN = 10.0


@dataclass(slots=True)
class Worker:
    """One service process. `number` counts the processes of a service from 0."""

    service: str
    number: int
    process: asyncio.subprocess.Process | None = None
    started: float = 0.0
    pause: float = 0.5

    @property
    def name(self) -> str:
        """What logs call it."""
        return f"{self.service}/{self.number}"


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

    `environ` is what the services are started with (it carries the data folder and the overrides). `ready` is called
    once every port answers.
    """

    def __init__(self, configuration: Configuration, environ: Mapping[str, str], ready: Callable[[], None]) -> None:
        self._configuration = configuration
        self._environ = environ
        self._ready = ready
        self._store = Worker(STORE, 0)
        self._workers = workers(configuration)
        self._stop = asyncio.Event()
        self._failed = 0

    async def run(self) -> int:
        """Start everything, keep it running, stop it in order. Returns the exit code."""
        self._on_signals()
        try:
            if await self._start_all():
                self._ready()
                await self._stop.wait()
        finally:
            await self._stop_all()
        return self._failed

    def _on_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._stop.set)
        loop.add_signal_handler(signal.SIGHUP, self._reload)

    def _reload(self) -> None:
        for worker in [self._store, *self._workers]:
            if worker.process is not None:
                _signal(worker.process, signal.SIGHUP)

    async def _start_all(self) -> bool:
        """Whether all came up; the store first, since the others wait for it."""
        keepers = [asyncio.create_task(self._keep(self._store))]
        if not await self._answers(self._configuration.store.socket):
            return False
        keepers += [asyncio.create_task(self._keep(worker)) for worker in self._workers]
        self._keepers = keepers
        for worker in self._workers:
            options = getattr(self._configuration, worker.service)
            if not await self._answers((options.listen, options.port)):
                return False
        return True

    async def _answers(self, address: str | tuple[str, int]) -> bool:
        """Wait until something accepts there, we are told to stop, or the time is over."""
        deadline = time.monotonic() + READY_SECONDS
        while not self._stop.is_set() and time.monotonic() < deadline:
            with contextlib.suppress(OSError):
                opening = (
                    asyncio.open_unix_connection(address)
                    if isinstance(address, str)
                    else asyncio.open_connection(*address)
                )
                _, writer = await opening
                writer.close()
                return True
            await asyncio.sleep(0.05)
        if not self._stop.is_set():
            logger.error("not answering after %d s: %s", READY_SECONDS, address)
            self._failed = 1
        return False

    async def _keep(self, worker: Worker) -> None:
        """Start a process again whenever it ends, until we stop."""
        while not self._stop.is_set():
            code = await self._run_once(worker)
            if self._stop.is_set():
                return
            if code == EXIT_CONFIGURATION:
                # It said what is wrong with its configuration; the same start cannot end otherwise.
                self._failed = code
                self._stop.set()
                return
            if time.monotonic() - worker.started > STEADY_SECONDS:
                worker.pause = 0.5
            logger.error("%s ended with code %s; starting it again in %.1f s", worker.name, code, worker.pause)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stop.wait(), worker.pause)
            worker.pause = min(worker.pause * 2, MAX_PAUSE)

    async def _run_once(self, worker: Worker) -> int:
        worker.started = time.monotonic()
        worker.process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            f"services.{worker.service}",
            env={**self._environ, "MAILKEEP_WORKER": str(worker.number)},
            stdin=asyncio.subprocess.DEVNULL,
            # A group of its own: Ctrl-C reaches the supervisor alone, which then stops them in order.
            start_new_session=True,
        )
        return await worker.process.wait()

    async def _stop_all(self) -> None:
        """Front ends first, so that running commands still find the store; each within its drain time."""
        self._stop.set()
        drain = max((getattr(self._configuration, w.service).drainseconds for w in self._workers), default=0)
        await asyncio.gather(*(_end(worker, drain + STOP_MARGIN) for worker in self._workers))
        await _end(self._store, self._configuration.store.drainseconds + STOP_MARGIN)


async def _end(worker: Worker, seconds: float) -> None:
    """SIGTERM, wait, and SIGKILL for what is still there."""
    process = worker.process
    if process is None or process.returncode is not None:
        return
    _signal(process, signal.SIGTERM)
    try:
        await asyncio.wait_for(process.wait(), seconds)
    except TimeoutError:
        logger.error("%s did not stop within %.0f s: killed", worker.name, seconds)
        _signal(process, signal.SIGKILL)
        await process.wait()


def _signal(process: asyncio.subprocess.Process, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.send_signal(number)


def environment(configuration: Configuration, overrides: Mapping[str, str]) -> dict[str, str]:
    """What the services are started with: ours, the data folder, and the overrides of `--demo`."""
    return {**os.environ, "MAILKEEP_DATA": configuration.data, **overrides}
