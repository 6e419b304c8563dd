"""What an LMTP session knows: its state, the transaction, and what all sessions of the process share. No I/O."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Protocol

from services.common.directory import Entry
from services.lmtp.commands import MAIL, READY, REFUSED, START, Mail
from services.lmtp.machine import LmtpMachine
from services.lmtp.replies import Text

if TYPE_CHECKING:
    from services.common.inflight import Inflight
    from services.common.live import Live
    from services.common.options import Configuration, LmtpOptions
    from services.common.store import Store
    from services.lmtp.clients import AllowedClients
    from services.lmtp.recipients import Recipients

GROWTH: Final = 262_144
"""A message that says nothing of its size is given memory in steps of so many bytes."""
STUFFING: Final = 5
"""Bytes of the line of one dot that ends a message, and of the line end before it."""


class Link(Protocol):
    """What a session needs of its connection (`services.common.connection.Connection`)."""

    address: str
    tls: bool

    @property
    def tls_available(self) -> bool:
        """Whether STARTTLS can be offered."""

    @property
    def client_certificate(self) -> dict[str, Any] | None:
        """The client's verified certificate."""

    def start_tls(self) -> None:
        """Begin the handshake after the answer."""

    def close(self) -> None:
        """Close after the answer."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What all sessions of the process share. `hostname` is the server's name for itself."""

    configuration: Live[Configuration]
    store: Store
    recipients: Recipients
    clients: AllowedClients
    inflight: Inflight
    hostname: str


@dataclass(frozen=True, slots=True)
class Target:
    """A recipient that was accepted: the address as it was given, its account, and the folder asked for."""

    address: str
    entry: Entry
    folder: str


@dataclass(slots=True)
class Transaction:
    """From MAIL to the end of the message.

    `content` is what came by BDAT so far. `reserved` bytes of memory are taken for the `size` bytes that have arrived.
    `failure` says why the message can't be taken any more; what still comes of it is dropped.
    """

    mail: Mail
    targets: list[Target] = field(default_factory=list)
    content: bytearray = field(default_factory=bytearray)
    reserved: int = 0
    size: int = 0
    failure: Text | None = None


@dataclass(slots=True)
class Session:
    """One client's session. `last_chunk`: the chunk that is being read ends its message."""

    link: Link
    shared: Surroundings
    machine: LmtpMachine = field(default_factory=LmtpMachine)
    transaction: Transaction | None = None
    last_chunk: bool = False

    @property
    def options(self) -> LmtpOptions:
        """The service's options as they are now."""
        return self.shared.configuration.value.lmtp

    @property
    def max_size(self) -> int:
        """The largest message that is taken."""
        return self.shared.configuration.value.store.maxmessagesize

    def refuse(self) -> None:
        """The client may not deliver."""
        self.machine.state = REFUSED

    def greet(self) -> None:
        """LHLO: what was begun before is forgotten (RFC 5321 section 4.1.4)."""
        self.drop()
        self.machine.state = READY

    def begin(self, mail: Mail) -> None:
        """MAIL."""
        self.transaction = Transaction(mail)
        self.machine.state = MAIL

    def restart(self) -> None:
        """TLS is on: nothing that was said before it counts (RFC 3207 section 4.2)."""
        self.drop()
        self.machine.state = START

    def drop(self) -> None:
        """Forget the transaction and give its memory back."""
        transaction, self.transaction = self.transaction, None
        if transaction is not None:
            self._release(transaction)
            self.machine.state = READY

    def reserve(self, more: int) -> bool:
        """Whether the message may grow by `more` bytes (`services.lmtp.machine.Reserve`).

        Byte-stuffing makes a message longer, by a third at most; its true size is looked at when it is complete.
        """
        transaction = self.transaction
        if transaction is None or transaction.failure is not None:
            return False
        transaction.size += more
        if transaction.size > self.max_size + self.max_size // 3 + STUFFING:
            self.fail(transaction, Text.TOO_LARGE)
            return False
        return transaction.size <= transaction.reserved or self._grow(transaction)

    def fail(self, transaction: Transaction, why: Text) -> None:
        """The message can't be taken."""
        transaction.failure = why
        transaction.content = bytearray()
        self._release(transaction)

    def _grow(self, transaction: Transaction) -> bool:
        step = max(GROWTH, transaction.size - transaction.reserved)
        if self.shared.inflight.try_grow(transaction.reserved, step):
            transaction.reserved += step
            return True
        self.fail(transaction, Text.NO_MEMORY)
        return False

    def _release(self, transaction: Transaction) -> None:
        self.shared.inflight.release(transaction.reserved)
        transaction.reserved = 0
