"""The configuration taken up again while running: on SIGHUP, or when a file of it changed.

All or nothing: what cannot be used as a whole is named in the log and in a metric, and the old values stay. Options
that a running service cannot take up are named in the log and wait for a restart.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Final

from services.common import configuration as configurations
from services.common.directory.users import signature
from services.common.live import Live
from services.common.options import Configuration
from services.common.problems import ConfigurationError, Problem
from services.common.telemetry import Observer, SessionLog
from services.common.tls import CertificateError

LOOK_SECONDS: Final = 1.0

Signatures = dict[str, tuple[int, int, int] | None]


class Reloader:
    """Looks at the files once a second and replaces `live` when there is something new.

    `refresh` are called after each reload, also where no option changed: a file's content may have.
    """

    def __init__(
        self, environ: Mapping[str, str], live: Live[Configuration], observer: Observer, log: SessionLog
    ) -> None:
        self._environ = environ
        self._live = live
        self._observer = observer
        self._log = log
        self._wake = asyncio.Event()
        self.refresh: list[Callable[[Configuration], None]] = []

    def wake(self) -> None:
        """Reload now, whatever the files say."""
        self._wake.set()

    async def run(self) -> None:
        """Until cancelled."""
        loop = asyncio.get_running_loop()
        known = await loop.run_in_executor(None, self._look)
        while True:
            asked = await self._asked()
            found = await loop.run_in_executor(None, self._look)
            if asked or found != known:
                known = found
                await self.reload()

    async def reload(self) -> bool:
        """Read everything again; whether it was taken up."""
        try:
            new = await asyncio.get_running_loop().run_in_executor(None, self._load)
            self._take_up(new)
        except (ConfigurationError, CertificateError) as error:
            self._observer.reloaded(False)
            problems = error.problems if isinstance(error, ConfigurationError) else (Problem("tls", "", str(error)),)
            for problem in problems:
                self._log.error("configuration refused; the old one stays", problem=problem)
            return False
        self._observer.reloaded(True)
        return True

    def _take_up(self, new: Configuration) -> None:
        old = self._live.value
        changed = configurations.changes(old, new)
        merged = configurations.apply_live(old, new)
        for refresh in self.refresh:
            refresh(merged)
        self._live.replace(merged)
        self._log.info("configuration read", changed=", ".join(changed.live) or "nothing")
        if changed.restart:
            self._log.warning("some options wait for a restart", options=", ".join(changed.restart))

    def _load(self) -> Configuration:
        new = configurations.load(environ=self._environ)
        configurations.check_files(new)
        return new

    def _look(self) -> Signatures:
        _, file, _ = configurations.locate(self._environ)
        return {path: signature(path) for path in (file, *configurations.files(self._live.value))}

    async def _asked(self) -> bool:
        try:
            await asyncio.wait_for(self._wake.wait(), LOOK_SECONDS)
        except TimeoutError:
            return False
        self._wake.clear()
        return True
