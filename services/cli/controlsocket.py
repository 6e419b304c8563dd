"""The supervisor's control socket: one request and its answer a connection, each one line of JSON.

A Unix socket of mode 0600 in the data folder's `run`: whoever may open it may stop the services by signals, too.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from services.common.crosschecks import SERVICES
from services.common.listening import Listener, bind_path, remove_path

FOLDER: Final = "run"
NAME: Final = "control.sock"
MAX_REQUEST: Final = 4096
MAX_ANSWER: Final = 1 << 20
MAX_CLIENTS: Final = 16
REQUEST_SECONDS: Final = 5.0
"""In which a request has to be there, and in which the supervisor takes a connection."""


class Verb(StrEnum):
    """What can be asked of the supervisor."""

    START = "start"
    STOP = "stop"
    RESTART = "restart"
    REFRESH = "refresh"
    STATES = "states"


class State(StrEnum):
    """How a service is: what `states` says of each."""

    RUNNING = "running"
    STOPPED = "stopped"
    DISABLED = "disabled"


@dataclass(frozen=True, slots=True)
class Request:
    """A verb, and the services it is about; none means every one that runs."""

    verb: Verb
    services: tuple[str, ...]

    def encode(self) -> bytes:
        """As a line."""
        return json.dumps({"verb": self.verb, "services": self.services}).encode() + b"\n"


Answer = dict[str, Any]
"""`{"services": [{"service", "outcome", "processes", "waiting"}, ...]}`, or `{"error": text, "code": exit code}`."""


class NotRunning(Exception):  # noqa: N818 - the name is what the operator reads
    """Nobody answers; the text is for the operator."""


def parse(line: bytes) -> Request:
    """A line as a request. Raises ValueError with the reason for anything else."""
    try:
        given = json.loads(line)
    except (ValueError, RecursionError):
        raise ValueError("not JSON") from None
    if not isinstance(given, dict) or given.keys() != {"verb", "services"}:
        raise ValueError("not an object of verb and services")
    verb, services = given["verb"], given["services"]
    if not isinstance(verb, str) or verb not in set(Verb):
        raise ValueError("no such verb")
    if not isinstance(services, list) or any(service not in SERVICES for service in services):
        raise ValueError("no such service")
    return Request(Verb(verb), tuple(name for name in SERVICES if name in services))


@contextmanager
def _path(data: str) -> Iterator[str]:
    """The socket by a name that always fits into an address, however deep the data folder lies (Linux)."""
    descriptor = os.open(Path(data, FOLDER), os.O_PATH | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{descriptor}/{NAME}"
    finally:
        os.close(descriptor)


class ControlSocket:
    """The supervisor's end. `answer` does what is asked; it raises nothing."""

    def __init__(self, data: str, answer: Callable[[Request], Awaitable[Answer]]) -> None:
        self._data = data
        self._answer = answer
        self._server: asyncio.Server | None = None
        self._clients: set[asyncio.Task[None]] = set()

    async def open(self) -> None:
        """Listen. Raises OSError."""
        with _path(self._data) as path:
            sock = bind_path(Listener(path=path))
        self._server = await asyncio.start_unix_server(self._connected, sock=sock, limit=MAX_REQUEST)

    async def close(self) -> None:
        """Hear no more; what is asked and not answered is given up."""
        if self._server is None:
            return
        self._server.close()
        for client in self._clients:
            client.cancel()
        await asyncio.gather(*self._clients, return_exceptions=True)
        with _path(self._data) as path:
            remove_path(Listener(path=path))

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(self._clients) >= MAX_CLIENTS:
            writer.close()
            return
        task = asyncio.get_running_loop().create_task(self._serve(reader, writer))
        self._clients.add(task)
        task.add_done_callback(self._clients.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            answer = await self._converse(reader)
            writer.write(json.dumps(answer).encode() + b"\n")
            async with asyncio.timeout(REQUEST_SECONDS):
                await writer.drain()
        except (OSError, TimeoutError):
            pass  # whoever asked has gone
        finally:
            writer.close()

    async def _converse(self, reader: asyncio.StreamReader) -> Answer:
        try:
            async with asyncio.timeout(REQUEST_SECONDS):
                request = parse(await reader.readuntil(b"\n"))
        except TimeoutError:
            return {"error": "no request in time", "code": os.EX_PROTOCOL}
        except (ValueError, asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
            return {"error": f"no request: {error}", "code": os.EX_PROTOCOL}
        return await self._answer(request)


def ask(data: str, request: Request, seconds: float | None = None) -> Answer:
    """The supervisor's answer; without `seconds` as late as it comes: a stop takes the drain window.

    Raises NotRunning.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        try:
            with _path(data) as path:
                sock.settimeout(REQUEST_SECONDS)
                sock.connect(path)
            sock.sendall(request.encode())
            sock.settimeout(seconds)
            line = _read_line(sock)
        except (FileNotFoundError, ConnectionRefusedError):
            raise NotRunning(f"no supervisor answers on {data}: mailkeep run starts everything") from None
        except OSError as error:
            raise NotRunning(f"the supervisor on {data} cannot be reached: {error.strerror or error}") from None
    with suppress(ValueError):
        answer = json.loads(line)
        if isinstance(answer, dict):
            return answer
    raise NotRunning(f"the supervisor on {data} ended before it answered")


def _read_line(sock: socket.socket) -> bytes:
    line = bytearray()
    while not line.endswith(b"\n") and len(line) < MAX_ANSWER and (more := sock.recv(65_536)):
        line += more
    return bytes(line)
