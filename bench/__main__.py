"""`python -m bench`: fill, measure, print the table."""

from __future__ import annotations

import argparse
import asyncio
import json
import time
import urllib.request
from pathlib import Path
from typing import Any

import uvloop
from rich.console import Console
from rich.table import Table
from services.common.samplemail import sample_mails

from bench.links import ImapLink, LmtpLink
from bench.operations import OPERATIONS, Operation, Site, Worker
from bench.servers import SERVERS, Mailkeep, Server

PASSWORD = "testpass"
SMALL_MESSAGES = 300
console = Console()


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument(
        "--rival", action="append", default=[], choices=[name for name in SERVERS if name != "mailkeep"]
    )
    parser.add_argument("--accounts", type=int, default=8)
    parser.add_argument("--messages", type=int, default=10_000)
    parser.add_argument("--seconds", type=float, default=3.0, help="how long each operation runs")
    parser.add_argument("--only", default="", help="operations whose name holds this text")
    parser.add_argument("--idle", type=int, default=500, help="idle sessions for the memory figure; 0 leaves it out")
    parser.add_argument("--by-grpc", action="store_true", help="bodies over gRPC, as from another node")
    parser.add_argument("--data", type=Path, default=Path("bench/data"))
    parser.add_argument("--output", type=Path, help="write the figures as JSON")
    return parser.parse_args()


async def fill(site: Site) -> None:
    """Bring every account up to its number of messages by LMTP; what is there already counts."""
    wanted = [(user, site.messages) for user in site.users] + [(user, SMALL_MESSAGES) for user in site.small]
    for user, count in wanted:
        link = await ImapLink.open(site.server.imap)
        await link.login(user, PASSWORD)
        answer = await link.command(b"STATUS INBOX (MESSAGES)")
        have = int(answer.split(b"MESSAGES ")[1].split(b")")[0])
        link.close()
        if have < count:
            console.print(f"{site.server.name}: filling {user} with {count - have} messages")
            await _deliver(site, user, count - have)


async def _deliver(site: Site, user: str, count: int) -> None:
    left = iter(range(count))

    async def run() -> None:
        link = await LmtpLink.open(site.server.lmtp)
        await link.command(b"LHLO bench")
        for number in left:
            body = site.bodies[number % len(site.bodies)]
            await link.deliver(site.server.address(user), body.replace(b"\r\n.", b"\r\n.."))
        link.close()

    await asyncio.gather(*(run() for _ in range(10)))


async def measure(site: Site, operation: Operation, concurrency: int, seconds: float) -> float:
    """Units a second."""
    workers = [Worker(site, number) for number in range(concurrency)]
    await asyncio.gather(*(operation.prepare(worker) for worker in workers))
    await asyncio.gather(*(operation.step(worker) for worker in workers))  # warm
    begin = time.perf_counter()
    end = begin + seconds

    async def run(worker: Worker) -> int:
        total = 0
        while time.perf_counter() < end:
            total += await operation.step(worker)
        return total

    done = sum(await asyncio.gather(*(run(worker) for worker in workers)))
    elapsed = time.perf_counter() - begin
    if operation.finish is not None:
        await asyncio.gather(*(operation.finish(worker) for worker in workers))
    return done / elapsed


async def idle_memory(site: Site, count: int) -> float:
    """Bytes that one selected, idling session costs."""
    before = site.server.memory()
    links = []
    for number in range(count):
        link = await ImapLink.open(site.server.imap)
        await link.login(site.users[number % len(site.users)], PASSWORD)
        await link.command(b"SELECT INBOX")
        await link.command(b"IDLE")
        links.append(link)
    await asyncio.sleep(1)
    after = site.server.memory()
    for link in links:
        link.close()
    return (after - before) / count


def store_calls(server: Server) -> float:
    """Frames and calls that the IMAP process has sent to the store so far."""
    if not isinstance(server, Mailkeep):
        return 0.0
    url = f"http://127.0.0.1:{server.metrics_port()}/metrics"
    with urllib.request.urlopen(url, timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith("mailkeep_store_calls_total"))


async def run_server(server: Server, options: argparse.Namespace, bodies: list[bytes]) -> dict[str, Any]:
    """All operations against one server; key "name @ concurrency"."""
    users = [f"user{number}@example.com" for number in range(options.accounts)]
    small = [f"small{number}@example.com" for number in range(10)]
    site = Site(server, users, PASSWORD, options.messages, small, bodies)
    await server.start(users + small, PASSWORD)
    figures: dict[str, Any] = {}
    try:
        await fill(site)
        if options.idle and not options.only:
            figures[f"memory per idle session @ {options.idle}"] = await idle_memory(site, options.idle)
        for operation in OPERATIONS:
            if options.only.lower() not in operation.name.lower():
                continue
            for concurrency in operation.concurrency:
                key = f"{operation.name} @ {concurrency}"
                before = store_calls(server)
                figures[key] = await measure(site, operation, concurrency, options.seconds)
                calls = store_calls(server) - before
                console.print(f"{server.name}: {key}: {figures[key]:,.0f} {operation.unit}; {calls:,.0f} store calls")
    finally:
        await server.stop()
    return figures


def print_table(results: dict[str, dict[str, Any]]) -> None:
    """Figures side by side, with the ratio to each rival and the goal."""
    goals = {f"{o.name} @ {c}": o.goal.get(c) for o in OPERATIONS for c in o.concurrency}
    rivals = [name for name in results if name != "mailkeep"]
    table = Table("operation", "mailkeep", *[f"{name}" for name in rivals], *[f"/ {name}" for name in rivals], "goal")
    for key, value in results["mailkeep"].items():
        other = [results[name].get(key) for name in rivals]
        ratios = [f"{value / figure:.2f}" if figure else "" for figure in other]
        table.add_row(
            key, f"{value:,.0f}", *[f"{o:,.0f}" if o else "" for o in other], *ratios, str(goals.get(key) or "")
        )
    console.print(table)


async def main() -> None:
    """Measure each server in turn."""
    options = arguments()
    bodies = [body for _, body in zip(range(500), sample_mails(seed=1), strict=False)]
    results: dict[str, dict[str, Any]] = {}
    for name in ["mailkeep", *options.rival]:
        data = (options.data / name).absolute()
        server: Server = Mailkeep(data, by_grpc=options.by_grpc) if name == "mailkeep" else SERVERS[name](data)
        results[name] = await run_server(server, options, bodies)
    print_table(results)
    if options.output:
        options.output.write_text(json.dumps(results, indent=2))


if __name__ == "__main__":
    uvloop.run(main())
