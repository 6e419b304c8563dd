"""The terminals of the grammar, read one after the other from a complete command (RFC 9051 section 9).

A command's text is its lines put together, each literal's announcement still in it and its bytes apart, keyed by
where the announcement's brace is: so nothing is copied when a large literal comes in, and nothing that only looks like
an announcement (inside a quoted string) is taken for one.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final, TypeVar

T = TypeVar("T")

_ATOM: Final = re.compile(rb'[^\x00-\x20\x7f-\xff(){%*"\\\]]+')
_ASTRING: Final = re.compile(rb'[^\x00-\x20\x7f-\xff(){%*"\\]+')
_LIST_MAILBOX: Final = re.compile(rb'[^\x00-\x20\x7f-\xff(){"\\]+')
_QUOTED: Final = re.compile(rb'"((?:[^\x00\r\n"\\]|\\["\\])*)"')
_DIGITS: Final = re.compile(rb"[0-9]{1,20}")
_ANNOUNCEMENT: Final = re.compile(rb"\{[0-9]{1,20}\+?\}")
_WORD: Final = re.compile(rb"[A-Za-z0-9.\-=]+")

NUMBER_MAX: Final = (1 << 32) - 1
NUMBER64_MAX: Final = (1 << 63) - 1
QUOTE: Final = 0x22
BRACE: Final = 0x7B
OPEN: Final = 0x28
CLOSE: Final = 0x29


class BadSyntax(Exception):  # noqa: N818 - an answer to the client, not a fault
    """The text is not a command. `code` is a response code or "", `condition` BAD or NO."""

    def __init__(self, text: str, code: str = "", condition: str = "BAD") -> None:
        super().__init__(text)
        self.text = text
        self.code = code
        self.condition = condition


class Lexer:
    """A position in a command's text. Every method reads on from there or raises BadSyntax."""

    __slots__ = ("_literals", "_used", "position", "text", "utf8")

    def __init__(
        self, text: bytes, position: int = 0, literals: dict[int, bytes] | None = None, *, utf8: bool = False
    ) -> None:
        self.text = text
        self.position = position
        self.utf8 = utf8
        """Whether quoted strings and mailbox names are UTF-8: IMAP4rev2 or UTF8=ACCEPT is enabled."""
        self._literals = literals or {}
        self._used = 0

    @property
    def plain(self) -> bool:
        """Whether the text is all there is: no literals beside it."""
        return not self._literals

    def at_end(self) -> bool:
        """Whether nothing is left."""
        return self.position >= len(self.text)

    def peek(self) -> int:
        """The next byte, -1 at the end."""
        return self.text[self.position] if self.position < len(self.text) else -1

    def end(self) -> None:
        """Nothing may follow, and every literal must have been read as one."""
        if self.position < len(self.text):
            raise BadSyntax("Unexpected text at the end of the command")
        if self._used != len(self._literals):
            raise BadSyntax("Unexpected literal")

    def space(self) -> None:
        """SP."""
        if self.text[self.position : self.position + 1] != b" ":
            raise BadSyntax("Expected a space" if not self.at_end() else "Missing argument")
        self.position += 1

    def skip(self, expected: bytes) -> bool:
        """Read `expected` if it is next."""
        if not self.text.startswith(expected, self.position):
            return False
        self.position += len(expected)
        return True

    def take(self, expected: bytes) -> None:
        """Read `expected`, which must be next."""
        if not self.skip(expected):
            raise BadSyntax(f"Expected {expected.decode()}")

    def word(self) -> str:
        """Letters, digits, `.`, `-` and `=`: names of commands, items and options, in capitals."""
        return self._match(_WORD, "Expected a keyword").decode().upper()

    def skip_word(self, expected: str) -> bool:
        """Read the word if it is next, in any case."""
        match = _WORD.match(self.text, self.position)
        if match is None or match.group().decode().upper() != expected:
            return False
        self.position = match.end()
        return True

    def atom(self) -> bytes:
        """`atom`."""
        return self._match(_ATOM, "Expected an atom")

    def astring(self) -> bytes:
        """`astring`: an atom that may hold `]`, or a string."""
        if self.peek() in (QUOTE, BRACE):
            return self.string()
        return self._match(_ASTRING, "Expected a string")

    def list_mailbox(self) -> bytes:
        """`list-mailbox`: an atom that may hold `%`, `*` and `]`, or a string."""
        if self.peek() in (QUOTE, BRACE):
            return self.string()
        return self._match(_LIST_MAILBOX, "Expected a mailbox pattern")

    def string(self) -> bytes:
        """`string`: quoted or literal."""
        if self.peek() == BRACE:
            return self._checked(self.literal())
        quoted = self._match(_QUOTED, "Expected a string", group=1)
        if not quoted.isascii() and not self.utf8:
            raise BadSyntax("8-bit characters in a quoted string")
        return _unescaped(quoted) if b"\\" in quoted else quoted

    def nstring(self) -> bytes | None:
        """`nstring`: NIL or a string."""
        return None if self.nil() else self.string()

    def nil(self) -> bool:
        """Read NIL if it is next."""
        if self.text[self.position : self.position + 3].upper() != b"NIL":
            return False
        self.position += 3
        return True

    def literal(self) -> bytes:
        """A literal's bytes, whatever they are."""
        match = _ANNOUNCEMENT.match(self.text, self.position)
        data = self._literals.get(self.position)
        if match is None or data is None:
            raise BadSyntax("Expected a literal")
        self.position = match.end()
        self._used += 1
        return data

    def number(self) -> int:
        """`number`: 32 bits."""
        return self._digits(NUMBER_MAX)

    def number64(self) -> int:
        """`number64`: 63 bits."""
        return self._digits(NUMBER64_MAX)

    def nz_number(self) -> int:
        """`nz-number`."""
        return self._nonzero(NUMBER_MAX)

    def nz_number64(self) -> int:
        """`nz-number64`."""
        return self._nonzero(NUMBER64_MAX)

    def parenthesised(self, item: Callable[[Lexer], T], *, at_least: int = 1, at_most: int = 1000) -> tuple[T, ...]:
        """`"(" item *(SP item) ")"`."""
        self.take(b"(")
        items: list[T] = []
        while not self.skip(b")"):
            if items:
                self.space()
            if len(items) == at_most:
                raise BadSyntax("Too many items in a list", "LIMIT", "NO")
            items.append(item(self))
        if len(items) < at_least:
            raise BadSyntax("Empty list")
        return tuple(items)

    def pattern(self, expression: re.Pattern[bytes], otherwise: str) -> re.Match[bytes]:
        """Read what `expression` matches."""
        match = expression.match(self.text, self.position)
        if match is None:
            raise BadSyntax(otherwise)
        self.position = match.end()
        return match

    def _match(self, expression: re.Pattern[bytes], otherwise: str, group: int = 0) -> bytes:
        match = expression.match(self.text, self.position)
        if match is None:
            raise BadSyntax(otherwise if not self.at_end() else "Missing argument")
        self.position = match.end()
        return match.group(group)

    def _digits(self, maximum: int) -> int:
        value = int(self._match(_DIGITS, "Expected a number"))
        if value > maximum:
            raise BadSyntax("Number out of range")
        return value

    def _nonzero(self, maximum: int) -> int:
        start = self.position
        value = self._digits(maximum)
        if self.text[start] == 0x30:
            raise BadSyntax("Expected a number above zero")
        return value

    @staticmethod
    def _checked(data: bytes) -> bytes:
        if b"\0" in data:
            raise BadSyntax("NUL in a string")
        return data


def _unescaped(quoted: bytes) -> bytes:
    # Pairs of backslashes first: what is left of a backslash stands before a quote.
    return b"\\".join([part.replace(b'\\"', b'"') for part in quoted.split(b"\\\\")])


def utf8_text(data: bytes, otherwise: str) -> str:
    """The UTF-8 text of a string's bytes."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise BadSyntax(otherwise) from None
