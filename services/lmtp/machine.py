"""The LMTP machine: bytes in, commands and whole messages or `ProtocolError` out. No I/O.

Rules:
- Only CRLF ends a line, and only CRLF.CRLF a message (RFC 5321 section 2.3.8): whoever reads otherwise can be made to
  see commands in what another server took for text.
- A line is bounded before it is buffered. A message is bounded as it arrives: `reserve` is asked before more of it is
  kept; once it says no, the rest is read and dropped.
- Nothing is done line by line: the end of a message is looked for in what arrived, and byte-stuffing is undone in one
  go at the end.
- Bad commands are counted; a client that only sends such is cut off.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from services.common.linebuffer import LineBuffer, LineTooLongError
from services.lmtp.commands import START, SYNTAX, Command, CommandSyntaxError, Fault

MAX_LINE: Final = 4096
"""RFC 5321 section 4.5.3.1.4 wants 512, extensions some hundred more, and internationalised addresses are longer."""
MAX_ERRORS: Final = 10

Reserve = Callable[[int], bool]
"""Whether a message may grow by so many bytes."""

_END: Final = b"\r\n.\r\n"


class ProtocolError(Exception):
    """The only thing that bad input can cause; `fatal`: the session ends after the reply."""

    def __init__(self, fault: Fault, *, fatal: bool) -> None:
        super().__init__(fault.value)
        self.fault = fault
        self.fatal = fatal


@dataclass(frozen=True, slots=True)
class Message:
    """DATA is complete. `body` has its byte-stuffing undone; None where not all of it was kept."""

    body: bytes | None


@dataclass(frozen=True, slots=True)
class Chunk:
    """A BDAT chunk is complete; whether it was kept."""

    kept: bool


Event = Command | Message | Chunk


class _Dotted:
    """A message that ends with a line of one dot (RFC 5321 section 4.5.2).

    What is kept begins with the line end before the message, so that its first line is like every other. It is kept in
    one piece of memory: a client that sends a byte at a time must not make a list of millions.
    """

    __slots__ = ("_kept", "_reserve", "_tail")

    def __init__(self, reserve: Reserve) -> None:
        self._reserve = reserve
        self._kept: bytearray | None = bytearray(b"\r\n")
        self._tail = b"\r\n"

    def take(self, data: bytes) -> tuple[Message | None, int]:
        """The message once it is complete, and how many bytes of `data` belong to it."""
        end = self._find_end(data)
        used = len(data) if end < 0 else end
        if self._kept is not None:
            if self._reserve(used):
                self._kept += data if used == len(data) else memoryview(data)[:used]
            else:
                self._kept = None
        if end >= 0:
            return Message(self._body()), end
        self._tail = data[-4:] if used >= 4 else (self._tail + data)[-4:]
        return None, used

    def _find_end(self, data: bytes) -> int:
        """How much of `data` belongs to the message, its end included; -1 while the end is not there."""
        seam = self._tail + data[:4]
        found = seam.find(_END)
        if found >= 0:
            return found + len(_END) - len(self._tail)
        found = data.find(_END)
        return found + len(_END) if found >= 0 else -1

    def _body(self) -> bytes | None:
        kept, self._kept = self._kept, None
        if kept is None:
            return None
        del kept[-3:]
        if b"\r\n." in kept:
            kept = kept.replace(b"\r\n.", b"\r\n")
        return bytes(memoryview(kept)[2:])


class _Counted:
    """A chunk of BDAT (RFC 3030 section 2)."""

    __slots__ = ("_content", "_left", "_reserve")

    def __init__(self, size: int, content: bytearray | None, reserve: Reserve) -> None:
        self._left = size
        self._content = content
        self._reserve = reserve

    def take(self, data: bytes) -> tuple[Chunk | None, int]:
        """The chunk once it is complete, and how many bytes of `data` belong to it."""
        used = min(len(data), self._left)
        self._left -= used
        if self._content is not None:
            if self._reserve(used):
                self._content += data if used == len(data) else memoryview(data)[:used]
            else:
                self._content = None
        return (None if self._left else Chunk(self._content is not None)), used


class LmtpMachine:
    """One connection's input. `state` is one of `services.lmtp.commands`' and is set by the session."""

    __slots__ = ("_errors", "_lines", "_ready", "_receiving", "state")

    def __init__(self) -> None:
        self._lines = LineBuffer(MAX_LINE, strict=True)
        self._receiving: _Dotted | _Counted | None = None
        self._ready: Message | Chunk | None = None
        self._errors = 0
        self.state = START

    def __len__(self) -> int:
        """Bytes held that are not a command yet, or whose turn has not come."""
        return len(self._lines)

    @property
    def receiving(self) -> bool:
        """Whether a message or chunk is being read."""
        return self._receiving is not None

    def receive_message(self, reserve: Reserve) -> None:
        """DATA was accepted: read on until the line of one dot."""
        self._receiving = _Dotted(reserve)

    def receive_chunk(self, size: int, content: bytearray | None, reserve: Reserve) -> None:
        """BDAT: add `size` octets to `content`; without one they are dropped."""
        self._receiving = _Counted(size, content, reserve)

    def restart(self) -> None:
        """Drop what came in clear: TLS begins (RFC 3207 section 4.2)."""
        self._lines.clear()

    def close(self) -> None:
        """The client is gone: let go of what it sent, half a message perhaps."""
        self._lines.clear()
        self._receiving = self._ready = None

    def feed(self, data: bytes) -> None:
        """Add what arrived."""
        if self._receiving is None or len(self._lines):
            self._lines.feed(data)
        else:
            self._receive(data)

    def next(self) -> Event | None:
        """The next command or message; None until one is complete. Raises ProtocolError."""
        if self._receiving is not None:
            waiting = len(self._lines)
            if waiting or self._is_empty_chunk():
                self._receive(self._lines.take(waiting))
        if self._ready is not None:
            event, self._ready = self._ready, None
            return event
        return None if self._receiving is not None else self._next_command()

    def _is_empty_chunk(self) -> bool:
        return isinstance(self._receiving, _Counted)

    def _receive(self, data: bytes) -> None:
        receiving = self._receiving
        if receiving is None:
            return
        event, used = receiving.take(data)
        if event is not None:
            self._ready, self._receiving = event, None
            if used < len(data):
                self._lines.feed(data[used:])

    def _next_command(self) -> Command | None:
        try:
            line = self._lines.next_line()
        except LineTooLongError:
            raise self._fault(Fault.LENGTH) from None
        if line is None:
            return None
        verb, _, argument = line.partition(b" ")
        row = SYNTAX.get(verb) or SYNTAX.get(verb.upper())
        if row is None:
            raise self._fault(Fault.UNKNOWN)
        if not row.states & self.state:
            raise self._fault(Fault.STATE)
        try:
            command = row.parse(row.verb, argument)
        except CommandSyntaxError as error:
            raise self._fault(error.fault) from None
        self._errors = 0
        return command

    def _fault(self, fault: Fault) -> ProtocolError:
        self._errors += 1
        return ProtocolError(fault, fatal=fault is Fault.CHUNK or self._errors >= MAX_ERRORS)
