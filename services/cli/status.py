"""`mailkeep status`: which processes of this machine's configuration answer, and whether they are ready."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

import typer

from services.cli.connecting import configuration
from services.cli.controlsocket import NotRunning, Request, State, Verb, ask
from services.cli.datafolder import supervisor_of
from services.cli.endpoints import admin_address, reachable
from services.cli.output import EXIT_UNAVAILABLE, JsonOption, say, show, show_json
from services.common.crosschecks import FRONT_ENDS
from services.common.options import Configuration

ANSWER_SECONDS: Final = 3.0
ANSWER_BYTES: Final = 1024 * 1024
READY: Final = "ready"
UNKNOWN: Final = "has no admin port"
FOREIGN: Final = "is not of this data folder"
_SESSIONS: Final = re.compile(r'^mailkeep_sessions\{service="(?!admin")\w+"\} (\S+)$', re.MULTILINE)
_OWNER: Final = re.compile(r'^mailkeep_process_info\{data="(.*)",service="(\w+)"\} 1', re.MULTILINE)
_ESCAPED: Final = re.compile(r"\\(.)")
COLUMNS: Final = ("service", "process", "state", "sessions", "health")


@dataclass(frozen=True, slots=True)
class Probe:
    """A process to ask; `address` None where it has no admin port."""

    service: str
    number: int
    address: tuple[str, int] | None


def status(as_json: JsonOption = False) -> None:
    """Which services answer and are ready, and how many sessions they have; exits with 69 when one is not ready."""
    known = configuration()
    supervisor = supervisor_of(known.data)
    stopped = _stopped(known) if supervisor else set()
    rows, ready = asyncio.run(_ask_all(known, stopped))
    if as_json:
        processes = [dict(zip(COLUMNS, row, strict=True)) for row in rows]
        show_json({"ready": ready, "supervisor": supervisor or None, "data": known.data, "processes": processes})
    else:
        show(False, COLUMNS, rows)
        say(False, f"supervisor: {f'process {supervisor}' if supervisor else 'none'}; data in {known.data}")
    if not ready:
        raise typer.Exit(EXIT_UNAVAILABLE)


def _stopped(known: Configuration) -> set[str]:
    """Services that the supervisor does not run, of those that are enabled."""
    try:
        answer = ask(known.data, Request(Verb.STATES, ()), ANSWER_SECONDS)
    except NotRunning:  # it is just starting, or ending, or hangs
        return set()
    return {each["service"] for each in answer.get("services", ()) if each["outcome"] == State.STOPPED}


def _probes(known: Configuration) -> Iterator[Probe]:
    yield Probe("store", 0, admin_address(known, "store"))
    for name in FRONT_ENDS:
        options = getattr(known, name)
        for number in range(options.numprocesses if options.enable else 0):
            yield Probe(name, number, admin_address(known, name, number))


async def _ask_all(known: Configuration, stopped: Collection[str]) -> tuple[list[tuple[object, ...]], bool]:
    """A row for each process, and whether all are ready as far as they can be asked."""
    probes = list(_probes(known))
    data = os.path.realpath(known.data)  # noqa: ASYNC240 - nothing else waits
    answers = await asyncio.gather(*(_ask(probe, data) for probe in probes))
    rows: list[tuple[object, ...]] = [
        (probe.service, probe.number, State.STOPPED if probe.service in stopped else state, sessions, _url(probe))
        for probe, (state, sessions) in zip(probes, answers, strict=True)
    ]
    rows += [(name, None, State.DISABLED, None, "") for name in FRONT_ENDS if not getattr(known, name).enable]
    return rows, all(state in {READY, UNKNOWN} for state, _ in answers)


def _url(probe: Probe) -> str:
    return f"http://{reachable(probe.address[0])}:{probe.address[1]}/readyz" if probe.address else ""


async def _ask(probe: Probe, data: str) -> tuple[str, int | None]:
    """`ready`, or what its readiness page says is missing, or that nobody answers, or somebody else; its sessions."""
    if probe.address is None:
        return UNKNOWN, None
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            code, text = await _get(*probe.address, "/readyz")
            _, metrics = await _get(*probe.address, "/metrics")
    except (OSError, TimeoutError):
        return "does not answer", None
    owner = _OWNER.search(metrics)
    if owner is None or (_unescaped(owner[1]), owner[2]) != (data, probe.service):
        return FOREIGN, None
    found = _SESSIONS.search(metrics)
    state = READY if code == HTTPStatus.OK else ", ".join(text.splitlines()) or "not ready"
    sessions = int(float(found[1])) if found else 0
    return state, None if probe.service == "store" else sessions


def _unescaped(label: str) -> str:
    """A label's value as it was before it was written down (Prometheus text format)."""
    return _ESCAPED.sub(lambda match: "\n" if match[1] == "n" else match[1], label)


async def _get(host: str, port: int, path: str) -> tuple[int, str]:
    """Status and content of a page."""
    reader, writer = await asyncio.open_connection(host, port)
    try:
        writer.write(f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        answer = bytearray()
        while len(answer) < ANSWER_BYTES and (more := await reader.read(ANSWER_BYTES)):
            answer += more
    finally:
        writer.close()
    head, _, content = answer.decode("utf-8", "replace").partition("\r\n\r\n")
    code = head.partition(" ")[2][:3]
    return int(code) if code.isdecimal() else 0, content
