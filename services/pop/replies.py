"""Replies as bytes: listings, messages with byte-stuffing, the head of a message for TOP, errors. No I/O.

Sizes. LIST and STAT give the message's octets as the store holds them, which are those that RETR sends before
byte-stuffing (RFC 1939 section 11). Where a message does not end with CRLF, RETR adds one, since a multi-line reply is
made of lines (section 3); these two octets are not counted: they belong to the reply and not to the message, and
whether they will be needed cannot be known without reading every message at STAT.

Byte-stuffing follows CRLF only, for only CRLF ends a line (section 3): a client that undoes it gets each bare CR or LF
back as it was.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Iterator, Sequence
from typing import Final

from services.common.errors import Reason
from services.pop.languages import Text
from services.pop.machine import Fault

END: Final = b".\r\n"
LISTED_AT_ONCE: Final = 10_000
"""Messages whose lines are made in one go; a longer listing goes out in parts, so that nobody else waits for it."""

REASONS: Final[dict[Reason, Text]] = {
    Reason.ACCOUNT_NOT_FOUND: Text.PERMANENT,
    Reason.MAILBOX_NOT_FOUND: Text.PERMANENT,
    Reason.MAILBOX_EXISTS: Text.PERMANENT,
    Reason.MAILBOX_NAME_INVALID: Text.PERMANENT,
    Reason.MAILBOX_HAS_CHILDREN: Text.PERMANENT,
    Reason.MAILBOX_PROTECTED: Text.PERMANENT,
    Reason.MAILBOX_LIMIT: Text.PERMANENT,
    Reason.KEYWORD_LIMIT: Text.PERMANENT,
    Reason.KEYWORD_INVALID: Text.PERMANENT,
    Reason.MESSAGE_NOT_FOUND: Text.GONE,
    Reason.MESSAGE_TOO_LARGE: Text.PERMANENT,
    Reason.OVER_QUOTA: Text.PERMANENT,
    Reason.MAILDROP_IN_USE: Text.IN_USE,
    Reason.MAILDROP_LOCK_LOST: Text.TEMPORARY,
    Reason.STORAGE_FULL: Text.TEMPORARY,
    Reason.STORAGE_CORRUPT: Text.PERMANENT,
    Reason.INVALID_ARGUMENT: Text.PERMANENT,
    Reason.PERMISSION_DENIED: Text.PERMANENT,
    Reason.UNAVAILABLE: Text.TEMPORARY,
    Reason.DEADLINE_EXCEEDED: Text.TEMPORARY,
    Reason.RESOURCE_EXHAUSTED: Text.TEMPORARY,
    Reason.INTERNAL: Text.TEMPORARY,
    Reason.LOGIN_NOT_FOUND: Text.TEMPORARY,
}
"""What a client is told when the store says no. A failure of the store is worth another try, a fault of data is not."""

FAULTS: Final[dict[Fault, Text]] = {
    Fault.UNKNOWN: Text.UNKNOWN,
    Fault.SYNTAX: Text.SYNTAX,
    Fault.STATE: Text.STATE,
    Fault.LENGTH: Text.TOO_LONG,
}


def challenge(line: bytes) -> bytes:
    """The server's part of an authentication exchange (RFC 5034 section 4)."""
    return b"+ " + line + b"\r\n"


def multiline(first: bytes, lines: Sequence[str]) -> bytes:
    """A reply of several lines, none of which begins with a dot."""
    return first + "".join([f"{line}\r\n" for line in lines]).encode() + END


def size_parts(sizes: array[int], deleted: set[int]) -> Iterator[bytes]:
    """LIST after its first line: number and octets of each message, in parts."""
    return _listing(b"%d %d\r\n", sizes, deleted)


def uid_parts(uidvalidity: int, uids: array[int], deleted: set[int]) -> Iterator[bytes]:
    """UIDL after its first line: number and unique id of each message, in parts."""
    return _listing(b"%%d %08x%%08x\r\n" % uidvalidity, uids, deleted)


def unique_id(uidvalidity: int, uid: int) -> bytes:
    """UIDVALIDITY and UID in hex of fixed width: the same for ever, and of no other message (RFC 1939 section 7)."""
    return b"%08x%08x" % (uidvalidity, uid)


def _listing(line: bytes, values: array[int], deleted: set[int]) -> Iterator[bytes]:
    numbers: Sequence[int] = range(1, len(values) + 1)
    column: Sequence[int] = values
    if deleted:
        numbers = [number for number in numbers if number - 1 not in deleted]
        column = [values[number - 1] for number in numbers]
    for start in range(0, len(numbers), LISTED_AT_ONCE):
        part = numbers[start : start + LISTED_AT_ONCE]
        # One format operation for all lines: the fastest way there is to make thousands of them.
        pairs = [0] * (2 * len(part))
        pairs[::2] = part
        pairs[1::2] = column[start : start + LISTED_AT_ONCE]
        yield line * len(part) % tuple(pairs)
    yield END


def message(first: bytes, body: bytes) -> bytes:
    """A whole message as a reply."""
    stuffed = body.replace(b"\r\n.", b"\r\n..")
    dot = b"." if body[:1] == b"." else b""
    end = END if not body or body.endswith(b"\r\n") else b"\r\n.\r\n"
    return b"".join((first, dot, stuffed, end))


class Stuffing:
    """A message as a reply when it comes in parts; a CRLF may be cut in two."""

    __slots__ = ("_tail",)

    def __init__(self) -> None:
        self._tail = b"\r\n"

    def part(self, data: bytes) -> bytes:
        """The bytes to send for these of the message."""
        if not data:
            return b""
        tail = self._tail
        stuffed = data.replace(b"\r\n.", b"\r\n..")
        self._tail = (tail + data)[-2:]
        if (tail == b"\r\n" and data[:1] == b".") or (tail[-1:] == b"\r" and data[:2] == b"\n."):
            at = 0 if data[:1] == b"." else 1
            return stuffed[:at] + b"." + stuffed[at:]
        return stuffed

    def end(self) -> bytes:
        """What ends the reply."""
        return END if self._tail == b"\r\n" else b"\r\n.\r\n"


_HEADER_END: Final = re.compile(rb"\n\r?\n")
_NO_HEADER: Final = re.compile(rb"\r?\n")


class Head:
    """Cuts a message off after its header and a number of lines, as TOP wants (RFC 1939 section 7)."""

    __slots__ = ("_in_body", "_left", "_tail", "done")

    def __init__(self, lines: int) -> None:
        self._left = lines
        self._in_body = False
        self._tail = b"\n"
        self.done = False

    def part(self, data: bytes) -> bytes:
        """How much of the next bytes belongs to it; `done` once nothing more will."""
        if self._in_body:
            return self._body(data, 0)
        # An empty line that is cut in two shows with the last bytes of the part before.
        seen = self._tail + data
        match = _HEADER_END.search(seen)
        if match is None:
            self._tail = seen[-2:]
            return data
        self._in_body = True
        return self._body(data, match.end() - len(self._tail))

    def _body(self, data: bytes, start: int) -> bytes:
        wanted = self._left
        found = data.count(b"\n", start)
        if found < wanted:
            self._left -= found
            return data
        self.done = True
        return data[:start] if not wanted else data[: _after_line(data, start, wanted)]


def _after_line(data: bytes, start: int, lines: int) -> int:
    """Where the last of so many lines ends: by halves, counting; a loop over a million lines would hold others up."""
    stop = len(data)
    while stop - start > 4096:
        middle = (start + stop) // 2
        before = data.count(b"\n", start, middle)
        if before >= lines:
            stop = middle
        else:
            start, lines = middle, lines - before
    for _ in range(lines):
        start = data.index(b"\n", start) + 1
    return start


def needs_utf8(header: bytes) -> bool:
    """Whether a header is an internationalised one (RFC 6532): UTF-8 beyond ASCII. Other 8-bit text is none."""
    if header.isascii():
        return False
    try:
        header.decode()
    except UnicodeDecodeError:
        return False
    return True


def header_of(body: bytes) -> bytes:
    """The header of a message, or all of it where it never ends."""
    if _NO_HEADER.match(body):
        return b""
    match = _HEADER_END.search(body)
    return body if match is None else body[: match.start()]
