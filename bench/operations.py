"""The operations that are measured: one table, each a coroutine that is repeated until the time is over."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from time import perf_counter

from bench.links import ImapLink, LmtpLink, PopLink
from bench.servers import Server


@dataclass(slots=True)
class Site:
    """What an operation runs against."""

    server: Server
    users: list[str]
    password: str
    messages: int
    small: list[str]
    """Accounts with 300 messages, for POP3."""
    bodies: list[bytes] = field(default_factory=list)


@dataclass(slots=True)
class Worker:
    """One of the concurrent clients of an operation."""

    site: Site
    number: int
    imap: ImapLink | None = None
    lmtp: LmtpLink | None = None
    random: random.Random = field(default_factory=random.Random)

    @property
    def user(self) -> str:
        """The account that this worker uses."""
        return self.site.users[self.number % len(self.site.users)]

    @property
    def link(self) -> ImapLink:
        """The selected IMAP connection."""
        if self.imap is None:
            raise RuntimeError("the operation was not prepared with `selected`")
        return self.imap


Step = Callable[[Worker], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Command:
    """One IMAP command on the selected connection, made anew for each time."""

    text: Callable[[Worker], bytes]

    async def repeat(self, worker: Worker, end: float) -> int:
        """Run it until `end` (perf_counter), at least once; how often it was."""
        return await worker.link.repeat(lambda: self.text(worker), end)


@dataclass(frozen=True, slots=True)
class Steps:
    """Anything else."""

    step: Step

    async def repeat(self, worker: Worker, end: float) -> int:
        """As `Command.repeat`."""
        done = 0
        while not done or perf_counter() < end:
            await self.step(worker)
            done += 1
        return done


@dataclass(frozen=True, slots=True)
class Operation:
    """A row of the table. `unit` is what the rate counts: operations, or the bytes of their answers."""

    name: str
    concurrency: tuple[int, ...]
    prepare: Callable[[Worker], Awaitable[None]]
    work: Command | Steps
    unit: str = "/s"
    finish: Callable[[Worker], Awaitable[None]] | None = None
    goal: dict[int, float] = field(default_factory=dict)
    """Concurrency -> wanted ratio to Dovecot."""
    exclusive: str = ""
    """The list of accounts that it uses one worker each, where a mailbox takes one session at a time."""

    def most(self, site: Site) -> int:
        """The largest concurrency that makes sense."""
        return len(getattr(site, self.exclusive)) if self.exclusive else max(self.concurrency)


async def nothing(worker: Worker) -> None:
    """No preparation."""


async def selected(worker: Worker) -> None:
    """A logged-in connection with INBOX selected."""
    link = await ImapLink.open(worker.site.server.imap)
    await link.login(worker.user, worker.site.password)
    await link.command(b"SELECT INBOX")
    worker.imap = link


async def lmtp_greeted(worker: Worker) -> None:
    """An LMTP connection after LHLO."""
    worker.lmtp = await LmtpLink.open(worker.site.server.lmtp)
    await worker.lmtp.command(b"LHLO bench")


async def close(worker: Worker) -> None:
    """Drop what `prepare` opened."""
    if worker.imap is not None:
        worker.imap.close()
    if worker.lmtp is not None:
        worker.lmtp.close()


async def login_logout(worker: Worker) -> None:
    """A new connection, LOGIN, LOGOUT."""
    link = await ImapLink.open(worker.site.server.imap)
    await link.login(worker.user, worker.site.password)
    await link.command(b"LOGOUT")
    link.close()


async def login_fetch_logout(worker: Worker) -> None:
    """What a phone does: LOGIN, SELECT, all flags, LOGOUT."""
    link = await ImapLink.open(worker.site.server.imap)
    await link.login(worker.user, worker.site.password)
    await link.command(b"SELECT INBOX")
    await link.command(b"FETCH 1:* (UID FLAGS)")
    await link.command(b"LOGOUT")
    link.close()


def command(text: bytes) -> Command:
    """The same command again and again."""
    return Command(lambda worker: text)


def fetch_random(worker: Worker) -> bytes:
    """One message at random."""
    return b"FETCH %d BODY.PEEK[]" % worker.random.randint(1, worker.site.messages)


def store_random(worker: Worker) -> bytes:
    """A flag on one message at random."""
    number = worker.random.randint(1, worker.site.messages)
    return b"STORE %d %cFLAGS (\\Flagged)" % (number, b"+-"[worker.random.randint(0, 1)])


async def append(worker: Worker) -> None:
    """APPEND of a message of the sample."""
    await worker.link.append(b"Bench", worker.random.choice(worker.site.bodies))


async def append_ready(worker: Worker) -> None:
    """A connection and a folder to append to."""
    worker.imap = await ImapLink.open(worker.site.server.imap)
    await worker.imap.login(worker.user, worker.site.password)
    try:
        await worker.imap.command(b"CREATE Bench")
    except RuntimeError:
        return  # it is there from the last round


async def deliver(worker: Worker) -> None:
    """LMTP delivery of a message of the sample to the accounts in turn, into a folder of theirs."""
    if worker.lmtp is None:
        raise RuntimeError("not greeted")
    user = worker.site.server.address(worker.random.choice(worker.site.small))
    await worker.lmtp.deliver(user, worker.random.choice(worker.site.bodies).replace(b"\r\n.", b"\r\n.."))


def pop_session(accounts: str) -> Step:
    """Login, STAT, UIDL, 10 RETR, QUIT; each worker has an account of its own where there are enough."""

    async def step(worker: Worker) -> None:
        users: list[str] = getattr(worker.site, accounts)
        link = await PopLink.open(worker.site.server.pop)
        await link.command(f"USER {users[worker.number % len(users)]}".encode())
        await link.command(f"PASS {worker.site.password}".encode())
        await link.command(b"STAT")
        await link.command(b"UIDL", multiline=True)
        for number in range(1, 11):
            await link.command(b"RETR %d" % number, multiline=True)
        await link.command(b"QUIT")
        link.close()

    return step


_ENVELOPE = b"FETCH 1:* (UID FLAGS INTERNALDATE RFC822.SIZE ENVELOPE)"
_HEADERS = b"FETCH 1:* BODY.PEEK[HEADER.FIELDS (DATE FROM SUBJECT)]"

OPERATIONS: tuple[Operation, ...] = (
    Operation("LOGIN+LOGOUT", (20,), nothing, Steps(login_logout), goal={20: 1.0}),
    Operation("LOGIN, SELECT, FETCH flags, LOGOUT", (10,), nothing, Steps(login_fetch_logout), goal={10: 1.0}),
    Operation("NOOP", (1, 10), selected, command(b"NOOP"), finish=close, goal={1: 2.0, 10: 2.0}),
    Operation(
        "FETCH n BODY.PEEK[]", (1, 10, 40), selected, Command(fetch_random), finish=close, goal={1: 1.5, 10: 1.5}
    ),
    Operation("FETCH 1:* (UID FLAGS)", (2,), selected, command(b"FETCH 1:* (UID FLAGS)"), finish=close, goal={2: 1.0}),
    Operation("FETCH 1:* ENVELOPE", (2,), selected, command(_ENVELOPE), finish=close, goal={2: 2.0}),
    Operation("FETCH 1:* HEADER.FIELDS", (2,), selected, command(_HEADERS), finish=close, goal={2: 1.0}),
    Operation("FETCH 1:* BODY.PEEK[]", (2,), selected, command(b"FETCH 1:* BODY.PEEK[]"), "B/s", close, {2: 1.5}),
    Operation("STORE n FLAGS", (10, 40), selected, Command(store_random), finish=close, goal={10: 1.0, 40: 1.4}),
    Operation("SEARCH SUBJECT word", (4,), selected, command(b"SEARCH SUBJECT report"), finish=close, goal={4: 25.0}),
    Operation("SEARCH BODY word", (2,), selected, command(b"SEARCH BODY invoice"), finish=close, goal={2: 170.0}),
    Operation(
        "POP3 session, 300 messages", (10,), nothing, Steps(pop_session("small")), goal={10: 1.0}, exclusive="small"
    ),
    Operation(
        "POP3 session, all messages", (8,), nothing, Steps(pop_session("users")), goal={8: 2.0}, exclusive="users"
    ),
    Operation("APPEND", (10,), append_ready, Steps(append), finish=close, goal={10: 1.0}),
    Operation("LMTP delivery", (10,), lmtp_greeted, Steps(deliver), finish=close, goal={10: 1.0}),
)
