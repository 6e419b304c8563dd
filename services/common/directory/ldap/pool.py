"""Questions to the directory, asked in threads: as many at once as there are connections, the rest wait in order.

ldap3 waits for its sockets; the event loop does not. A question goes to the first server that answers; one whose
connection is found dead is asked again, since a server that was restarted closes them all.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from time import monotonic, perf_counter
from typing import Final, TypeAlias, TypeVar

from services.common.directory import DirectoryUnavailable
from services.common.directory.ldap.answers import SUCCESS, NoAnswer, PasswordAnswer
from services.common.directory.ldap.links import BASE, Found, Link, LinkLost, Question
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
_IdleOf: TypeAlias = "Callable[[Server[Link]], deque[Link]]"


_ROOT: Final = Question("", "(objectClass=*)", ("1.1",), scope=BASE)


class Pool:
    """Connections to all servers. Methods of the event loop; all raise DirectoryUnavailable."""

    def __init__(self, options: Live[LdapOptions], observer: Observer = NO_OBSERVER) -> None:
        self._options = options
        self._observer = observer
        self._servers = [Server[Link](parse_place(text)) for text in options.value.servers]
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
        return await self._run("search", lambda: self._read(lambda link: link.search(question)))

    async def search_all(self, question: Question) -> list[Found]:
        """Every entry, however many: for commands, not for sessions."""
        return await self._run("search", lambda: self._read(lambda link: list(link.search_all(question))))

    async def bind(self, dn: str, password: str) -> PasswordAnswer:
        """The answer to a bind with a person's password."""
        return await self._run("bind", lambda: self._check(lambda link: link.bind(dn, password)))

    async def compare(self, dn: str, attribute: str, value: str) -> PasswordAnswer:
        """The answer to a comparison, made as the service account."""
        return await self._run("compare", lambda: self._read(lambda link: link.compare(dn, attribute, value)))

    async def reach(self) -> None:
        """Look whether the servers that failed answer again; before the first answer, all of them.

        A question goes to a server that failed only where no other one answers, so somebody has to look.
        """
        await self._run("reach", self._reach)

    def close(self) -> None:
        """Close what is idle, and wait for nothing; threads that still ask close what they used."""
        self._closed = True
        self._threads.shutdown(wait=False, cancel_futures=True)
        for server in self._servers:
            for links in (server.readers, server.checkers):
                _close_all(links)

    # ---- the event loop's side --------------------------------------------------------------------------------------
    async def _run(self, name: str, work: Callable[[], T]) -> T:
        if self.waiting >= MAX_WAITING:
            raise DirectoryUnavailable("too many questions to the directory wait")
        begin = perf_counter()
        result = "error"
        try:
            await self._enter()
            value = await self._in_thread(work)
            result = "ok"
        except NoAnswer as error:
            raise DirectoryUnavailable(str(error)) from None
        finally:
            self._observer.directory_call(name, result, perf_counter() - begin)
        self.reached = True
        return value

    async def _enter(self) -> None:
        self.waiting += 1
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                await self._room.acquire()
        except TimeoutError:
            raise NoAnswer("no connection came free") from None
        finally:
            self.waiting -= 1

    async def _in_thread(self, work: Callable[[], T]) -> T:
        """Who is cancelled goes at once; the thread holds its room until it is done."""
        self.busy += 1
        future = asyncio.get_running_loop().run_in_executor(self._threads, work)
        future.add_done_callback(lambda _: self._leave())
        return await asyncio.shield(future)

    def _leave(self) -> None:
        self.busy -= 1
        self._room.release()

    # ---- the threads' side ------------------------------------------------------------------------------------------
    def _read(self, action: Callable[[Link], T]) -> T:
        return self._ask(lambda server: server.readers, self._open_reader, action)

    def _check(self, action: Callable[[Link], T]) -> T:
        return self._ask(lambda server: server.checkers, self._open, action)

    def _ask(self, idle: _IdleOf, make: Callable[[Server[Link]], Link], action: Callable[[Link], T]) -> T:
        problems = []
        for server in candidates(self._servers):
            try:
                value = self._with_link(idle(server), partial(make, server), action)
            except LinkLost as error:
                server.failed(str(error))
                problems.append(f"{server.place}: {error}")
            else:
                server.worked()
                return value
        raise NoAnswer("; ".join(problems) or "no directory server answers")

    def _reach(self) -> None:
        """Raises NoAnswer where no server answers."""
        for server in self._servers:
            if server.up and (server.failing or not self.reached):
                try:
                    self._with_link(server.readers, partial(self._open_reader, server), lambda link: link.search(_ROOT))
                except LinkLost as error:
                    server.failed(str(error))
                else:
                    server.worked()
        if not self.servers_up:
            raise NoAnswer("no directory server answers")

    def _open(self, server: Server[Link]) -> Link:
        return Link(server.place, self._options.value)

    def _open_reader(self, server: Server[Link]) -> Link:
        options = self._options.value
        link = self._open(server)
        if options.binddn:
            answer = link.bind(options.binddn, options.bindpassword)
            if answer.code != SUCCESS:
                link.close()
                raise LinkLost(f"the service account {options.binddn} is refused: result {answer.code}")
        return link

    def _with_link(self, idle: deque[Link], make: Callable[[], Link], action: Callable[[Link], T]) -> T:
        """Do it on an idle connection, and where the server has closed that, on a new one."""
        link = _take(idle)
        if link is not None:
            try:
                return self._used(link, idle, action)
            except LinkLost as error:
                if error.slow:
                    raise
        return self._used(make(), idle, action)

    def _used(self, link: Link, idle: deque[Link], action: Callable[[Link], T]) -> T:
        try:
            value = action(link)
        except LinkLost:
            link.close()
            raise
        except NoAnswer:
            idle.append(link)
            raise
        link.used = monotonic()
        idle.append(link)
        if self._closed:
            _close_all(idle)
        return value


def _take(idle: deque[Link]) -> Link | None:
    """The connection used last. One that was idle for long may be dead without anybody having said so."""
    with suppress(IndexError):
        while True:
            link = idle.pop()
            if monotonic() - link.used < IDLE_SECONDS:
                return link
            link.close()
    return None


def _close_all(idle: deque[Link]) -> None:
    # Several threads may do so at once.
    with suppress(IndexError):
        while True:
            idle.pop().close()
