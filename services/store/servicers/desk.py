"""What the servicers work with: the rules, the hub, and what the store knows of the processes that call."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine, Sequence
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any, Protocol

from services.common.domain import AccountId, Maildrop
from services.common.errors import StoreError, result_of
from services.common.store import Store
from services.common.storeclient.maintenance import Compacted, Finding
from services.common.tracing import SPAN, Tracer, current
from services.store.changes import ChangeHub
from services.store.processes import Processes
from services.store.uploads import UploadRoom


class Rules(Store, Protocol):
    """The rules as the servicers need them: maildrop locks have owners here."""

    async def open_maildrop(self, account_id: AccountId, *, owner: str = "", lock: str = "") -> Maildrop:
        """`Store.open_maildrop` for a process; `lock` names the lock, and the owner of that very lock takes it anew."""

    def release_owner(self, owner: str) -> None:
        """Free the locks of a process that is gone."""


class MaintenanceWork(Protocol):
    """What an administrator may ask for; the engine does it."""

    def check(self, *, bodies: bool) -> AsyncIterator[Sequence[Finding]]:
        """What is wrong, as it is found. A batch may be empty."""

    async def compact(self) -> Compacted:
        """Give back the space of deleted bodies now."""

    async def backup(self, path: str, keep: int = 0) -> int:
        """Write a consistent copy; its bytes. Raises INVALID_ARGUMENT for a path that cannot be used.

        `keep`: so many of the finished backups around it stay, the newest; 0: all.
        """


class CommandObserver(Protocol):
    """The part of `telemetry.Observer` that is told of calls."""

    def command(self, service: str, name: str, result: str, seconds: float) -> None:
        """A call was answered: `result` ok, no (refused) or error."""


@dataclass(slots=True)
class Desk:
    """One for each server. `draining` is set when the server is to stop: long streams then end by themselves."""

    store: Rules
    hub: ChangeHub
    processes: Processes
    maintenance: MaintenanceWork
    uploads: UploadRoom
    observer: CommandObserver | None = None
    tracer: Tracer | None = None
    stream_seconds: float | None = None
    """Seconds after which a long stream ends, so that its caller finds new replicas; None: never."""
    draining: asyncio.Event = field(default_factory=asyncio.Event)

    def observe(self, method: str, started: float, refused: StoreError | None = None) -> None:
        """A call that began at `started` (perf_counter) is over, and so is its span."""
        result = "ok" if refused is None else result_of(refused.reason)
        if self.observer is not None:
            self.observer.command("store", method, result, perf_counter() - started)
        span = current()
        if span is not None:
            span.end(result)

    def join(self, method: str, context: bytes) -> None:
        """Go on with the caller's trace in the running task, until `observe`."""
        if self.tracer is not None:
            SPAN.set(self.tracer.join(method, context))

    async def until_over(self, listening: Coroutine[Any, Any, None], *others: asyncio.Task[None]) -> None:
        """Run a long stream's `listening` until it or one of the others ends, the server drains, or its time is over.

        Raises what they raise.
        """
        listener = asyncio.create_task(listening)
        drain = asyncio.create_task(self.draining.wait())
        try:
            done, _ = await asyncio.wait(
                {listener, drain, *others}, timeout=self.stream_seconds, return_when=asyncio.FIRST_COMPLETED
            )
            for task in done:
                task.result()
        finally:
            listener.cancel()
            drain.cancel()
            await asyncio.gather(listener, drain, return_exceptions=True)
