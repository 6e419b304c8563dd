"""The tree of a message's MIME parts, with the offsets of every header and body (RFC 2045, RFC 2046).

One pass over the message finds the delimiter lines of all multiparts that are open at a place, so that the time is
linear whatever is nested in what. What is too deep or too much becomes part of an opaque leaf; nothing is refused.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from services.common.mime.contenttype import OPAQUE, PLAIN, RFC822, ContentType, content_type
from services.common.mime.headers import COMMON_FIELDS, interpreted, split_fields

MAX_LEVELS: Final = 64
"""Depth of multiparts and messages; what lies deeper is one opaque part."""
MAX_PARTS: Final = 10_000
"""Parts of one message; the last one reaches to the end."""
MAX_BOUNDARY: Final = 998
"""Length of a boundary that is believed (RFC 2046 allows 70)."""

FIELDS: Final = frozenset(
    b"DATE SUBJECT FROM SENDER REPLY-TO TO CC BCC IN-REPLY-TO MESSAGE-ID REFERENCES "
    b"CONTENT-TYPE CONTENT-TRANSFER-ENCODING CONTENT-ID CONTENT-DESCRIPTION CONTENT-MD5 "
    b"CONTENT-DISPOSITION CONTENT-LANGUAGE CONTENT-LOCATION".split()
)
"""The fields that a part keeps: ENVELOPE's, BODYSTRUCTURE's and threading's."""
_LISTS: Final = frozenset(b"FROM SENDER REPLY-TO TO CC BCC REFERENCES".split())
_NESTED: Final = ((b"MESSAGE", b"RFC822"), (b"MESSAGE", b"GLOBAL"))


class Part:
    """One part: header `[start, body)`, body `[body, end)` of the message's bytes.

    `children` are a multipart's parts, or the one message inside message/rfc822. `fields` are raw values of `FIELDS`.
    """

    __slots__ = ("body", "boundary", "children", "end", "fields", "is_message", "is_multipart", "start", "type")

    def __init__(self, start: int, body: int, fields: dict[bytes, bytes], kind: ContentType) -> None:
        self.start = start
        self.body = body
        self.end = -1
        self.fields = fields
        self.type = kind
        self.children: list[Part] = []
        self.is_multipart = False
        self.is_message = False
        self.boundary = b""

    def step(self, number: int) -> Part | None:
        """The part that one number of a section names below this one (RFC 9051 section 6.4.5.1).

        Within a message that is no multipart, 1 is its only part: the message's own body.
        """
        parent = self.children[0] if self.is_message else self
        if parent.is_multipart:
            return parent.children[number - 1] if 1 <= number <= len(parent.children) else None
        return parent if number == 1 and parent is not self else None


def read_fields(header: bytes, common: list[bytes] | None = None) -> dict[bytes, bytes]:
    """The raw values of `FIELDS` in a header section: the first of a name, address lists of all joined.

    `common` gets the raw fields named in `COMMON_FIELDS`, for which the header must end with a line end.
    """
    fields: dict[bytes, bytes] = {}
    repeated: dict[bytes, list[bytes]] = {}
    for field in split_fields(interpreted(header)):
        name, colon, value = field.partition(b":")
        key = name.rstrip(b" \t").upper()
        if not colon:
            continue
        if common is not None and key in COMMON_FIELDS:
            common.append(field)
        if key in FIELDS:
            if key not in fields:
                fields[key] = value
            elif key in _LISTS:
                repeated.setdefault(key, []).append(value)
    for key, values in repeated.items():
        fields[key] = b",".join([fields[key], *values])
    return fields


def parse(message: bytes, path: Sequence[int] | None = None, fields: dict[bytes, bytes] | None = None) -> Part:
    """The root part of a message; it stands for the message's header and body.

    With a `path` (a section's numbers) the reading stops as soon as that part is complete: what comes after it is
    missing then. `fields` are the root's, where the caller has read them.
    """
    return _Scanner(message, path or ()).run(fields)


def enclosing(root: Part) -> Part:
    """A message part whose message is `root`: where the numbers of a section begin."""
    top = Part(root.start, root.start, {}, RFC822)
    top.is_message = True
    top.end = root.end
    top.children.append(root)
    return top


def locate(root: Part, path: Sequence[int]) -> Part | None:
    """The part that a section's numbers name, None where there is none."""
    part: Part | None = enclosing(root)
    for number in path:
        part = part.step(number) if part is not None else None
    return part


class _Scanner:
    """One pass over a message. `chain` leads from the root to the part being read.

    `delimiters` are those of the multiparts in `chain` that still take parts, `owners` their places in `chain`.
    """

    __slots__ = ("_bare_blank", "_strict_blank", "chain", "count", "delimiters", "length", "message", "owners", "path")

    def __init__(self, message: bytes, path: Sequence[int]) -> None:
        self.message = message
        self.length = len(message)
        self.path = path
        self.count = 0
        self.chain: list[Part] = []
        self.delimiters: tuple[bytes, ...] = ()
        self.owners: tuple[int, ...] = ()
        self._strict_blank = -1
        self._bare_blank = -1

    def run(self, fields: dict[bytes, bytes] | None) -> Part:
        position = self.enter(0, PLAIN, fields)
        root = self.chain[0]
        while self.delimiters:
            line = self.find_delimiter(position, self.length)
            if line < 0:
                break
            position = self.delimiter(line)
            if self.path and self.is_complete(root):
                return root
        self.close(0, self.length)
        return root

    def is_complete(self, root: Part) -> bool:
        wanted = locate(root, self.path)
        return wanted is not None and wanted.end >= 0

    def delimiter(self, line: int) -> int:
        """Take a delimiter line: end what it ends and begin what it begins. Returns where reading goes on."""
        message = self.message
        place = self.owner_of(line)
        owner = self.chain[self.owners[place]]
        after = message.find(b"\n", line) + 1 or self.length
        # The line break before a delimiter is part of it (RFC 2046 section 5.1.1).
        content_end = line - 2 if message[line - 2 : line] == b"\r\n" else line - 1
        self.close(self.owners[place] + 1, content_end)
        if message.startswith(b"--", line + len(self.delimiters[place])):
            self.delimiters = self.delimiters[:place]
            self.owners = self.owners[:place]
            return after
        self.delimiters = self.delimiters[: place + 1]
        self.owners = self.owners[: place + 1]
        return self.enter(after, RFC822 if owner.type.subtype == b"DIGEST" else PLAIN, None)

    def owner_of(self, line: int) -> int:
        """Whose delimiter it is: the longest that the line begins with, of equal ones the innermost."""
        best, length = 0, -1
        for place, text in enumerate(self.delimiters):
            if len(text) >= length and self.message.startswith(text, line):
                best, length = place, len(text)
        return best

    def find_delimiter(self, position: int, limit: int) -> int:
        """The first delimiter line that begins in [position, limit); `position` is the beginning of a line."""
        message, delimiters = self.message, self.delimiters
        if message.startswith(delimiters, position):
            return position if position < limit else -1
        needle = b"\n" + delimiters[0] if len(delimiters) == 1 else b"\n--"
        while True:
            position = message.find(needle, position, limit) + 1
            if not position or message.startswith(delimiters, position):
                return position or -1

    def close(self, place: int, end: int) -> None:
        """End the parts of the chain from `place` on; none ends before its own body begins, or one inside it."""
        for part in reversed(self.chain[place:]):
            end = part.end = max(end, part.body)
            if part.is_multipart and not part.children:
                self.add_empty(part)
        del self.chain[place:]

    def add_empty(self, part: Part) -> None:
        """A multipart without parts gets an empty one: IMAP has no way to write it else."""
        child = Part(part.end, part.end, {}, PLAIN)
        child.end = part.end
        part.children.append(child)

    def enter(self, start: int, default: ContentType, fields: dict[bytes, bytes] | None) -> int:
        """Begin a part, and the message in it where it is one. Returns where its body is to be read on."""
        while True:
            body = self.header_end(start)
            if fields is None:
                fields = read_fields(self.message[start:body])
            declared = fields.get(b"CONTENT-TYPE")
            part = Part(start, body, fields, default if declared is None else content_type(declared))
            if self.chain:
                self.chain[-1].children.append(part)
            self.chain.append(part)
            self.count += 1
            self.open(part)
            if not part.is_message:
                return body
            start, default, fields = body, PLAIN, None

    def open(self, part: Part) -> None:
        """Decide what may lie in a part."""
        kind = part.type
        composite = kind.maintype == b"MULTIPART" or kind[:2] in _NESTED
        if self.count >= MAX_PARTS:
            self.delimiters, self.owners = (), ()
        if not composite:
            return
        if self.count >= MAX_PARTS or len(self.chain) > MAX_LEVELS:
            part.type = OPAQUE
        elif kind.maintype == b"MESSAGE":
            part.is_message = True
        else:
            self.open_multipart(part)

    def open_multipart(self, part: Part) -> None:
        """A multipart whose boundary is missing or absurd is no multipart (RFC 2045 section 5.2)."""
        boundary = (part.type.parameter(b"BOUNDARY") or b"").rstrip()
        if not boundary or len(boundary) > MAX_BOUNDARY:
            part.type = PLAIN
            return
        part.is_multipart = True
        self.delimiters = (*self.delimiters, b"--" + boundary)
        self.owners = (*self.owners, len(self.chain) - 1)

    def header_end(self, start: int) -> int:
        """Where the body of the part that begins at `start` begins.

        A delimiter line ends a header too. The next empty line is remembered, since it is searched for in all of the
        message: a thousand parts without one must not mean a thousand searches.
        """
        message = self.message
        if message.startswith((b"\r\n", b"\n"), start):
            return start + (1 if message[start] == 10 else 2)
        limit = self.blank_line(start)
        if self.delimiters:
            line = self.find_delimiter(start, limit)
            if line >= 0:
                return line
        return limit

    def blank_line(self, start: int) -> int:
        """The end of the first empty line after `start`."""
        if self._strict_blank < start:
            found = self.message.find(b"\n\r\n", start)
            self._strict_blank = found if found >= 0 else self.length
        if self._bare_blank < start:
            found = self.message.find(b"\n\n", start)
            self._bare_blank = found if found >= 0 else self.length
        if self._strict_blank < self._bare_blank:
            return self._strict_blank + 3
        return min(self._bare_blank + 2, self.length)
