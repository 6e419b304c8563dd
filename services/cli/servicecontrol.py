"""What `mailkeep start`, `stop`, `restart` and `refresh` do inside the supervisor."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final

from services.cli.controlsocket import Answer, Request, State, Verb
from services.cli.servicegroup import ServiceGroup, StartFailed, all_up, enabled
from services.common import configuration as configurations
from services.common.configuration import EXIT_CONFIGURATION
from services.common.crosschecks import check_new_ports
from services.common.options import Configuration
from services.common.problems import ConfigurationError
from services.common.telemetry import session_logger

LOG = session_logger("supervisor")
EXIT_FAILURE: Final = 1


class Refused(Exception):  # noqa: N818 - the text is for the operator
    """It cannot be done, for a reason that the operator can act on."""


class ServiceControl:
    """Acts on the groups of a running supervisor, one request at a time.

    `environ` is what processes are started with, `stop` is set when everything is to end: nothing is begun then.
    """

    def __init__(self, groups: Mapping[str, ServiceGroup], environ: Mapping[str, str], stop: asyncio.Event) -> None:
        self._groups = groups
        self._environ = environ
        self._stop = stop
        self._turn = asyncio.Lock()
        self._verbs: dict[Verb, Callable[[Sequence[ServiceGroup]], Awaitable[list[dict[str, Any]]]]] = {
            Verb.START: self._start_all,
            Verb.STOP: self._stop_all,
            Verb.RESTART: self._restart_all,
            Verb.REFRESH: self._refresh_all,
        }

    async def answer(self, request: Request) -> Answer:
        """Do it and say what became of it; errors are answers, too."""
        if request.verb is Verb.STATES:
            return {"services": [_state(group, self._known_state(group)) for group in self._groups.values()]}
        named = [self._groups[name] for name in request.services]
        groups = named or [group for group in self._groups.values() if group.running]
        async with self._turn:
            LOG.info("asked", verb=request.verb, services=", ".join(group.service for group in groups))
            try:
                return {"services": await self._verbs[request.verb](groups)}
            except ConfigurationError as error:
                return {"error": str(error), "code": EXIT_CONFIGURATION}
            except Refused as error:
                return {"error": str(error), "code": EXIT_FAILURE}
            except Exception as error:
                LOG.error("failed", error=error, verb=request.verb)
                return {"error": "failed; the supervisor's log says how", "code": os.EX_SOFTWARE}

    # ---- verbs ------------------------------------------------------------------------------------------------------
    async def _start_all(self, groups: Sequence[ServiceGroup]) -> list[dict[str, Any]]:
        known = await self._load(groups)
        for group in groups:
            if not enabled(known, group.service):
                raise Refused(
                    f"{group.service} is disabled ({group.service}.enable): configutil -o {group.service}.enable -v yes"
                )
        return [await self._start(group, known, "started") for group in groups]

    async def _stop_all(self, groups: Sequence[ServiceGroup]) -> list[dict[str, Any]]:
        """In the reverse order, the store last."""
        return [await self._end(group) for group in reversed(groups)]

    async def _restart_all(self, groups: Sequence[ServiceGroup]) -> list[dict[str, Any]]:
        """What cannot be started by the configuration as it is now is not stopped first; what is disabled by it is."""
        known = await self._load(groups)
        for group in reversed(groups):
            await self._end(group)
        return [
            await self._start(group, known, "restarted")
            if enabled(known, group.service)
            else _state(group, "stopped: it is disabled")
            for group in groups
        ]

    async def _refresh_all(self, groups: Sequence[ServiceGroup]) -> list[dict[str, Any]]:
        known = await self._load(())
        for group in groups:
            if not group.running:
                raise Refused(f"{group.service} does not run: mailkeep start {group.service}")
        for group in groups:
            group.reload()
        return [_state(group, "refreshed", _waiting(group, known)) for group in groups]

    # ---- one service ------------------------------------------------------------------------------------------------
    async def _start(self, group: ServiceGroup, known: Configuration, done: str) -> dict[str, Any]:
        if group.running:
            return _state(group, "runs already", _waiting(group, known))
        if self._stop.is_set():
            raise Refused("everything is being stopped")
        group.begin(known, self._environ)
        try:
            if not await all_up(group.workers, self._stop, group.start_seconds):
                raise Refused("everything is being stopped")
        except StartFailed as error:
            LOG.error(error.event, error=None, process=error.worker.name, **error.facts)
            await group.end(known)
            raise Refused(f"{error}; the log says why") from None
        return _state(group, done)

    async def _end(self, group: ServiceGroup) -> dict[str, Any]:
        if group.begun_with is None:
            return _state(group, "does not run")
        await group.end(self._current(group.begun_with))
        return _state(group, State.STOPPED)

    def _current(self, begun_with: Configuration) -> Configuration:
        """With the drain time as it is now: a service takes that up while it runs."""
        try:
            return configurations.load(environ=self._environ)
        except ConfigurationError:
            return begun_with

    async def _load(self, groups: Sequence[ServiceGroup]) -> Configuration:
        """The configuration, good as a whole, with ports that these services can open. Raises ConfigurationError."""
        return await asyncio.to_thread(self._read, groups)

    def _read(self, groups: Sequence[ServiceGroup]) -> Configuration:
        known = configurations.load(environ=self._environ)
        configurations.check_files(known)
        for group in groups:
            check_new_ports(known, group.begun_with, group.service)
        return known

    def _known_state(self, group: ServiceGroup) -> State:
        if group.running:
            return State.RUNNING
        try:
            known = configurations.load(environ=self._environ)
        except ConfigurationError:
            return State.STOPPED
        return State.STOPPED if enabled(known, group.service) else State.DISABLED


def _state(group: ServiceGroup, outcome: str, waiting: Sequence[str] = ()) -> dict[str, Any]:
    return {
        "service": group.service, "outcome": outcome, "processes": len(group.workers), "waiting": list(waiting),
    }  # fmt: skip


def _waiting(group: ServiceGroup, known: Configuration) -> list[str]:
    """Options that a running service takes up at its next start only."""
    if group.begun_with is None:
        return []
    changed = configurations.changes(group.begun_with, known).restart
    return [name for name in changed if group.service in configurations.concerned(name)]
