"""What every service is as a process: configuration, logs, metrics, admin port, signals, reloads, an end in time.

def main() -> None:
    process.run("store", serve)

async def serve(process: Process) -> None:
    ...                       # start
    process.health.checks["disk"] = ...
    process.started()
    await process.stopping.wait()
    ...                       # finish within process.drain_seconds
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Final, NoReturn

import uvloop

import services
from services.common import configuration as configurations
from services.common import telemetry
from services.common.admin import AdminServer, Health
from services.common.certificates import Expiries, certificate_files
from services.common.configuration import EXIT_CONFIGURATION, ConfigurationError
from services.common.descriptors import raise_limit
from services.common.heap import Heap
from services.common.live import Live
from services.common.options import Configuration
from services.common.parent import end_with_parent
from services.common.prometheus import PrometheusObserver
from services.common.reloading import Reloader
from services.common.traceexport import open_tracer
from services.common.workthreads import COMPUTING, WorkThreads

DEFAULT_LEVEL: Final = "default"
"""A service's level of logging that is everybody's."""
LAG_SECONDS: Final = 0.5
HEAP_SECONDS: Final = 5.0
"""How often idle memory is looked for."""
MARGIN_SECONDS: Final = 3.0
"""What an end may take beyond the drain window before it is forced."""
WORKER: Final = "MAILKEEP_WORKER"
"""Which of `numprocesses` this process is, counted from 0; set by the supervisor."""

Serve = Callable[["Process"], Coroutine[Any, Any, None]]


class StartError(Exception):
    """The service cannot start; the text says why."""


class Process:
    """One service process. `configuration` is live; `stopping` is set by SIGTERM and SIGINT."""

    def __init__(self, name: str, configuration: Configuration, environ: Mapping[str, str]) -> None:
        """In the running event loop."""
        self.name = name
        self.environ = environ
        self.worker = int(environ.get(WORKER) or 0)
        self.configuration = Live(configuration)
        self.observer = PrometheusObserver(services.__version__, name, os.path.realpath(configuration.data))
        self.health = Health()
        self.health.starting = True
        self.stopping = asyncio.Event()
        self.log = telemetry.session_logger(name)
        self.tracer = open_tracer(name, self.configuration.part(lambda value: value.trace), self.observer.spans)
        self.reloader = Reloader(environ, self.configuration, self.observer, self.log)
        self.threads = WorkThreads("work", self._most_threads)
        self.observer.watch("threads", "Threads that there are for calls that block.", lambda: len(self.threads))
        self._admin = AdminServer(self.health, self.observer.page)
        self._tasks: list[asyncio.Task[None]] = []
        self._watch_state()
        self._set_level(configuration)
        self.configuration.subscribe(self._set_level)

    @property
    def options(self) -> Any:
        """The service's own group of options, as it is now."""
        return getattr(self.configuration.value, self.name)

    def _set_level(self, configuration: Configuration) -> None:
        own = getattr(getattr(configuration, self.name), "loglevel", DEFAULT_LEVEL)
        telemetry.set_level(configuration.log.level if own == DEFAULT_LEVEL else own)

    def _most_threads(self) -> int:
        """For all that blocks or computes; the store has no bound of its own."""
        return min(COMPUTING, int(getattr(self.options, "maxthreads", COMPUTING)))

    @property
    def drain_seconds(self) -> int:
        """The window from SIGTERM to the end."""
        return int(self.options.drainseconds)

    async def run(self, serve: Serve) -> None:
        """Everything around `serve`. Raises what it raises."""
        loop = asyncio.get_running_loop()
        loop.set_default_executor(self.threads)
        await self._open_admin()
        body = loop.create_task(serve(self))
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop, body, number)
        loop.add_signal_handler(signal.SIGHUP, self.reloader.wake)
        watchers = (self._watch_loop(), self._watch_heap(), self.reloader.run())
        self._tasks = [loop.create_task(watcher) for watcher in watchers]
        try:
            await body
        except asyncio.CancelledError:
            self.log.warning("cut short")
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            if self.tracer is not None:
                await self.tracer.close()
            await self._admin.close()

    def started(self) -> None:
        """Say that everything is up; until then the process is not ready."""
        self.health.starting = False
        notify("READY=1")
        self.log.info("started", version=services.__version__, pid=os.getpid(), admin=self._admin.port)

    async def _open_admin(self) -> None:
        port = self.options.adminport
        if not port:
            return
        host = self.options.adminlisten
        try:
            await self._admin.start(host, port + self.worker)
        except OSError as error:
            raise StartError(f"{self.name}.adminport: {host}:{port + self.worker}: {error.strerror}") from None

    def _stop(self, body: asyncio.Task[None], number: int) -> None:
        if self.stopping.is_set():
            # Asked twice: somebody is waiting.
            body.cancel()
            return
        self.log.info("stopping", signal=signal.Signals(number).name, seconds=self.drain_seconds)
        self.health.draining = True
        self.stopping.set()
        notify("STOPPING=1")
        limit = self.drain_seconds + MARGIN_SECONDS
        asyncio.get_running_loop().call_later(limit, body.cancel)
        force = threading.Timer(limit + MARGIN_SECONDS, os._exit, (1,))
        force.daemon = True
        force.start()

    def _watch_state(self) -> None:
        """What is looked at only when somebody asks."""
        health, observer = self.health, self.observer
        expiries = Expiries(lambda: certificate_files(self.name, self.configuration.value))
        observer.watch("draining", "Whether the process is on its way out.", lambda: float(health.draining))
        observer.watch_each(
            "check_passing", "Whether a check of /readyz passes.", "check", lambda: dict(health.passing)
        )
        observer.watch_each(
            "certificate_expiry_timestamp_seconds", "When a certificate ends, by its option.", "option", expiries.read
        )

    async def _watch_loop(self) -> None:
        """How late the event loop is, again and again."""
        while True:
            due = time.monotonic() + LAG_SECONDS
            await asyncio.sleep(LAG_SECONDS)
            self.observer.loop_lag(max(0.0, time.monotonic() - due))

    async def _watch_heap(self) -> None:
        """Give back what a large message left, again and again."""
        heap = Heap()
        while heap.known:
            await asyncio.sleep(HEAP_SECONDS)
            await asyncio.to_thread(heap.give_back)


def run(name: str, serve: Serve) -> NoReturn:
    """Run `serve` until it is told to stop, and leave: 0 after a drain, 78 for a configuration that cannot be used
    (every error on standard error), 1 for anything else that kept it from starting or made it fail.
    """
    end_with_parent(os.environ)
    try:
        configuration = configurations.load(environ=os.environ)
        configurations.check_files(configuration)
        if WORKER not in os.environ:
            # Under a supervisor all ports were tried before the first service was started.
            configurations.check_ports(configuration, [name])
    except ConfigurationError as error:
        sys.stderr.write(f"mailkeep {name}: {error}\n")
        sys.exit(EXIT_CONFIGURATION)
    telemetry.configure_logging(configuration.log)
    raise_limit()
    sys.exit(_run(name, configuration, serve))


def _run(name: str, configuration: Configuration, serve: Serve) -> int:
    async def main() -> None:
        await Process(name, configuration, os.environ).run(serve)

    log = telemetry.session_logger(name)
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(main())
    except ConfigurationError as error:
        sys.stderr.write(f"mailkeep {name}: {error}\n")
        return EXIT_CONFIGURATION
    except StartError as error:
        log.error("cannot start", why=str(error))
        return 1
    except Exception as error:
        log.error("failed", error=error)
        return 1
    log.info("stopped")
    return 0


def notify(state: str) -> None:
    """Tell systemd (sd_notify); nothing where it does not listen."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.setblocking(False)
        try:
            sock.sendto(state.encode(), f"\0{address[1:]}" if address.startswith("@") else address)
        except OSError:
            telemetry.session_logger("process").warning("systemd was not told", state=state)
