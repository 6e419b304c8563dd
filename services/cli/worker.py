"""One service process and its successors: started, watched, started again, ended."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from services.common.configuration import EXIT_CONFIGURATION
from services.common.process import WORKER
from services.common.telemetry import session_logger

LOG = session_logger("supervisor")

FIRST_PAUSE: Final = 0.5
MAX_PAUSE: Final = 30.0
STEADY_SECONDS: Final = 30.0
"""A process that ran so long did not die of its start: the pause begins anew."""


@dataclass(frozen=True, slots=True)
class Ended:
    """How a process ended: its exit code, or the signal's number below 0."""

    code: int

    def __str__(self) -> str:
        if self.code >= 0:
            return f"exit code {self.code}"
        with contextlib.suppress(ValueError):
            return signal.Signals(-self.code).name
        return f"signal {-self.code}"


class Worker:
    """One of a service's processes. `number` counts them from 0.

    `up`: it listens now. `over`: it ended before it was up for the first time, and is not started again; `failed` says
    how. `stopping`: it was told to end for good.
    """

    def __init__(self, service: str, number: int) -> None:
        self.service = service
        self.number = number
        self.up = asyncio.Event()
        self.over = asyncio.Event()
        self.failed: Ended | None = None
        self.stopping = False
        self._stop = asyncio.Event()
        self._process: asyncio.subprocess.Process | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._early: set[int] = set()
        self._reload_wanted = False
        self._pause = FIRST_PAUSE

    @property
    def name(self) -> str:
        """What logs call it."""
        return f"{self.service}/{self.number}"

    def begin(self, environ: Mapping[str, str]) -> None:
        """Start it, and again whenever it ends, until `end`."""
        self._keeper = asyncio.get_running_loop().create_task(self._keep({**environ, WORKER: str(self.number)}))

    def said_ready(self, pid: int) -> None:
        """A process says that it is up; perhaps ours, perhaps before we know our own's id."""
        if self._process is None:
            self._early.add(pid)
        elif self._process.pid == pid:
            self.up.set()
            if self._reload_wanted:
                self.reload()

    def reload(self) -> None:
        """Have it read the configuration again; one that is starting, and would die of the signal, when it is up."""
        self._reload_wanted = not self.up.is_set()
        if self.up.is_set():
            self.signal(signal.SIGHUP)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal where it runs."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(number)

    async def end(self, seconds: float) -> None:
        """SIGTERM, and SIGKILL for what is still there after `seconds`. Asked again, it only waits once more."""
        asked, self.stopping = self.stopping, True
        self._stop.set()
        if self._keeper is None:
            return
        if not asked:  # a second SIGTERM would cut the drain short
            self.signal(signal.SIGTERM)
        try:
            await asyncio.wait_for(asyncio.shield(self._keeper), seconds)
        except TimeoutError:
            LOG.error("did not stop in time: killed", process=self.name, seconds=seconds)
            self.signal(signal.SIGKILL)
            await self._keeper

    async def _keep(self, environ: Mapping[str, str]) -> None:
        loop = asyncio.get_running_loop()
        started_once = False
        while not self._stop.is_set():
            started = loop.time()
            ended = await self._run_once(environ)
            started_once = started_once or self.up.is_set()
            self.up.clear()
            if self._stop.is_set():
                return
            if not started_once:
                self.failed = ended
                self.over.set()
                return
            await self._rest(ended, steady=loop.time() - started > STEADY_SECONDS)

    async def _run_once(self, environ: Mapping[str, str]) -> Ended:
        """From its start to its end."""
        try:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                f"services.{self.service}",
                env=environ,
                stdin=asyncio.subprocess.DEVNULL,
                # A session of its own: Ctrl-C reaches the supervisor alone, which then stops them in order.
                start_new_session=True,
            )
        except OSError as error:
            LOG.error("cannot be started", process=self.name, why=error.strerror)
            return Ended(os.EX_OSERR)
        if self._process.pid in self._early:
            self.said_ready(self._process.pid)
        self._early.clear()
        if self._stop.is_set():
            # Told while it was being made.
            self.signal(signal.SIGTERM)
        code = await self._process.wait()
        self._process = None
        return Ended(code)

    async def _rest(self, ended: Ended, *, steady: bool) -> None:
        """The pause before the next start, twice as long each time it dies soon."""
        if steady:
            self._pause = FIRST_PAUSE
        if ended.code == EXIT_CONFIGURATION:
            # It said what is wrong; somebody has to mend it first.
            self._pause = MAX_PAUSE
        LOG.error("ended; starting it again", process=self.name, ended=ended, pause=self._pause)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._stop.wait(), self._pause)
        self._pause = min(self._pause * 2, MAX_PAUSE)
