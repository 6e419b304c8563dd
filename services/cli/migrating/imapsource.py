"""An account of any IMAP server as something that can be imported: folders, messages, flags, dates, subscriptions.

Every method blocks: for a thread. Memory is that of one batch of messages; a server that sends more than it said is
not listened to.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Final, TypeVar

from imapclient import IMAPClient, SocketTimeout
from imapclient.exceptions import IMAPClientError, LoginError

from services.cli.migrating.journal import Journal, Place
from services.cli.transfer.message import Folder, Message, SourceError
from services.common.domain import ANSWERED, DELETED, DRAFT, FLAGGED, INBOX, SEEN

T = TypeVar("T")
CONNECT_SECONDS: Final = 20.0
SECONDS: Final = 120.0
"""That the server may take for an answer, or the next part of one."""
LOOKED_AT: Final = 500
"""Messages whose sizes, flags and dates are asked for at once."""
BATCH_BYTES: Final = 4 << 20
BATCH_MESSAGES: Final = 50
OVERHEAD: Final = 1 << 20
"""What an answer may have beside the message that was asked for."""
_SYSTEM: Final = {
    b"\\seen": SEEN, b"\\answered": ANSWERED, b"\\flagged": FLAGGED, b"\\deleted": DELETED, b"\\draft": DRAFT,
}  # fmt: skip
_NO_MAILBOX: Final = frozenset({b"\\noselect", b"\\nonexistent"})


class Security(StrEnum):
    """How the connection is protected."""

    TLS = "tls"
    STARTTLS = "starttls"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Server:
    """Where the mail is, and as whom to ask for it.

    `admin`: log in as this administrator on behalf of `user` (SASL PLAIN with an authorization identity).
    """

    host: str
    port: int
    security: Security
    user: str
    password: str = field(repr=False)
    admin: str = ""
    cafile: str = ""

    def __str__(self) -> str:
        return f"{self.user} at {self.host}:{self.port}"


@dataclass(slots=True)
class Left:
    """What cannot come along: messages above the store's size by folder, names that were changed."""

    too_large: int = 0
    renamed: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Head:
    uid: int
    size: int
    system: int
    keywords: tuple[str, ...]
    internaldate: int | None


@dataclass(frozen=True, slots=True)
class _Mailbox:
    name: str
    here: str


@dataclass(frozen=True, slots=True)
class Fetched(Message):
    """A message with its UID at the source."""

    uid: int = 0


class ImapSource:
    """Reads the mailboxes that `wanted` says yes to, by their names here.

    `validity` is asked for the UIDVALIDITY that a mailbox has here now, 0 where it is not there.
    """

    def __init__(
        self,
        server: Server,
        journal: Journal,
        max_message: int,
        wanted: Callable[[str], bool],
        validity: Callable[[str], int],
    ) -> None:
        self._server = server
        self._journal = journal
        self._max = max_message
        self._wanted = wanted
        self._validity = validity
        self._client: IMAPClient | None = None
        self._subscribed: frozenset[str] = frozenset()
        self.left = Left()
        self.matched = False

    # ---- connection -------------------------------------------------------------------------------------------------
    def open(self) -> None:
        """Connect and log in. Raises SourceError."""
        server = self._server
        try:
            context = ssl.create_default_context(cafile=server.cafile or None)
            timeout = SocketTimeout(CONNECT_SECONDS, SECONDS)
            client = IMAPClient(
                server.host, server.port, ssl=server.security is Security.TLS, ssl_context=context, timeout=timeout
            )
        except ssl.SSLCertVerificationError as error:
            raise SourceError(f"{server.host}: its certificate is not trusted: {error.verify_message}") from None
        except (OSError, IMAPClientError) as error:
            raise SourceError(f"{server.host}:{server.port}: {_why(error)}") from None
        self._client = client
        client.normalise_times = False
        self._bound(client)
        try:
            if server.security is Security.STARTTLS:
                client.starttls(context)
            self._log_in(client)
        except ssl.SSLCertVerificationError as error:
            raise SourceError(f"{server.host}: its certificate is not trusted: {error.verify_message}") from None
        except LoginError as error:
            raise SourceError(f"{server.host}: {server.admin or server.user} cannot log in: {_why(error)}") from None
        except (OSError, IMAPClientError) as error:
            raise SourceError(f"{server.host}:{server.port}: {_why(error)}") from None

    def close(self) -> None:
        """Cut the connection: also while another thread waits for an answer, which fails then."""
        client, self._client = self._client, None
        if client is None:
            return
        with suppress(OSError, IMAPClientError):
            # First the socket itself: closing the file that it is read by would wait for who reads.
            client.socket().shutdown(socket.SHUT_RDWR)
        with suppress(OSError, IMAPClientError):
            client.shutdown()

    def _log_in(self, client: IMAPClient) -> None:
        server = self._server
        if server.admin:
            client.plain_login(server.admin, server.password, server.user)
        else:
            client.login(server.user, server.password)

    def _bound(self, client: IMAPClient) -> None:
        """No literal that is longer than what a message may have."""
        connection: Any = client._imap
        read, limit = connection.read, self._max + OVERHEAD

        def bounded(size: int) -> bytes:
            if size > limit:
                raise SourceError(f"{self._server.host} sends {size} bytes where {limit} are the most")
            data: bytes = read(size)
            return data

        connection.read = bounded

    def _ask(self, what: Callable[[IMAPClient], T]) -> T:
        """One exchange with the server. Raises SourceError."""
        if self._client is None:
            raise SourceError(f"{self._server.host}: the connection is closed")
        try:
            return what(self._client)
        except SourceError:
            raise
        except Exception as error:
            # Whatever a strange server makes the library stumble over is the server's fault, and no traceback.
            raise SourceError(f"{self._server.host}: {_why(error)}; the same command goes on from here") from None

    # ---- folders ----------------------------------------------------------------------------------------------------
    def folders(self) -> Iterator[Folder]:
        """INBOX, then all others by name. Raises SourceError."""
        mailboxes = sorted(self._mailboxes(), key=lambda each: (each.here != INBOX, each.here))
        for mailbox in mailboxes:
            if self._wanted(mailbox.here):
                self.matched = True
                yield self._folder(mailbox)

    def subscriptions(self) -> frozenset[str]:
        """Names that are subscribed to at the source, also of mailboxes that are not there; known after `folders`."""
        return frozenset(name for name in self._subscribed if self._wanted(name))

    def _mailboxes(self) -> list[_Mailbox]:
        prefixes, others = self._ask(_namespaces)
        listed = self._ask(lambda client: client.list_folders())
        subscribed = self._ask(lambda client: client.list_sub_folders())
        names = _Names(prefixes, others)
        self._subscribed = frozenset(filter(None, (names.here(str(name), mark) for _, mark, name in subscribed)))
        found: dict[str, _Mailbox] = {}
        for flags, mark, name in listed:
            here = names.here(name, mark)
            if here and not _NO_MAILBOX & {flag.lower() for flag in flags} and here not in found:
                found[here] = _Mailbox(name, here)
        self.left.renamed = names.renamed
        return list(found.values())

    def _folder(self, mailbox: _Mailbox) -> Folder:
        validity = self._ask(lambda client: int(client.select_folder(mailbox.name, readonly=True)[b"UIDVALIDITY"]))
        place = self._journal.place(mailbox.here, validity, self._validity(mailbox.here))
        # `n:*` has the last message in any case (RFC 9051 section 6.4.8).
        found = self._ask(lambda client: list(map(int, client.search(["UID", f"{place.upto + 1}:*"]))))
        news = sorted({uid for uid in found if uid > place.upto})

        def kept(messages: Sequence[Message], here_validity: int, here: int) -> None:
            upto = max(message.uid for message in messages if isinstance(message, Fetched))
            self._journal.note(Place(mailbox.here, validity, upto, here_validity, here))

        return Folder(
            mailbox.here, len(news), self._messages(mailbox, news),
            after=place.here, subscribed=mailbox.here in self._subscribed, kept=kept,
        )  # fmt: skip

    # ---- messages ---------------------------------------------------------------------------------------------------
    def _messages(self, mailbox: _Mailbox, uids: Sequence[int]) -> Iterator[Message]:
        for start in range(0, len(uids), LOOKED_AT):
            heads = self._heads(uids[start : start + LOOKED_AT])
            for batch in _batches(heads):
                yield from self._bodies(batch)

    def _heads(self, uids: Sequence[int]) -> list[_Head]:
        def ask(client: IMAPClient) -> list[_Head]:
            answer = client.fetch(uids, ["RFC822.SIZE", "FLAGS", "INTERNALDATE"])
            return [_head(uid, answer[uid]) for uid in uids if b"RFC822.SIZE" in answer.get(uid, {})]

        heads = self._ask(ask)
        small = [head for head in heads if head.size <= self._max]
        self.left.too_large += len(heads) - len(small)
        return small

    def _bodies(self, heads: Sequence[_Head]) -> Iterator[Message]:
        """What of them is still there."""
        answer = self._ask(lambda client: client.fetch([head.uid for head in heads], ["BODY.PEEK[]"]))
        for head in heads:
            body = answer.get(head.uid, {}).get(b"BODY[]")
            if body is not None:
                yield Fetched(bytes(body), head.system, head.keywords, head.internaldate, head.uid)


def _head(uid: int, data: dict[bytes, Any]) -> _Head:
    flags = [bytes(flag) for flag in data.get(b"FLAGS", ())]
    system = 0
    for flag in flags:
        system |= _SYSTEM.get(flag.lower(), 0)
    keywords = tuple(flag.decode() for flag in flags if not flag.startswith(b"\\") and flag.isascii())
    date = data.get(b"INTERNALDATE")
    return _Head(uid, int(data[b"RFC822.SIZE"]), system, keywords, _seconds(date))


def _seconds(date: object) -> int | None:
    """Seconds since 1970; None for a date that no clock has."""
    with suppress(OverflowError, OSError, ValueError):
        return max(0, int(date.timestamp())) if isinstance(date, datetime) else None
    return None


def _batches(heads: Sequence[_Head]) -> Iterator[list[_Head]]:
    """Some at a time, few where they are large."""
    batch: list[_Head] = []
    size = 0
    for head in heads:
        if batch and (len(batch) == BATCH_MESSAGES or size + head.size > BATCH_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(head)
        size += head.size
    if batch:
        yield batch


# ---- names ----------------------------------------------------------------------------------------------------------
def _namespaces(client: IMAPClient) -> tuple[list[str], list[str]]:
    """Prefixes of the user's own mailboxes, and of everybody else's (RFC 2342)."""
    if not client.has_capability("NAMESPACE"):
        return [], []
    found = client.namespace()
    personal = [prefix for prefix, _ in found.personal or () if prefix]
    return personal, [prefix for part in (found.other, found.shared) for prefix, _ in part or () if prefix]


class _Names:
    """Names of the source as they are here: levels parted by `/`, without the prefix of the user's own."""

    def __init__(self, personal: Sequence[str], others: Sequence[str]) -> None:
        self._personal = sorted(personal, key=len, reverse=True)
        self._others = tuple(others)
        self.renamed: dict[str, str] = {}

    def here(self, name: str, mark: bytes | None) -> str:
        """The name here; "" for a mailbox of somebody else."""
        if name.upper() == INBOX:
            return INBOX
        if self._others and name.startswith(self._others):
            return ""
        separator = mark.decode("ascii", "replace") if mark else ""
        own = next((name[len(prefix) :] for prefix in self._personal if name.startswith(prefix)), name)
        levels = own.split(separator) if separator else [own]
        if not own or own in {prefix.rstrip(separator or None) for prefix in self._personal}:
            return ""
        proper = [level.replace("/", "_") for level in levels]
        if proper != levels:
            self.renamed[name] = "/".join(proper)
        return "/".join(proper)


def _why(error: Exception) -> str:
    """For people; what a server said is shortened and made printable."""
    text = str(getattr(error, "strerror", None) or error or type(error).__name__)
    text = (text[2:-1] if text.startswith(("b'", 'b"')) else text)[:200]  # the library has bytes as Python writes them
    return "".join(char if char.isprintable() else "?" for char in text)
