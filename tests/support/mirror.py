"""A client's mirror of its mailbox, built from nothing but what the server said."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

_NUMBERED: Final = re.compile(rb"\* (\d+) (EXISTS|EXPUNGE|FETCH|RECENT)(.*)", re.DOTALL)
_UID: Final = re.compile(rb"\bUID (\d+)")
_FLAGS: Final = re.compile(rb"\bFLAGS \(([^)]*)\)")
NUMBERED_COMMANDS: Final = ("FETCH", "STORE", "SEARCH")
"""Commands in whose answer no EXPUNGE may be (RFC 9051 section 7.5.1)."""


@dataclass(slots=True)
class Seen:
    """What the client knows of one message."""

    uid: int = 0
    flags: frozenset[bytes] | None = None


@dataclass(slots=True)
class Mirror:
    """The messages in order. Anything that cannot be is an AssertionError."""

    messages: list[Seen] = field(default_factory=list)

    def take(self, command: str, responses: Iterable[bytes]) -> None:
        """The untagged responses of a command, in order."""
        quiet = command.split(maxsplit=1)[0] in NUMBERED_COMMANDS
        for response in responses:
            match = _NUMBERED.fullmatch(response)
            if match is None:
                continue
            number, word = int(match[1]), match[2]
            if word == b"EXISTS":
                self._exists(number)
            elif word == b"EXPUNGE":
                assert not quiet, f"EXPUNGE during {command}"
                assert 1 <= number <= len(self.messages), response
                del self.messages[number - 1]
            elif word == b"FETCH":
                self._fetched(number, match[3])

    def stored_silently(self, numbers: Iterable[int], operation: str, flag: bytes) -> None:
        """A STORE with .SILENT worked: the client knows by itself what came of it."""
        for number in numbers:
            seen = self.messages[number - 1]
            if operation == "":
                seen.flags = frozenset((flag,))
            elif seen.flags is not None:
                seen.flags = seen.flags | {flag} if operation == "+" else seen.flags - {flag}

    def _exists(self, count: int) -> None:
        assert count >= len(self.messages), f"{count} EXISTS of {len(self.messages)}"
        self.messages.extend(Seen() for _ in range(count - len(self.messages)))

    def _fetched(self, number: int, text: bytes) -> None:
        assert 1 <= number <= len(self.messages), text
        seen = self.messages[number - 1]
        if uid := _UID.search(text):
            assert seen.uid in (0, int(uid[1])), f"message {number} was {seen.uid} and is now {uid[1]!r}"
            seen.uid = int(uid[1])
        if flags := _FLAGS.search(text):
            seen.flags = frozenset(flags[1].split()) - {b"\\Recent"}
