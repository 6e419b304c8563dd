"""`python -m bench.jmap`: JMAP requests, uploads and idle event streams of one HTTP process.

Wall-clock figures hold the client, too; CPU is the services' alone, by operation.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import time
from base64 import b64encode
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import aiohttp
import uvloop
from rich.console import Console
from rich.table import Table

from bench.__main__ import settled
from bench.links import ImapLink, LmtpLink
from bench.servers import Mailkeep, processes, proportional_set
from services.common.samplemail import sample_mails

PASSWORD = "testpass"
USER = "jmap@bench.example"
MAIL = "urn:ietf:params:jmap:mail"
USING = ["urn:ietf:params:jmap:core", MAIL]
ROW = ["threadId", "mailboxIds", "keywords", "from", "subject", "receivedAt", "preview", "hasAttachment", "size"]
UPLOAD = bytes(10 << 20)
console = Console(width=120)


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="bench.jmap", description=__doc__)
    parser.add_argument("--messages", type=int, default=100_000)
    parser.add_argument("--seconds", type=float, default=5.0, help="how long each operation runs")
    parser.add_argument("--idle", type=int, default=1_000, help="event streams for the memory figure; 0 leaves it out")
    parser.add_argument("--data", type=Path, default=Path("bench/data-jmap"))
    return parser.parse_args()


class HttpMailkeep(Mailkeep):
    """With the HTTP service."""

    imap, pop, lmtp, http = 6143, 6110, 6524, 6990
    metrics = (6943, 6910, 6924)

    def __init__(self, data: Path) -> None:
        super().__init__(data)
        self._environ |= {
            "MAILKEEP_HTTP_ENABLE": "yes",
            "MAILKEEP_HTTP_PORT": str(self.http),
            "MAILKEEP_HTTP_ENABLESSLPORT": "no",
            "MAILKEEP_HTTP_ADMINPORT": "6980",
            "MAILKEEP_STORE_ADMINPORT": "6964",
            "MAILKEEP_HTTP_MAXSESSIONSPERADDRESS": "0",
            "MAILKEEP_HTTP_MAXSESSIONSPERUSER": "0",
        }

    async def start(self, users: list[str], password: str) -> None:
        await super().start(users, password)
        await answering_http(self.http)

    def memory(self) -> int:
        return proportional_set(processes("services.http"))


async def answering_http(port: int, seconds: float = 60) -> None:
    """Wait until the port takes connections: HTTP has no greeting."""
    end = time.monotonic() + seconds
    while True:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            if time.monotonic() > end:
                raise
            await asyncio.sleep(0.1)
        else:
            writer.close()
            return


class Client:
    """One account's JMAP client."""

    def __init__(self, session: aiohttp.ClientSession, base: str) -> None:
        self.session = session
        self.base = base
        self.account = self.inbox = self.state = ""

    @classmethod
    async def open(cls, port: int) -> Self:
        """Logged in, INBOX found, the account's index made."""
        basic = b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        client = cls(aiohttp.ClientSession(headers={"Authorization": f"Basic {basic}"}), f"http://127.0.0.1:{port}")
        async with client.session.get(f"{client.base}/.well-known/jmap") as answer:
            client.account = (await answer.json())["primaryAccounts"][MAIL]
        [found] = await client.call(["Mailbox/query", {"filter": {"role": "inbox"}}])
        client.inbox = found["ids"][0]
        [emails] = await client.call(["Email/get", {"ids": []}])
        client.state = emails["state"]
        return client

    async def call(self, *calls: list[Any]) -> list[dict[str, Any]]:
        """Calls of one request, all of which succeed."""
        invocations = [[name, {"accountId": self.account, **rest}, str(at)] for at, (name, rest) in enumerate(calls)]
        body = json.dumps({"using": USING, "methodCalls": invocations})
        async with self.session.post(
            f"{self.base}/jmap", data=body, headers={"Content-Type": "application/json"}
        ) as answer:
            responses = (await answer.json())["methodResponses"]
        assert all(name == asked[0] for (name, _, _), asked in zip(responses, calls, strict=True)), responses
        return [result for _, result, _ in responses]

    async def first_page(self) -> None:
        """What a mail list shows."""
        query = {"filter": {"inMailbox": self.inbox}, "sort": [{"property": "receivedAt", "isAscending": False}]}
        found = {"resultOf": "0", "name": "Email/query", "path": "/ids"}
        rows = await self.call(
            ["Email/query", {**query, "limit": 30}], ["Email/get", {"#ids": found, "properties": ROW}]
        )
        assert len(rows[1]["list"]) == 30

    async def changed_page(self) -> None:
        """The same after a new mail."""
        await self.call(["Email/set", {"create": {"a": {"mailboxIds": {self.inbox: True}, "subject": "new"}}}])
        await self.first_page()

    async def no_change(self) -> None:
        """Whether there is anything new."""
        await self.call(["Email/changes", {"sinceState": self.state}])

    async def upload(self) -> None:
        """10 MiB."""
        async with self.session.post(f"{self.base}/jmap/upload/{self.account}/", data=_body()) as answer:
            assert answer.status == 201


async def _body() -> Any:
    for at in range(0, len(UPLOAD), 1 << 18):
        yield UPLOAD[at : at + (1 << 18)]


@dataclass(frozen=True, slots=True)
class Operation:
    """What is measured, and by how many at once."""

    name: str
    step: Callable[[Client], Awaitable[None]]
    concurrency: int = 1


OPERATIONS = (
    Operation("Email/query + Email/get, first page", Client.first_page),
    Operation("Email/query + Email/get, first page", Client.first_page, 8),
    Operation("Email/set of a new mail, then the first page", Client.changed_page),
    Operation("Email/changes, none", Client.no_change),
    Operation("Email/changes, none", Client.no_change, 8),
    Operation("upload of 10 MiB", Client.upload),
)


async def measure(server: Mailkeep, client: Client, operation: Operation, seconds: float) -> list[str]:
    """A row: operations a second, the middle time, CPU of the services for each."""
    [emails] = await client.call(["Email/get", {"ids": []}])
    client.state = emails["state"]
    await operation.step(client)
    times: list[float] = []
    end = time.monotonic() + seconds

    async def repeat() -> None:
        while time.monotonic() < end:
            started = time.perf_counter()
            await operation.step(client)
            times.append(time.perf_counter() - started)

    cpu, started = server.cpu(), time.monotonic()
    await asyncio.gather(*(repeat() for _ in range(operation.concurrency)))
    wall, used = time.monotonic() - started, server.cpu() - cpu
    figures = (len(times) / wall, statistics.median(times) * 1000, used / len(times) * 1000)
    return [operation.name, str(operation.concurrency), *(f"{figure:.1f}" for figure in figures)]


async def idle_streams(server: HttpMailkeep, count: int) -> float:
    """KiB of memory for each event stream that waits."""
    basic = b64encode(f"{USER}:{PASSWORD}".encode()).decode()
    path = "/jmap/eventsource?types=*&closeafter=no&ping=0"
    head = f"GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Basic {basic}\r\n\r\n"

    async def listen() -> asyncio.StreamWriter:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.http)
        writer.write(head.encode())
        await reader.readuntil(b"\r\n\r\n")
        return writer

    warm = [await listen() for _ in range(20)]
    before = server.memory()
    streams = [await listen() for _ in range(count)]
    each = (server.memory() - before) / count / 1024
    for writer in (*warm, *streams):
        writer.close()
    return each


async def fill(server: Mailkeep, count: int) -> None:
    """Bring the account up to its number of messages."""
    link = await ImapLink.open(server.imap)
    await link.login(USER, PASSWORD)
    answer = await link.command(b"STATUS INBOX (MESSAGES)")
    have = int(answer.split(b"MESSAGES ")[1].split(b")")[0])
    link.close()
    mails = sample_mails(seed=7)
    missing = iter(range(max(count - have, 0)))

    async def deliver() -> None:
        lmtp = await LmtpLink.open(server.lmtp)
        await lmtp.command(b"LHLO bench")
        for _ in missing:
            await lmtp.deliver(USER, next(mails).replace(b"\r\n.", b"\r\n.."))
        lmtp.close()

    await asyncio.gather(*(deliver() for _ in range(10)))


async def main(options: argparse.Namespace) -> None:
    """Fill, measure, print."""
    server = HttpMailkeep(options.data)
    await server.start([USER], PASSWORD)
    try:
        await fill(server, options.messages)
        await settled(server)
        client = await Client.open(server.http)
        # First of all: what other operations leave behind would be counted, or given back meanwhile.
        if options.idle:
            console.print(f"idle event stream: {await idle_streams(server, options.idle):.0f} KiB")
        table = Table("operation", "at once", "per second", "p50 ms", "CPU ms")
        for operation in OPERATIONS:
            table.add_row(*await measure(server, client, operation, options.seconds))
        await client.session.close()
        console.print(table)
    finally:
        await server.stop()


if __name__ == "__main__":
    uvloop.run(main(arguments()))
