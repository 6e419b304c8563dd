"""What a POP3 session knows: one dataclass for each state of RFC 1939 section 3, and the session around them. No I/O.

The UPDATE state has none of its own: QUIT runs it to its end and the connection closes.
"""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from services.common.domain import AccountId, BodyRef, Maildrop
from services.common.peer import Forwarded, Peer
from services.common.sasl.exchange import Exchange
from services.pop.languages import DEFAULT_LANGUAGE, LINES, Text
from services.pop.machine import PopMachine

if TYPE_CHECKING:
    from services.common.authentication import Authentication
    from services.common.bodyreader import BodyReader
    from services.common.live import Live
    from services.common.options import PopOptions
    from services.pop.maildrops import Maildrops
    from services.pop.rendered import Rendered


class RefusedError(Exception):
    """A command is answered with an error text."""

    def __init__(self, text: Text) -> None:
        super().__init__(text.name)
        self.text = text


class Link(Protocol):
    """What a session needs of its connection (`services.common.connection.Connection`)."""

    tls: bool

    @property
    def peer(self) -> Peer:
        """The client's end of the connection as it is now."""

    @property
    def trusted(self) -> bool:
        """Whether the other end may say for whom it speaks."""

    async def forward(self, forwarded: Forwarded) -> bytes:
        """It says so. The last words for a client that must go; b"" where it may stay."""

    @property
    def bindings(self) -> Mapping[str, bytes]:
        """What a login can be bound to, by the binding's name (RFC 5929)."""

    @property
    def tls_available(self) -> bool:
        """Whether STLS can be offered."""

    def admit(self, user: str) -> bool:
        """The client is `user`; False where the account has as many sessions as it may."""

    def start_tls(self) -> None:
        """Begin the handshake after the answer."""

    def write(self, data: bytes) -> None:
        """Queue bytes for the client."""

    async def drain(self) -> None:
        """Wait until the client has read enough. Raises ConnectionResetError once it is gone."""

    def close(self) -> None:
        """Close after the answer."""

    def abort(self) -> None:
        """Cut now."""


@dataclass(slots=True)
class Authorization:
    """Not logged in: the name of USER, the exchange of AUTH while one runs, how often a login failed, and the part of
    the greeting that APOP digests ("" where it is not offered).
    """

    name: str = ""
    exchange: Exchange | None = None
    failures: int = 0
    apop_nonce: str = ""


@dataclass(slots=True)
class Transaction:
    """Logged in: the maildrop as it was at login, which stays as it is however others change the mailbox.

    Indexes are message numbers less one. `octets` is what STAT says. `lock` is "" once it was given up.
    """

    account_id: AccountId
    lock: str
    uidvalidity: int
    uids: array[int]
    sizes: array[int]
    locations: Sequence[BodyRef]
    octets: int
    deleted: set[int] = field(default_factory=set)
    retrieved: set[int] = field(default_factory=set)

    @classmethod
    def of(cls, account_id: AccountId, drop: Maildrop) -> Transaction:
        """The state that a login begins with."""
        return cls(
            account_id, drop.lock, drop.status.uidvalidity, drop.uids, drop.sizes, drop.locations, sum(drop.sizes)
        )

    @property
    def count(self) -> int:
        """Messages that are not marked as deleted."""
        return len(self.uids) - len(self.deleted)

    def index(self, number: int) -> int:
        """Where message `number` is. Raises RefusedError where there is none or it is marked as deleted."""
        if not 0 < number <= len(self.uids):
            raise RefusedError(Text.NO_MESSAGE)
        if number - 1 in self.deleted:
            raise RefusedError(Text.MARKED)
        return number - 1

    def delete(self, index: int) -> None:
        """Mark a message; it goes at QUIT."""
        self.deleted.add(index)
        self.octets -= self.sizes[index]

    def undelete(self) -> None:
        """Take all marks away."""
        self.octets += sum(self.sizes[index] for index in self.deleted)
        self.deleted.clear()


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What all sessions of the process share."""

    options: Live[PopOptions]
    authentication: Authentication
    maildrops: Maildrops
    bodies: BodyReader
    rendered: Rendered


@dataclass(slots=True)
class Session:
    """One client's session. `lines` are the texts in its language; `utf8` is the mode of RFC 6856 section 2."""

    link: Link
    shared: Surroundings
    machine: PopMachine = field(default_factory=PopMachine)
    state: Authorization | Transaction = field(default_factory=Authorization)
    lines: dict[Text, bytes] = field(default_factory=lambda: LINES[DEFAULT_LANGUAGE])
    utf8: bool = False

    def enter(self, drop: Transaction) -> None:
        """The client has logged in."""
        self.state = drop
        self.machine.enter_transaction()

    def restart(self) -> None:
        """TLS is on: nothing that was said before it counts (RFC 2595 section 4)."""
        nonce = self.state.apop_nonce if isinstance(self.state, Authorization) else ""
        self.state = Authorization(apop_nonce=nonce)
        self.lines = LINES[DEFAULT_LANGUAGE]
        self.utf8 = False
