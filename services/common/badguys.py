"""Addresses whose logins fail: they wait, and are shut out in the end. Kept for all processes of the machine.

What costs anything is done only while something is held against somebody: as long as no login failed for a while, a
look is two numbers compared. Nothing here waits for anybody.
"""

from __future__ import annotations

from asyncio import sleep
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from time import time
from typing import Final

from services.common.access.marks import Key, Mark, MarkRules, address_key, address_number
from services.common.access.networks import Networks
from services.common.accessoptions import AccessOptions
from services.common.directory import LoginRefusal, LoginRefused, Throttled
from services.common.limits import without_slot
from services.common.live import Live
from services.common.markfile import MarkFile
from services.common.telemetry import NO_OBSERVER, Observer, current_log, session_logger
from services.common.turns import LineTooLong, Turns

WAIT_OF_ADDRESS: Final = 100
WAIT_OF_ALL: Final = 5000
"""Logins that may wait in one process: of one address, of all."""
_LOG: Final = session_logger("access")


class BadGuys:
    """`penalty` is the service's `bgpenalty` as it is now."""

    def __init__(
        self,
        options: Live[AccessOptions],
        penalty: Callable[[], int] = lambda: 0,
        file: MarkFile | None = None,
        observer: Observer = NO_OBSERVER,
        clock: Callable[[], float] = time,
    ) -> None:
        self._penalty = penalty
        self._file = file or MarkFile()
        self._observer = observer
        self._clock = clock
        self._prefix = options.value.ipv6prefix
        self._rules = MarkRules()
        self._excluded = Networks()
        self._waiting: Counter[Key] = Counter()
        self._waiters = 0
        self._turns = Turns()
        self._take(options.value)
        options.subscribe(self._take)

    def banned(self, address: str) -> bool:
        """Whether the address is shut out, by an administrator or by its failures."""
        now = self._clock()
        mark = self._mark(address, now)
        return (mark is not None and mark.banned(now)) or self._barred(address, now)

    def marked(self, address: str) -> bool:
        """Whether anything is held against the address."""
        return self._mark(address, self._clock()) is not None

    async def hold_up(self, service: str, address: str) -> None:
        """Let a login wait as long as its address has to; no command slot is held meanwhile.

        Who gives up waits on all the same here, so there is a limit to those who may. Raises LoginRefused (BANNED),
        Throttled.
        """
        now = self._clock()
        mark = self._mark(address, now)
        if mark is None:
            return
        if mark.banned(now):
            raise LoginRefused(LoginRefusal.BANNED)
        seconds = mark.wait(self._rules, now)
        if not seconds:
            return
        if self._waiting[mark.key] >= WAIT_OF_ADDRESS or self._waiters >= WAIT_OF_ALL:
            raise Throttled("too many logins wait")
        self._observer.login_delayed(service)
        self._waiting[mark.key] += 1
        self._waiters += 1
        try:
            async with without_slot():
                await sleep(seconds)
        finally:
            self._waiters -= 1
            self._waiting[mark.key] -= 1
            if not self._waiting[mark.key]:
                del self._waiting[mark.key]

    @asynccontextmanager
    async def turn(self, address: str) -> AsyncIterator[None]:
        """For the check of a password: when it is the address's turn. No command slot is held while it waits.

        Raises LoginRefused (BANNED: meanwhile), Throttled.
        """
        key = self._key(address)
        if key is None:
            yield
            return
        async with AsyncExitStack() as stack:
            try:
                async with without_slot():
                    await stack.enter_async_context(self._turns.turn(key))
            except LineTooLong:
                raise Throttled("too many logins wait") from None
            if (mark := self._mark(address, now := self._clock())) is not None and mark.banned(now):
                raise LoginRefused(LoginRefusal.BANNED)
            yield

    def failed(self, service: str, address: str) -> None:
        """A login with a wrong name or password."""
        penalty, rules, now = self._penalty(), self._rules, self._clock()
        key = self._key(address)
        if key is None or not (penalty or rules.failures):
            return
        new = True

        def change(old: Mark) -> Mark:
            nonlocal new
            new = not old.banned(now)
            return old.failed(penalty, rules, now)

        mark = self._file.change(key, change, rules, now)
        if mark is not None and new:
            self._tell(service, address, mark, now)

    def _tell(self, service: str, address: str, mark: Mark, now: float) -> None:
        log = current_log(service, address)
        if mark.banned(now):
            self._observer.banned(service)
            log.warning("address shut out", network=mark.key, seconds=round(mark.until - now))
        else:
            log.info("badguy", network=mark.key, badness=round(mark.badness), failures=mark.failures)

    def succeeded(self, address: str) -> None:
        """A login that was right: what was held against its address is over."""
        now, key = self._clock(), self._key(address)
        if key is None:
            return
        self._turns.welcome(key)
        if self._mark(address, now) is not None:
            self._file.change(key, Mark.cleared, self._rules, now)

    def counts(self) -> dict[str, float]:
        """Addresses that wait (`delayed`) and that are shut out (`banned`). Goes through the whole file."""
        now = self._clock()
        marks = list(self._file.marks()) if now < self._file.horizon else []
        banned = sum(mark.banned(now) for mark in marks) + sum(now < ban.until for ban in self._file.bans())
        return {"delayed": sum(mark.wait(self._rules, now) > 0 for mark in marks), "banned": banned}

    def close(self) -> None:
        """Let the file go."""
        self._file.close()

    def _barred(self, address: str, now: float) -> bool:
        """By an administrator."""
        bans = self._file.bans()
        number = address_number(address) if bans else None
        return number is not None and any(now < ban.until and ban.key.holds(number) for ban in bans)

    def _mark(self, address: str, now: float) -> Mark | None:
        """What is held against the address."""
        if now >= self._file.horizon:
            return None
        key = self._key(address)
        mark = None if key is None else self._file.find(key)
        return None if mark is None or mark.matters(self._rules) <= now else mark

    def _key(self, address: str) -> Key | None:
        """None for those against whom nothing is ever held."""
        return None if self._excluded.holds(address) else address_key(address, self._prefix)

    def _take(self, options: AccessOptions) -> None:
        self._rules = rules_of(options)
        self._excluded = Networks((*options.bgexcluded, *options.trustedproxies))


def rules_of(options: AccessOptions) -> MarkRules:
    """The options as rules."""
    return MarkRules(options.bgmaxbadness, options.bgdecay, options.banfailures, options.banwindow, options.bantime)


def open_marks(path: str) -> MarkFile:
    """The shared file, or memory of this process where it cannot be had: logins go on."""
    try:
        return MarkFile(path)
    except OSError as error:
        _LOG.warning("failed logins are counted by each process alone", path=path, why=error.strerror)
        return MarkFile()
