"""Questions to the directory: as many at once as there may be connections, the rest wait in order.

A question goes to the first server that answers; one whose connection is found dead is asked again, since a server that
was restarted closes them all. Only making a connection blocks, and does so in a thread.
"""

from __future__ import annotations

import asyncio
import socket
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from time import monotonic, perf_counter
from typing import Final, TypeAlias, TypeVar

from services.common.directory import DirectoryUnavailable
from services.common.directory.ldap.answers import SUCCESS, NoAnswer, PasswordAnswer
from services.common.directory.ldap.lanes import BASE, Found, Lane, LinkLost, Question
from services.common.directory.ldap.links import bind_password, connected, search_all
from services.common.directory.ldap.places import parse_place
from services.common.directory.ldap.servers import Server, candidates
from services.common.live import Live
from services.common.options import LdapOptions
from services.common.telemetry import NO_OBSERVER, Observer
from services.common.workthreads import WorkThreads

MAX_WAITING: Final = 2000
"""Questions that may wait for a connection; one more is refused for now."""
WAIT_SECONDS: Final = 30.0
IDLE_SECONDS: Final = 60.0
"""A connection that nobody used for so long is not trusted any more: a firewall may have forgotten it."""
T = TypeVar("T")
_Action: TypeAlias = Callable[[Lane], Awaitable[T]]
_Idle: TypeAlias = deque[Lane]
_ROOT: Final = Question("", "(objectClass=*)", ("1.1",), scope=BASE)


class Pool:
    """Connections to all servers. Methods of the event loop; all raise DirectoryUnavailable."""

    def __init__(self, options: Live[LdapOptions], observer: Observer = NO_OBSERVER) -> None:
        self._options = options
        self._observer = observer
        self._servers = [Server[Lane](parse_place(text)) for text in options.value.servers]
        most = options.value.connections
        self._threads = WorkThreads("directory", lambda: most)
        self._room = asyncio.Semaphore(most)
        self._closed = False
        self.waiting = 0
        self.busy = 0
        self.reached = False
        """Whether a server has answered since the start."""

    @property
    def servers_up(self) -> int:
        """Servers that answered when they were last asked."""
        return sum(not server.failing for server in self._servers)

    async def search(self, question: Question) -> list[Found]:
        """Entries, at most `question.limit`."""
        async with self._turn("search"):
            return await self._read(lambda lane: lane.search(question))

    async def search_all(self, question: Question) -> list[Found]:
        """Every entry, however many, on a connection of its own: for commands, not for sessions."""
        async with self._turn("search"):
            return await self._each(lambda server: self._in_thread(search_all, server, question))

    async def bind(self, dn: str, password: str) -> PasswordAnswer:
        """The answer to a bind with a person's password."""
        async with self._turn("bind"):
            return await self._each(
                lambda server: self._with_lane(
                    server.checkers, lambda: self._open(server), lambda lane: lane.bind(dn, password)
                )
            )

    async def compare(self, dn: str, attribute: str, value: str) -> PasswordAnswer:
        """The answer to a comparison, made as the service account."""
        async with self._turn("compare"):
            return await self._read(lambda lane: lane.compare(dn, attribute, value))

    async def reach(self) -> None:
        """Look whether the servers that failed answer again; before the first answer, all of them.

        A question goes to a server that failed only where no other one answers, so somebody has to look.
        """
        async with self._turn("reach"):
            for server in self._servers:
                if server.up and (server.failing or not self.reached):
                    await self._look(server)
            if not self.servers_up:
                raise NoAnswer("no directory server answers")

    def close(self) -> None:
        """Close what is idle, and wait for nothing; what is still in use is closed when it comes back."""
        self._closed = True
        self._threads.shutdown(wait=False, cancel_futures=True)
        for server in self._servers:
            for lanes in (server.readers, server.checkers):
                while lanes:
                    lanes.pop().close()

    async def wait_closed(self) -> None:
        """Until the threads are done, after `close`: nothing is left open then."""
        await asyncio.to_thread(self._threads.shutdown)
        await asyncio.sleep(0)

    # ---- a turn
    @asynccontextmanager
    async def _turn(self, name: str) -> AsyncIterator[None]:
        """Room for a question, which is measured with its wait. Raises DirectoryUnavailable."""
        begin, result = perf_counter(), "error"
        try:
            await self._enter()
            try:
                yield
                result = "ok"
                self.reached = True
            finally:
                self.busy -= 1
                self._room.release()
        except NoAnswer as error:
            raise DirectoryUnavailable(str(error)) from None
        finally:
            self._observer.ldap_call(name, result, perf_counter() - begin)

    async def _enter(self) -> None:
        """Raises NoAnswer."""
        if self._room.locked():
            await self._wait()
        else:
            await self._room.acquire()
        self.busy += 1

    async def _wait(self) -> None:
        if self.waiting >= MAX_WAITING:
            raise NoAnswer("too many questions to the directory wait")
        self.waiting += 1
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                await self._room.acquire()
        except TimeoutError:
            raise NoAnswer("no connection came free") from None
        finally:
            self.waiting -= 1

    # ---- servers and connections
    async def _each(self, ask: Callable[[Server[Lane]], Awaitable[T]]) -> T:
        """Ask the servers in order until one answers. Raises NoAnswer."""
        problems = []
        for server in candidates(self._servers):
            try:
                value = await ask(server)
            except LinkLost as error:
                server.failed(str(error))
                problems.append(f"{server.place}: {error}")
            else:
                server.worked()
                return value
        raise NoAnswer("; ".join(problems) or "no directory server answers")

    async def _read(self, action: _Action[T]) -> T:
        return await self._each(
            lambda server: self._with_lane(server.readers, lambda: self._open_reader(server), action)
        )

    async def _look(self, server: Server[Lane]) -> None:
        make = self._open_reader
        try:
            await self._with_lane(server.readers, lambda: make(server), lambda lane: lane.search(_ROOT))
        except LinkLost as error:
            server.failed(str(error))
        else:
            server.worked()

    async def _with_lane(self, idle: _Idle, make: Callable[[], Awaitable[Lane]], action: _Action[T]) -> T:
        """Do it on an idle connection, and where the server has closed that, on a new one."""
        lane = _take(idle)
        if lane is not None:
            try:
                return await self._used(lane, idle, action)
            except LinkLost as error:
                if error.slow:
                    raise
        return await self._used(await make(), idle, action)

    async def _used(self, lane: Lane, idle: _Idle, action: _Action[T]) -> T:
        try:
            return await action(lane)
        finally:
            if self._closed:
                lane.close()
            elif lane.usable:
                idle.append(lane)

    async def _open(self, server: Server[Lane]) -> Lane:
        making = self._in_thread(connected, server)
        try:
            connection = await asyncio.shield(making)
        except asyncio.CancelledError:
            making.add_done_callback(_discard)
            raise
        return Lane(connection, self._options.value.searchtimeout)

    async def _open_reader(self, server: Server[Lane]) -> Lane:
        options = self._options.value
        password = await asyncio.to_thread(bind_password, options)
        lane = await self._open(server)
        if options.binddn:
            answer = await lane.bind(options.binddn, password)
            if answer.code != SUCCESS:
                lane.close()
                raise LinkLost(f"the service account {options.binddn} is refused: result {answer.code}")
        return lane

    def _in_thread(self, blocking: Callable[..., T], server: Server[Lane], *more: object) -> asyncio.Future[T]:
        loop = asyncio.get_running_loop()
        return loop.run_in_executor(self._threads, blocking, server.place, self._options.value, *more)


def _discard(making: asyncio.Future[socket.socket]) -> None:
    """Close a connection that nobody waits for any more."""
    if not making.cancelled() and making.exception() is None:
        making.result().close()


def _take(idle: _Idle) -> Lane | None:
    """The connection used last. One that was idle for long may be dead without anybody having said so."""
    while idle:
        lane = idle.pop()
        if lane.usable and monotonic() - lane.used < IDLE_SECONDS:
            return lane
        lane.close()
    return None
