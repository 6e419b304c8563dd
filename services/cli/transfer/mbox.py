"""mbox files (mboxrd quoting): one file a folder, or a directory tree of them.

What the store keeps beside a message travels in header lines before it: `Status` and `X-Status` as mutt and Dovecot
write them, `X-Keywords`, and an `X-Mailkeep` line that opens the block, so that an import strips just what an export
put there.
"""

from __future__ import annotations

import calendar
import os
import re
import time
from collections.abc import Iterator
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import BinaryIO

from services.cli.transfer.message import Folder, Message, SourceError, file_name, folder_name, is_raw, with_crlf
from services.common.domain import ANSWERED, DELETED, DRAFT, FLAGGED, INBOX, SEEN

_STATUS = {"R": SEEN}
_X_STATUS = {"A": ANSWERED, "F": FLAGGED, "D": DELETED, "T": DRAFT}
_QUOTED = re.compile(rb"^>(>*From )", re.MULTILINE)
_FROM = re.compile(rb"^(>*From )", re.MULTILINE)
_MARK = b"X-Mailkeep: "
_OWN_LINES = 4
_FROM_LINE = re.compile(rb"From \S* *(.*\d{4})\s*$")


class MboxSource:
    """Reads one mbox file or a directory of them (a folder's name is its path below the directory)."""

    def __init__(self, root: Path, folder: str = "") -> None:
        self._root = root
        self._folder = folder

    def folders(self) -> Iterator[Folder]:
        """Every file that begins like an mbox; a single file is INBOX unless a folder was named."""
        if self._root.is_file():
            yield Folder(self._folder or INBOX, None, _messages(self._root))
            return
        files = [path for path in sorted(self._root.rglob("*")) if _is_mbox(path)]
        if not files:
            raise SourceError(f"{self._root} holds no mbox")
        for path in files:
            # Thunderbird keeps what is below a folder in a directory NAME.sbd.
            name = str(path.relative_to(self._root)).removesuffix(".mbox").replace(".sbd/", "/")
            yield Folder(INBOX if name.upper() == INBOX else folder_name(name), None, _messages(path))


class MboxTarget:
    """Writes one file a folder. A folder is written anew as a whole and put in its place when it is complete."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._path = root
        self._file: BinaryIO | None = None

    def begin(self, folder: str, uidvalidity: int) -> None:
        """Open the folder's temporary file."""
        self._path = self._root / f"{file_name(folder)}.mbox"
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._file = open(self._partial(), "wb")  # noqa: SIM115 - closed in `end`

    def has(self, uid: int) -> bool:
        """Never: the file is written as a whole."""
        return False

    def write(self, uid: int, message: Message) -> None:
        """Append one message, quoted."""
        if self._file is None:
            raise RuntimeError("begin comes before write")
        date = time.asctime(time.gmtime(message.internaldate or 0))
        body = _FROM.sub(rb">\1", message.body)
        self._file.write(f"From MAILER-DAEMON {date}\n".encode() + _own_lines(uid, message) + body + b"\n\n")

    def end(self) -> None:
        """Make the file durable and put it in its place."""
        if self._file is None:
            return
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        self._file = None
        os.replace(self._partial(), self._path)

    def abandon(self) -> None:
        """Remove what is half written; the file of an earlier run stays."""
        if self._file is not None:
            self._file.close()
            self._file = None
            self._partial().unlink(missing_ok=True)

    def _partial(self) -> Path:
        """Hidden, so that an import takes it for nothing."""
        return self._path.with_name(f".{self._path.name}.part")


def _own_lines(uid: int, message: Message) -> bytes:
    status = "".join(letter for letter, flag in _STATUS.items() if message.system & flag)
    x_status = "".join(letter for letter, flag in _X_STATUS.items() if message.system & flag)
    ends = "raw" if is_raw(message.body) else "crlf"
    keywords = " ".join(message.keywords)
    lines = (
        f"X-Mailkeep: uid={uid}; lines={ends}",
        f"Status: {status}O",
        f"X-Status: {x_status}",
        f"X-Keywords: {keywords}",
    )
    return "".join(f"{line}\n" for line in lines).encode()


def _is_mbox(path: Path) -> bool:
    """A file that begins like one; an empty .mbox is an empty folder."""
    if not path.is_file() or path.name.startswith("."):
        return False
    with open(path, "rb") as file:
        first = file.read(5)
    return first == b"From " or (not first and path.suffix == ".mbox")


def _messages(path: Path) -> Iterator[Message]:
    with open(path, "rb") as file:
        first = file.readline()
        if first and not first.startswith(b"From "):
            raise SourceError(f"{path} is no mbox: it does not begin with 'From '")
        separator, lines, previous_empty = first, list[bytes](), False
        for line in file:
            if previous_empty and line.startswith(b"From "):
                yield _message(separator, b"".join(lines))
                separator, lines = line, []
            else:
                lines.append(line)
            previous_empty = line in {b"\n", b"\r\n"}
        if separator:
            yield _message(separator, b"".join(lines))


def _message(separator: bytes, data: bytes) -> Message:
    own, data = _split_own(data)
    body = _QUOTED.sub(rb"\1", data)
    # The writer ended the message with one line end of its own and one empty line.
    body = body[:-2] if own else re.sub(rb"\r?\n\Z", b"", body)
    headers = own or _header_fields(body)
    system = sum(_STATUS.get(letter, 0) for letter in set(headers.get("status", "")))
    system |= sum(_X_STATUS.get(letter, 0) for letter in set(headers.get("x-status", "")))
    raw = "lines=" in headers.get("x-mailkeep", "")
    return Message(
        body if raw else with_crlf(body), system, tuple(headers.get("x-keywords", "").split()), _date(separator)
    )


def _split_own(data: bytes) -> tuple[dict[str, str], bytes]:
    """The block that an export put before the message (empty when there is none), and the rest."""
    if not data.startswith(_MARK):
        return {}, data
    parts = data.split(b"\n", _OWN_LINES)
    if len(parts) <= _OWN_LINES:
        return {}, data
    pairs = (line.decode(errors="replace").partition(": ") for line in parts[:_OWN_LINES])
    return {name.lower().rstrip(":"): value.strip() for name, _, value in pairs}, parts[_OWN_LINES]


def _header_fields(body: bytes) -> dict[str, str]:
    """Status lines of a foreign mbox; they stay in the message."""
    head = re.split(rb"\r?\n\r?\n", body, maxsplit=1)[0].decode("latin-1")
    found = re.findall(r"^(status|x-status|x-keywords):[ \t]*(.*?)\r?$", head, re.IGNORECASE | re.MULTILINE)
    return {name.lower(): value.strip() for name, value in found}


def _date(separator: bytes) -> int | None:
    """The date of a From_ line (asctime, UTC where nothing else is said)."""
    match = _FROM_LINE.match(separator)
    if not match:
        return None
    text = match[1].decode("latin-1")
    try:
        return calendar.timegm(time.strptime(text, "%a %b %d %H:%M:%S %Y"))
    except ValueError:
        pass
    try:
        return int(parsedate_to_datetime(text).timestamp())
    except (ValueError, TypeError):
        return None
