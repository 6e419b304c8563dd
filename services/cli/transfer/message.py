"""One message on its way between a file and the store, and what line ends become on that way."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

_FIRST_DOT: Final = re.compile(r"^\.")


@dataclass(frozen=True, slots=True)
class Message:
    """A message with what the store keeps beside it. `internaldate` in seconds since 1970, None unknown."""

    body: bytes
    system: int = 0
    keywords: tuple[str, ...] = ()
    internaldate: int | None = None


@dataclass(frozen=True, slots=True)
class Folder:
    """A mailbox's worth of messages in a source; `count` is None where counting would mean reading it all.

    Of what the mailbox holds here already only UIDs above `after` are looked at for messages that came in before.
    `subscribed`: whether it is subscribed to when it is made. `kept` is called with messages that are safe here, the
    mailbox's UIDVALIDITY and its highest UID.
    """

    name: str
    count: int | None
    messages: Iterator[Message]
    after: int = 0
    subscribed: bool = True
    kept: Callable[[Sequence[Message], int, int], None] | None = None


class Source(Protocol):
    """Files that messages are read from."""

    def folders(self) -> Iterator[Folder]:
        """Every folder, each read lazily. Raises OSError, SourceError."""


class Target(Protocol):
    """Files that messages are written to, one folder after the other."""

    def begin(self, folder: str, uidvalidity: int) -> None:
        """The next messages are this folder's."""

    def has(self, uid: int) -> bool:
        """Whether this message was written by an earlier run."""

    def write(self, uid: int, message: Message) -> None:
        """Write one message durably enough that `has` may be believed after a crash."""

    def end(self) -> None:
        """The folder is complete."""

    def abandon(self) -> None:
        """The folder will not be completed in this run; leave nothing that looks as if it were."""


class SourceError(Exception):
    """The files are not what they were said to be; the text is for the operator."""


def file_name(folder: str) -> str:
    """The path of a folder's files: its levels, with what a path cannot carry, or would hide, as %XX."""
    return "/".join(_FIRST_DOT.sub("%2E", level.replace("%", "%25")) for level in folder.split("/"))


def folder_name(path: str) -> str:
    """What `file_name` was made from."""
    return path.replace("%2E", ".").replace("%25", "%")


def with_crlf(data: bytes) -> bytes:
    """A message read from a file of a system with bare LF line ends, as it travels (RFC 5322 section 2.1).

    A file that holds a CRLF anywhere is taken as it is.
    """
    return data if b"\r\n" in data else data.replace(b"\n", b"\r\n")


def is_raw(body: bytes) -> bool:
    """Whether `with_crlf` would change the message, so that a file of it must be marked to come back unchanged."""
    return b"\n" in body and b"\r\n" not in body
