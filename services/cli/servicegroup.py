"""The processes of one service: begun together, waited for, reloaded, ended together."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Mapping, Sequence
from typing import Final

from services.cli.worker import Worker
from services.common.crosschecks import STORE
from services.common.options import Configuration
from services.common.telemetry import session_logger

LOG = session_logger("supervisor")

READY_SECONDS: Final = 60.0
"""What a front end has to start in. The store may take its time: it may have an older store to migrate."""
REMIND_SECONDS: Final = 30.0
STOP_MARGIN: Final = 10.0
"""What an end may take beyond the drain window; the process itself forces it before."""


class StartFailed(Exception):  # noqa: N818 - the name is what happened
    """A process ended before it was up, or was not up in time."""

    def __init__(self, worker: Worker, event: str, **facts: str | float) -> None:
        super().__init__(f"{worker.name}: {event} ({', '.join(f'{name} {value}' for name, value in facts.items())})")
        self.worker = worker
        self.event = event
        self.facts = facts


def enabled(configuration: Configuration, service: str) -> bool:
    """Whether the service is to be started; the store always is."""
    return service == STORE or bool(getattr(configuration, service).enable)


class ServiceGroup:
    """What runs of one service. `begun_with`: the configuration of its last start, None while it is stopped."""

    def __init__(self, service: str) -> None:
        self.service = service
        self.workers: list[Worker] = []
        self.begun_with: Configuration | None = None

    @property
    def running(self) -> bool:
        """Whether it was begun and not ended; a process that died and is to come back counts."""
        return self.begun_with is not None

    @property
    def start_seconds(self) -> float | None:
        """What the start may take."""
        return None if self.service == STORE else READY_SECONDS

    def begin(self, configuration: Configuration, environ: Mapping[str, str]) -> None:
        """Start as many processes as the configuration asks for."""
        count = 1 if self.service == STORE else int(getattr(configuration, self.service).numprocesses)
        self.workers = [Worker(self.service, number) for number in range(count)]
        self.begun_with = configuration
        for worker in self.workers:
            worker.begin(environ)

    def drain_seconds(self, configuration: Configuration) -> int:
        """Its drain window."""
        return int(getattr(configuration, self.service).drainseconds)

    async def end(self, configuration: Configuration) -> None:
        """SIGTERM to all of them; over when they are, killed where they stay beyond the drain window."""
        seconds = self.drain_seconds(configuration) + STOP_MARGIN
        await asyncio.gather(*(worker.end(seconds) for worker in self.workers))
        self.workers, self.begun_with = [], None

    def reload(self) -> None:
        """Have all of them read the configuration again."""
        for worker in self.workers:
            worker.reload()

    def hasten(self) -> None:
        """Cut short what is ending already."""
        for worker in self.workers:
            if worker.stopping:
                worker.signal(signal.SIGTERM)


async def all_up(started: Sequence[Worker], stop: asyncio.Event, seconds: float | None) -> bool:
    """Wait until all of them listen; False where `stop` comes first.

    Raises StartFailed when one ends, or `seconds` (None: any time) are over.
    """
    loop = asyncio.get_running_loop()
    deadline = None if seconds is None else loop.time() + seconds
    while not stop.is_set():
        if failed := next((worker for worker in started if worker.failed), None):
            raise StartFailed(failed, "cannot start", ended=str(failed.failed))
        missing = [worker for worker in started if not worker.up.is_set()]
        if not missing:
            return True
        if deadline is not None and loop.time() >= deadline:
            raise StartFailed(missing[0], "not up in time", seconds=seconds or 0.0)
        if not await _something(missing, stop, deadline):
            LOG.warning("still starting", processes=", ".join(worker.name for worker in missing))
    return False


async def _something(missing: Sequence[Worker], stop: asyncio.Event, deadline: float | None) -> bool:
    """Wait for news of these; False where there was none for a while."""
    news = [asyncio.ensure_future(event) for worker in missing for event in (worker.up.wait(), worker.over.wait())]
    news.append(asyncio.ensure_future(stop.wait()))
    left = REMIND_SECONDS if deadline is None else deadline - asyncio.get_running_loop().time()
    done, waiting = await asyncio.wait(
        news, timeout=min(REMIND_SECONDS, max(left, 0.0)), return_when=asyncio.FIRST_COMPLETED
    )
    for future in waiting:
        future.cancel()
    return bool(done)
