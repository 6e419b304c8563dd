"""One client's IMAP session: its state, and all that a handler may use.

The state carries its data (RFC 9051 section 3): one dataclass per state, so a mailbox exists only where one is
selected. `Selected` is an `Authenticated` with a view, because what is legal when authenticated is legal when
selected, too. The table in `services.imap.handlers` keeps a handler from running in a state it is not made for.

A handler is a plain function `(session, command) -> Answer`: bytes, a coroutine, or a `Later`. Bytes at once are the
fast path: no task is made, nothing is scheduled. What it returns is all that remains to be sent, the tagged line
included; `Session.ok` makes that line with the changes of the mailbox that may be told before it, so it is called last
and nothing is awaited after it. Refusals are raised: `Refused` (tagged NO), `Malformed` (tagged BAD), or the store's
own `StoreError`, which one table turns into a NO.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from enum import IntFlag
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from services.common.domain import AccountId, Quota
from services.imap.replies import tagged

if TYPE_CHECKING:
    from services.common.directory import Entry
    from services.common.later import Later
    from services.common.options import ImapOptions
    from services.common.peer import Forwarded, Peer
    from services.common.store import Store
    from services.imap.service import ImapService
    from services.imap.view import View

Answer: TypeAlias = "bytes | Coroutine[Any, Any, bytes] | Later[Any]"
"""What a handler gives back: everything that remains to be sent, now or later."""
LineAnswer: TypeAlias = Callable[[bytes], Answer]
"""Takes the client's next line (without CRLF) after a `+` prompt: AUTHENTICATE, IDLE."""


class State(IntFlag):
    """States as bits, so that a command's legal states are one value (RFC 9051 section 3)."""

    NOT_AUTHENTICATED = 1
    AUTHENTICATED = 2
    SELECTED = 4
    LOGGED_IN = AUTHENTICATED | SELECTED
    ANY = NOT_AUTHENTICATED | AUTHENTICATED | SELECTED


@dataclass(slots=True)
class NotAuthenticated:
    """Greeted, not logged in (RFC 9051 section 3.1)."""

    failures: int = 0


@dataclass(slots=True)
class Authenticated:
    """Logged in (RFC 9051 section 3.2). `user` is the canonical account name."""

    user: str
    account_id: AccountId
    quota: Quota


@dataclass(slots=True)
class Selected(Authenticated):
    """A mailbox is open (RFC 9051 section 3.3); `view.read_only` after EXAMINE."""

    view: View


SessionState: TypeAlias = NotAuthenticated | Authenticated | Selected

STATE_OF: dict[type[NotAuthenticated] | type[Authenticated], State] = {
    NotAuthenticated: State.NOT_AUTHENTICATED,
    Authenticated: State.AUTHENTICATED,
    Selected: State.SELECTED,
}


class Refused(Exception):  # noqa: N818 - a reply, not a fault
    """Tagged NO. `code` is the response code without brackets (RFC 9051 section 7.1), b"" for none; `goodbye` is
    a line that follows it, for a client that has to go.
    """

    def __init__(self, text: bytes, code: bytes = b"", goodbye: bytes = b"") -> None:
        super().__init__(text)
        self.text = text
        self.code = code
        self.goodbye = goodbye


class Malformed(Exception):  # noqa: N818 - a reply, not a fault
    """Tagged BAD: the command cannot be what the client meant."""

    def __init__(self, text: bytes, code: bytes = b"") -> None:
        super().__init__(text)
        self.text = text
        self.code = code


class Wire(Protocol):
    """The way to the client; `services.imap.connection` is it."""

    @property
    def peer(self) -> Peer:
        """The client's end of the connection as it is now."""

    @property
    def trusted(self) -> bool:
        """Whether the other end may say for whom it speaks."""

    async def forward(self, forwarded: Forwarded) -> bytes:
        """It says so. The BYE for a client that must go; b"" where it may stay."""

    @property
    def bindings(self) -> Mapping[str, bytes]:
        """What a login can be bound to, by the binding's name (RFC 5929)."""

    @property
    def tls_available(self) -> bool:
        """Whether STARTTLS can be offered."""

    def write(self, data: bytes) -> None:
        """Queue bytes for the client."""

    async def drain(self) -> None:
        """Let others run, and wait until the client has read enough; long answers call it every 256 KiB or so."""

    def ask(self, prompt: bytes, answer: LineAnswer) -> bytes:
        """`+ prompt`: the client's next line goes to `answer`, which finishes the command (or asks again).

        A handler returns what this returns.
        """

    def admit(self, user: str) -> bool:
        """Count the session as the user's; False where that is one too many."""

    def start_tls(self) -> None:
        """Begin the TLS handshake once the running command's answer is written (RFC 9051 section 6.2.1)."""

    def close(self) -> None:
        """Close once the running command's answer is written (LOGOUT)."""

    def abort(self) -> None:
        """Cut the connection: what was begun cannot be finished."""

    def announce(self) -> None:
        """The mailbox changed while the client idles: tell it soon."""


class Session:
    """One client's session. Slots only: thousands of these sit idle."""

    __slots__ = (
        "administrator",
        "client",
        "enabled",
        "mute_expunge",
        "presumed",
        "revision2",
        "service",
        "state",
        "tag",
        "wire",
    )

    def __init__(self, service: ImapService, wire: Wire) -> None:
        self.service = service
        self.wire = wire
        self.state: SessionState = NotAuthenticated()
        self.administrator: Entry | None = None
        """The store administrator who logged in, perhaps to act as the account; None for everybody else."""
        self.tag = b"*"
        """The running command's; the connection sets it."""
        self.revision2 = False
        """Whether ENABLE IMAP4rev2 was given: ESEARCH instead of SEARCH, no \\Recent, UTF-8 names."""
        self.enabled: frozenset[str] = frozenset()
        """All extensions that ENABLE switched on, by name."""
        self.client: str = ""
        """What the client said of itself by ID, for logs."""
        self.mute_expunge = False
        """The running command used sequence numbers: no EXPUNGE may be told at its end."""
        self.presumed = False
        """The account's number was kept from another login, and no command has shown yet that it still holds."""

    @property
    def store(self) -> Store:
        """The message store."""
        return self.service.store

    @property
    def options(self) -> ImapOptions:
        """The options as they are now; a reload changes them."""
        return self.service.options

    @property
    def account(self) -> Authenticated:
        """Who is logged in; only for handlers whose states ask for it."""
        state = self.state
        assert isinstance(state, Authenticated)  # noqa: S101 - the table's promise
        return state

    @property
    def selected(self) -> Selected:
        """The open mailbox; only for handlers whose states ask for it."""
        state = self.state
        assert isinstance(state, Selected)  # noqa: S101 - the table's promise
        return state

    def log_in(self, user: str, account_id: AccountId, quota: Quota, *, presumed: bool = False) -> None:
        """LOGIN or AUTHENTICATE succeeded. Raises Refused where the account has as many sessions as it may."""
        if not self.wire.admit(user):
            raise Refused(b"Too many sessions", b"LIMIT")
        self.state = Authenticated(user, account_id, quota)
        self.presumed = presumed

    async def renew_account(self) -> None:
        """The store does not know the presumed account: it was deleted, and perhaps made again, before the login."""
        self.leave_mailbox()
        account = self.account
        account.account_id = await self.service.accounts.renew(account.user, account.account_id)
        self.presumed = False

    def select(self, view: View) -> None:
        """SELECT or EXAMINE succeeded."""
        account = self.account
        self.state = Selected(account.user, account.account_id, account.quota, view)

    def leave_mailbox(self) -> None:
        """Give the view up, if there is one: CLOSE, UNSELECT, another SELECT, LOGOUT, a cut connection."""
        state = self.state
        if isinstance(state, Selected):
            state.view.close()
            self.state = Authenticated(state.user, state.account_id, state.quota)

    def updates(self) -> bytes:
        """The untagged changes of the open mailbox that may be told now (RFC 9051 section 7)."""
        state = self.state
        if isinstance(state, Selected):
            return state.view.updates(expunges=not self.mute_expunge)
        return b""

    def ok(self, text: bytes, code: bytes = b"") -> bytes:
        """What may be told of changes, then `tag OK [code] text` for the running command."""
        return self.updates() + tagged(self.tag, b"OK", text, code)
