"""ExchangeService: many calls in few frames, answered by the same handlers as calls of their own.

Rules:
1. Every call of a frame starts at once and runs by itself; a slow one holds no other back.
2. Answers gather while one write is in flight, and go out in the next frame.
3. No frame is read while `WINDOW` calls run, and no streamed reply goes on while `OUTBOX_BYTES` wait to be read. So a
   caller costs bounded memory, whatever it asks for.
4. When the stream ends, what still runs for it is cancelled. When the server drains, nothing new is read, what runs is
   finished and told.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass
from functools import partial
from time import perf_counter
from typing import Any, Final

from google.protobuf.message import Message

from mailproto.store.v1 import exchange_pb2
from services.common.errors import Reason, StoreError
from services.common.storeclient import frames
from services.common.storeclient.channel import MAX_MESSAGE
from services.common.storeclient.exchange import FRAME_BYTES
from services.common.storeclient.status import status_of
from services.store.servicers import accounts, bodies, delivery, emails, logins, mailboxes, maildrop, messages
from services.store.servicers.caller import Caller
from services.store.servicers.desk import Desk
from services.store.servicers.method import Handler, Handlers, Link
from services.store.status import refusal

WINDOW: Final = 1_024
OUTBOX_BYTES: Final = 4 << 20
MAX_REPLY: Final = MAX_MESSAGE - FRAME_BYTES
SWEEP_SECONDS: Final = 0.5

Reply = Message | frames.Serialised
Frames = Link[exchange_pb2.ExchangeRequest, bytes]


@dataclass(frozen=True, slots=True)
class _Exchanged:
    """A method that may come in a frame. `streamed`: it has more than one reply."""

    name: str
    handler: Handler
    streamed: bool


def _exchanged() -> dict[str, _Exchanged]:
    """Field of `Call` -> method: the methods of these services whose requests are in `Call`."""
    by_request: dict[Any, str] = {field.message_type: field.name for field in exchange_pb2.Call.DESCRIPTOR.fields}
    table: dict[str, _Exchanged] = {}
    for module in (accounts, bodies, delivery, emails, logins, mailboxes, maildrop, messages):
        file = getattr(module, f"{module.__name__.rpartition('.')[2]}_pb2").DESCRIPTOR
        for service in file.services_by_name.values():
            for method in service.methods:
                field = by_request.get(method.input_type)
                if field is not None:
                    handler = module.HANDLERS[method.name]
                    table[field] = _Exchanged(method.name, handler, method.server_streaming)
    return table


EXCHANGED: Final = _exchanged()


class _Answers:
    """Answers on their way out: gathered into frames, with one write in flight."""

    def __init__(self, link: Frames) -> None:
        self._link = link
        self._ready: deque[frames.Entry] = deque()
        self._bytes = 0
        self._wake = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self._ending = False

    def put(self, entry: frames.Entry) -> None:
        """Send as soon as may be."""
        self._ready.append(entry)
        self._bytes += len(entry[1])
        if self._bytes >= OUTBOX_BYTES:
            self._room.clear()
        self._wake.set()

    async def room(self) -> None:
        """Wait until a streamed reply may go on."""
        await self._room.wait()

    def end(self) -> None:
        """Nothing more will be put."""
        self._ending = True
        self._wake.set()

    async def send(self) -> None:
        """Write frames until the end."""
        while not self._ending or self._ready:
            await self._wake.wait()
            # One turn of the loop: answers that are about to be ready come into this frame.
            await asyncio.sleep(0)
            self._wake.clear()
            while self._ready:
                await self._link.write(self._frame())

    def _frame(self) -> bytes:
        pieces: list[bytes] = []
        room = FRAME_BYTES
        while self._ready and (room >= len(self._ready[0][1]) or not pieces):
            entry = self._ready.popleft()
            pieces += entry
            room -= len(entry[1])
        self._bytes -= FRAME_BYTES - room
        if self._bytes < OUTBOX_BYTES:
            self._room.set()
        return b"".join(pieces)


class _Calls:
    """The calls of one stream that run."""

    def __init__(self, desk: Desk, caller: Caller, answers: _Answers) -> None:
        self._desk = desk
        self._caller = caller
        self._answers = answers
        self._loop = asyncio.get_running_loop()
        self._running: dict[int, tuple[asyncio.Task[None], float]] = {}
        self._free = asyncio.Event()
        self._free.set()

    async def free(self) -> None:
        """Wait until another frame may be read."""
        await self._free.wait()

    def start(self, frame: exchange_pb2.ExchangeRequest) -> None:
        """Run a frame's calls, and give up those that nobody waits for."""
        for number in frame.cancelled:
            if number in self._running:
                self._running[number][0].cancel()
        now = self._loop.time()
        for call in frame.calls:
            field = call.WhichOneof("request") or ""
            if call.id in self._running or not call.timeout_ms or field not in EXCHANGED:
                self._refuse(call.id, StoreError(Reason.INVALID_ARGUMENT))
                continue
            task = self._loop.create_task(self._run(call, field))
            self._running[call.id] = (task, now + call.timeout_ms / 1000)
            # Not the task's own work: one that is cancelled before its first step does none.
            task.add_done_callback(partial(self._over, call.id))
        if len(self._running) >= WINDOW:
            self._free.clear()

    async def sweep(self) -> None:
        """Give up calls whose time is over, for ever."""
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            now = self._loop.time()
            for number, (task, deadline) in tuple(self._running.items()):
                if deadline <= now and task.cancel():
                    self._refuse(number, StoreError(Reason.DEADLINE_EXCEEDED))

    async def finish(self) -> None:
        """Wait for what runs."""
        while self._running:
            await asyncio.wait([task for task, _ in self._running.values()])

    async def cancel(self) -> None:
        """Give up what runs."""
        tasks = [task for task, _ in self._running.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _run(self, call: exchange_pb2.Call, field: str) -> None:
        method, started = EXCHANGED[field], perf_counter()
        if call.trace:
            self._desk.join(method.name, call.trace)
        try:
            self._caller.check(method.name)
            replies: Any = method.handler(self._desk, getattr(call, field), self._caller)
            if method.streamed:
                await self._stream(call.id, field, replies)
            else:
                self._answer(call.id, field, await replies)
            self._desk.observe(method.name, started)
        except Exception as error:
            refused = refusal(method.name, error)
            self._desk.observe(method.name, started, refused)
            self._refuse(call.id, refused)

    def _over(self, number: int, _: asyncio.Task[None]) -> None:
        del self._running[number]
        self._free.set()

    async def _stream(self, number: int, field: str, replies: AsyncIterator[Reply]) -> None:
        """Each reply goes when the next is there, so that the last can be marked as such."""
        held: Reply | None = None
        async for reply in replies:
            if held is not None:
                self._answer(number, field, held, more=True)
                await self._answers.room()
            held = reply
        if held is None:
            self._answers.put(frames.last_answer(number))
        else:
            self._answer(number, field, held)

    def _answer(self, number: int, field: str, reply: Reply, *, more: bool = False) -> None:
        octets = reply.SerializeToString()
        if len(octets) > MAX_REPLY:
            raise StoreError(Reason.RESOURCE_EXHAUSTED, {"limit": str(MAX_REPLY)})
        self._answers.put(frames.answer(number, field, octets, more=more))

    def _refuse(self, number: int, error: StoreError) -> None:
        self._answers.put(frames.answer(number, "status", status_of(error).SerializeToString()))


async def exchange(desk: Desk, link: Frames, caller: Caller) -> None:
    """ExchangeService.Exchange."""
    answers = _Answers(link)
    calls = _Calls(desk, caller, answers)
    with desk.processes.stream(caller.process):
        sender = asyncio.create_task(answers.send())
        sweeper = asyncio.create_task(calls.sweep())
        try:
            await desk.until_over(_receive(link, calls))
            await calls.finish()
            answers.end()
            await sender
        finally:
            sender.cancel()
            sweeper.cancel()
            await calls.cancel()
            await asyncio.gather(sender, sweeper, return_exceptions=True)


async def _receive(link: Frames, calls: _Calls) -> None:
    while (frame := await link.read()) is not None:
        calls.start(frame)
        await calls.free()


METHOD: Final = "Exchange"
HANDLERS: Final[Handlers] = {METHOD: exchange}
