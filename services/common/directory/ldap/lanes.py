"""Questions over an open connection, on the event loop: no thread waits, and none fights the loop for the interpreter.

ldap3 makes connections (`links`); what a login asks of them is sent and read here, one request at a time.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from time import monotonic
from typing import Final, TypeVar

from services.common.directory.ldap import wire
from services.common.directory.ldap.answers import NO_SUCH_OBJECT, POLICY_CONTROL, SUCCESS, NoAnswer, PasswordAnswer
from services.common.directory.ldap.domains import Attributes

SUBTREE: Final = 2
BASE: Final = 0
SIZE_LIMIT: Final = 4
CERTIFICATE: Final = "userCertificate;binary"
"""Where an entry holds certificates (RFC 4523 section 2.1)."""
T = TypeVar("T")
_CHUNK: Final = 1 << 16
_ENDS: Final = frozenset(
    {wire.BIND_RESPONSE, wire.SEARCH_DONE, wire.COMPARE_RESPONSE, wire.EXTENDED_RESPONSE}
)  # fmt: skip


class LinkLost(Exception):  # noqa: N818 - an answer, not a fault
    """The connection could not be made or is gone. `slow`: the server did not answer in time."""

    def __init__(self, text: str, *, slow: bool = False) -> None:
        super().__init__(text)
        self.slow = slow


@dataclass(frozen=True, slots=True)
class Found:
    """An entry that a search found. `certificates` are those that it holds (DER), where they were asked for."""

    dn: str
    attributes: Attributes
    certificates: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class Question:
    """A search: where, in which scope, by which filter, for which attributes, and how many entries at most."""

    base: str
    filter: str
    attributes: tuple[str, ...]
    scope: int = SUBTREE
    limit: int = 2


class Lane:
    """A connection that the event loop reads. Methods raise LinkLost, after which it is of no use, and NoAnswer."""

    def __init__(self, connection: socket.socket, seconds: float) -> None:
        """Takes the connection over. An answer may take `seconds`."""
        self._socket = connection
        self._seconds = seconds
        self._loop = asyncio.get_running_loop()
        self._received = bytearray()
        self._number = 0
        self._answers: list[wire.Message] = []
        self._waiter: asyncio.Future[list[wire.Message]] | None = None
        self._lost: LinkLost | None = None
        self.used = monotonic()
        """When it was last of use."""
        self._pending: Callable[[], int] = getattr(connection, "pending", int)
        """Octets that TLS has read and not handed out; without TLS `int()`, which is none."""
        connection.setblocking(False)
        self._loop.add_reader(connection.fileno(), self._readable)

    @property
    def usable(self) -> bool:
        """Whether the server has not closed it."""
        return self._lost is None

    async def bind(self, dn: str, password: str) -> PasswordAnswer:
        """Ask whether the password is right; the connection is that account's from then on."""
        if not dn or not password:
            # Without one of them this would be an anonymous bind, which succeeds (RFC 4513 section 5.1.2).
            raise ValueError("a bind without name or password")
        *_, end = await self._ask(lambda number: wire.bind_request(number, dn, password, (POLICY_CONTROL,)))
        return self._read(_password_answer, end)

    async def compare(self, dn: str, attribute: str, value: str) -> PasswordAnswer:
        """Ask whether the entry's attribute has the value."""
        *_, end = await self._ask(lambda number: wire.compare_request(number, dn, attribute, value))
        return self._read(_password_answer, end)

    async def search(self, question: Question) -> list[Found]:
        """The entries, at most `limit`; none where the base is not there."""
        *entries, end = await self._ask(lambda number: self._search_request(number, question))
        result = self._read(wire.read_result, end)
        if result.code not in (SUCCESS, SIZE_LIMIT, NO_SUCH_OBJECT):
            raise NoAnswer(f"result {result.code}")
        return [found_of(*self._read(wire.read_entry, entry)) for entry in entries if entry.tag == wire.SEARCH_ENTRY]

    def close(self) -> None:
        """Say goodbye, if the other end is there to hear it."""
        if self._lost is None:
            with suppress(OSError):
                self._socket.send(wire.unbind_request(self._number + 1))
            self._lose(LinkLost("it is closed"))

    def _search_request(self, number: int, question: Question) -> bytes:
        names = question.attributes
        return wire.search_request(
            number, question.base, question.scope, question.filter, names, question.limit, int(self._seconds)
        )

    def _read(self, read: Callable[[wire.Message], T], message: wire.Message) -> T:
        """What a message says. One that says nothing ends the connection."""
        try:
            return read(message)
        except wire.WireError as error:
            raise self._lose(LinkLost(str(error))) from None

    async def _ask(self, make: Callable[[int], bytes]) -> list[wire.Message]:
        """Send a request; all messages that answer it, its end last."""
        if self._lost is not None:
            raise self._lost
        self._number += 1
        try:
            request = make(self._number)
        except wire.WireError as error:
            raise NoAnswer(str(error)) from None
        self._waiter = self._loop.create_future()
        self._send(request)
        clock = self._loop.call_later(self._seconds, self._late)
        try:
            return await self._waiter
        except asyncio.CancelledError:
            self._lose(LinkLost("given up"))
            raise
        finally:
            clock.cancel()
            self._waiter = None
            self.used = monotonic()

    def _late(self) -> None:
        self._lose(LinkLost("no answer in time", slow=True))

    def _send(self, request: bytes) -> None:
        """With one request at a time there is room for it, unless the other end has stopped reading."""
        try:
            if self._socket.send(request) != len(request):
                raise BlockingIOError
        except (BlockingIOError, ssl.SSLWantWriteError):
            self._lose(LinkLost("the server does not read", slow=True))
        except OSError as error:
            self._lose(LinkLost(f"{type(error).__name__}: {error.strerror or error}"))

    def _readable(self) -> None:
        try:
            more = True
            while more and self._lost is None:
                octets = self._socket.recv(_CHUNK)
                if not octets:
                    self._lose(LinkLost("the server has closed the connection"))
                    return
                self._received += octets
                self._take()
                # What TLS has read ahead tells the event loop nothing.
                more = self._lost is None and self._pending() > 0
        except (BlockingIOError, ssl.SSLWantReadError):
            return
        except (OSError, wire.WireError) as error:
            self._lose(LinkLost(f"{type(error).__name__}: {getattr(error, 'strerror', None) or error}"))

    def _take(self) -> None:
        """Sort out what has come. Raises WireError."""
        while self._lost is None and (message := wire.take_message(self._received)) is not None:
            if self._waiter is None or self._waiter.done() or message.number != self._number:
                # Number 0: the server says that it is about to go (RFC 4511 section 4.4.1).
                raise wire.WireError("the server breaks off")
            self._answers.append(message)
            if message.tag in _ENDS:
                answers, self._answers = self._answers, []
                self._waiter.set_result(answers)

    def _lose(self, lost: LinkLost) -> LinkLost:
        """Close it, and tell who waits."""
        if self._lost is None:
            self._lost = lost
            self._loop.remove_reader(self._socket.fileno())
            self._socket.close()
            if self._waiter is not None and not self._waiter.done():
                self._waiter.set_exception(lost)
        return lost


def found_of(dn: str, values: Mapping[str, Sequence[bytes]]) -> Found:
    """An entry out of its values by attribute in lower case. What is no UTF-8 can be compared with nothing."""
    name = CERTIFICATE.lower()
    texts = {
        key: tuple(value.decode("utf-8", "replace") for value in held) for key, held in values.items() if key != name
    }
    return Found(dn, texts, tuple(values.get(name, ())))


def _password_answer(end: wire.Message) -> PasswordAnswer:
    result = wire.read_result(end)
    return PasswordAnswer(result.code, result.text, result.controls)
