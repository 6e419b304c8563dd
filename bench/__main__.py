"""`python -m bench`: fill, measure, print the table."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

import uvloop
from rich.console import Console
from rich.table import Table

from bench.links import PATIENCE, ImapLink, LmtpLink
from bench.operations import OPERATIONS, Operation, Site, Worker
from bench.servers import SERVERS, Mailkeep, Server
from services.common.samplemail import sample_mails

PASSWORD = "testpass"
SMALL_MESSAGES = 300
IDLE_CPU = 0.05
"""Seconds of CPU in one second; a server that uses less has nothing to do."""
console = Console(width=None if sys.stdout.isatty() else 160)


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


async def settled(server: Server, seconds: int = 120) -> None:
    """Wait until the server does nothing: after a fill or a start there is work in the background."""
    for _ in range(seconds):
        before = server.cpu()
        await asyncio.sleep(1)
        if server.cpu() - before < IDLE_CPU:
            return
    console.print(f"{server.name} does not come to rest: it is measured at work")


async def measure(site: Site, operation: Operation, concurrency: int, seconds: float) -> dict[str, float]:
    """Units a second, and what one operation cost: microseconds of CPU (servers, load generator) and store calls."""
    workers = [Worker(site, number) for number in range(concurrency)]
    async with asyncio.timeout(PATIENCE + seconds):
        await asyncio.gather(*(operation.prepare(worker) for worker in workers))
        await asyncio.gather(*(operation.work.repeat(worker, 0) for worker in workers))  # warm
        calls, cpu, own = store_calls(site.server), site.server.cpu(), time.process_time()
        received = _received(workers)
        begin = time.perf_counter()
        steps = sum(await asyncio.gather(*(operation.work.repeat(worker, begin + seconds) for worker in workers)))
    elapsed = time.perf_counter() - begin
    own, cpu = time.process_time() - own, site.server.cpu() - cpu
    calls = store_calls(site.server) - calls
    done = _received(workers) - received if operation.unit == "B/s" else steps
    if operation.finish is not None:
        await asyncio.gather(*(operation.finish(worker) for worker in workers))
    return {
        "rate": done / elapsed,
        "cpu": round(cpu / steps * 1e6, 1),
        "client_cpu": round(own / steps * 1e6, 1),
        "store_calls": round(calls / steps, 3),
    }


def _received(workers: list[Worker]) -> int:
    return sum(worker.imap.received for worker in workers if worker.imap is not None)


async def idle_memory(site: Site, count: int) -> float:
    """Bytes that one selected, idling session costs, beside the mailbox that others have open already."""
    links = [await _idling(site, number) for number in range(len(site.users))]
    before = site.server.memory()
    links += [await _idling(site, number) for number in range(count)]
    await asyncio.sleep(1)
    after = site.server.memory()
    for link in links:
        link.close()
    return (after - before) / count


async def _idling(site: Site, number: int) -> ImapLink:
    link = await ImapLink.open(site.server.imap)
    await link.login(site.users[number % len(site.users)], PASSWORD)
    await link.command(b"SELECT INBOX")
    await link.command(b"IDLE")
    return link


def store_calls(server: Server) -> float:
    """Calls that the front ends have made to the store so far."""
    return sum(_calls_of(port) for port in server.metrics) if isinstance(server, Mailkeep) else 0.0


def _calls_of(port: int) -> float:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith("mailkeep_store_call_seconds_count"))


async def run_server(server: Server, options: argparse.Namespace, bodies: list[bytes]) -> dict[str, Any]:
    """All operations against one server; key "name @ concurrency"."""
    users = [f"user{number}@example.com" for number in range(options.accounts)]
    small = [f"small{number}@example.com" for number in range(10)]
    site = Site(server, users, PASSWORD, options.messages, small, bodies)
    await server.start(users + small, PASSWORD)
    figures: dict[str, Any] = {}
    try:
        await fill(site)
        await settled(server)
        if options.idle and not options.only:
            used = await idle_memory(site, options.idle)
            figures[f"memory per idle session, bytes @ {options.idle}"] = {"rate": used}
        for operation in OPERATIONS:
            if options.only.lower() not in operation.name.lower():
                continue
            for concurrency in operation.concurrency:
                if concurrency > operation.most(site):
                    continue
                key = f"{operation.name} @ {concurrency}"
                figures[key] = found = await measure(site, operation, concurrency, options.seconds)
                console.print(
                    f"{server.name}: {key}: {found['rate']:,.0f} {operation.unit}; each {found['cpu']:,.0f} us of CPU"
                    f" (client {found['client_cpu']:,.0f}), {found['store_calls']:.2f} store calls"
                )
    finally:
        await server.stop()
    return figures


def print_table(results: dict[str, dict[str, Any]]) -> None:
    """Figures side by side, with the ratio to each rival, the goal, and what one operation cost."""
    goals = {f"{o.name} @ {c}": o.goal.get(c) for o in OPERATIONS for c in o.concurrency}
    rivals = [name for name in results if name != "mailkeep"]
    shares = [f"/ {name}" for name in rivals]
    costs = [f"CPU us, {name}" for name in results]
    table = Table("operation", "mailkeep", *rivals, *shares, "goal", *costs, "store calls")
    for key, measured in results["mailkeep"].items():
        rate = measured["rate"]
        others = [results[name].get(key, {}).get("rate") for name in rivals]
        figures = [f"{other:,.0f}" if other else "" for other in others]
        ratios = [f"{rate / other:.2f}" if other else "" for other in others]
        cost = [_number(results[name].get(key, {}).get("cpu")) for name in results]
        goal = str(goals.get(key) or "")
        table.add_row(key, f"{rate:,.0f}", *figures, *ratios, goal, *cost, str(measured.get("store_calls", "")))
    console.print(table)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:,.0f}"


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
