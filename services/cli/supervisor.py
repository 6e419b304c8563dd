"""One parent for all service processes on a machine: start in order, restart what dies, stop in order.

The store starts first and stops last. What cannot start at all ends everything, with its own words on standard error;
what dies later is started again, with a growing pause while it keeps dying, and takes only its own sessions with it.
The supervisor holds no mail and no connection. Which services run can be changed over its control socket.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Awaitable, Callable, Mapping, Sequence

from services.cli.controlsocket import ControlSocket
from services.cli.readiness import ReadinessSocket
from services.cli.servicecontrol import ServiceControl
from services.cli.servicegroup import ServiceGroup, StartFailed, all_up, enabled
from services.cli.worker import Ended
from services.common import configuration as configurations
from services.common import process as processes
from services.common.crosschecks import SERVICES
from services.common.options import Configuration
from services.common.parent import PARENT
from services.common.problems import ConfigurationError
from services.common.telemetry import session_logger

LOG = session_logger("supervisor")


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
        self._groups = {name: ServiceGroup(name) for name in SERVICES}
        self._stop = asyncio.Event()
        self._code = 0

    async def run(self) -> int:
        """Start everything, keep it running, stop it in order. Returns the exit code. Raises OSError."""
        readiness = ReadinessSocket(self._is_up)
        environ = {**self._environ, "NOTIFY_SOCKET": readiness.name, PARENT: str(os.getpid())}
        control = ControlSocket(self._configuration.data, ServiceControl(self._groups, environ, self._stop).answer)
        self._on_signals()
        try:
            if await self._start(environ):
                await control.open()
                self._ready()
                processes.notify("READY=1")
                await self._stop.wait()
        finally:
            processes.notify("STOPPING=1")
            self._stop.set()
            await control.close()
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
        for group in self._groups.values():
            group.hasten()

    def _hung_up(self, at_terminal: bool) -> None:
        """SIGHUP: reload; but stop where it came because the terminal was closed."""
        if at_terminal and not os.isatty(0):
            self._stop.set()
            return
        for group in self._groups.values():
            group.reload()

    def _is_up(self, pid: int) -> None:
        for group in self._groups.values():
            for worker in group.workers:
                worker.said_ready(pid)

    # ---- start ------------------------------------------------------------------------------------------------------
    async def _start(self, environ: Mapping[str, str]) -> bool:
        """Whether all that is enabled came up; the store first, since the others wait for it."""
        store, *front_ends = (group for name, group in self._groups.items() if enabled(self._configuration, name))
        try:
            if not await self._begin([store], environ):
                return False
            if self._prepare is not None:
                await self._prepare()
            return await self._begin(front_ends, environ)
        except StartFailed as error:
            LOG.error(error.event, error=None, process=error.worker.name, **error.facts)
            configuration = error.worker.failed == Ended(configurations.EXIT_CONFIGURATION)
            self._code = configurations.EXIT_CONFIGURATION if configuration else 1
            return False

    async def _begin(self, groups: Sequence[ServiceGroup], environ: Mapping[str, str]) -> bool:
        """Start these and wait until they are up; False where we are told to stop. Raises StartFailed."""
        for group in groups:
            group.begin(self._configuration, environ)
        started = [worker for group in groups for worker in group.workers]
        return await all_up(started, self._stop, groups[0].start_seconds if groups else None)

    # ---- stop -------------------------------------------------------------------------------------------------------
    async def _stop_all(self) -> None:
        """Front ends first, so that running commands still find the store; each within its drain time."""
        current = self._current()
        store, *front_ends = self._groups.values()
        await asyncio.gather(*(group.end(current) for group in front_ends))
        await store.end(current)

    def _drain_seconds(self) -> int:
        """The longest drain window of what runs."""
        current = self._current()
        return max((group.drain_seconds(current) for group in self._groups.values() if group.running), default=0)

    def _current(self) -> Configuration:
        """The configuration as it is now: the services take up new drain times while they run."""
        with contextlib.suppress(ConfigurationError):
            return configurations.load(environ=self._environ)
        return self._configuration


def environment(configuration: Configuration, overrides: Mapping[str, str]) -> dict[str, str]:
    """What the services are started with: ours, the data folder, and the overrides of `--demo`."""
    return {**os.environ, "MAILKEEP_DATA": configuration.data, **overrides}
