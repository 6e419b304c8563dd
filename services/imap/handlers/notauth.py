"""How a session comes to its account: STARTTLS, AUTHENTICATE, LOGIN (RFC 9051 section 6.2), and PROXYAUTH."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, NoReturn

from services.common.authentication import Identity
from services.common.directory import DirectoryUnavailable, LoginRefusal, LoginRefused
from services.common.domain import AccountId
from services.common.loginnames import prepare_name
from services.common.sasl.exchange import Exchange
from services.common.sasl.steps import Challenge, Credentials, End, SaslCancelledError, SaslError, Step
from services.imap import replies
from services.imap.commands import Authenticate, Login, ProxyAuth, StartTls
from services.imap.handlers.capability import capabilities
from services.imap.session import Answer, Malformed, NotAuthenticated, Refused, Session

MAX_FAILURES: Final = 5
"""Failed logins after which the client has to connect anew."""

LOGIN_REFUSALS: Final[dict[LoginRefusal, replies.Refusal]] = {
    LoginRefusal.CREDENTIALS: replies.Refusal(b"Wrong name or password", b"AUTHENTICATIONFAILED"),
    LoginRefusal.INACTIVE: replies.Refusal(b"The account may not log in", b"CONTACTADMIN"),
    LoginRefusal.LOCKED: replies.Refusal(b"Wrong name or password", b"AUTHENTICATIONFAILED"),
    LoginRefusal.EXPIRED: replies.Refusal(b"The password has expired", b"EXPIRED"),
    LoginRefusal.MUST_CHANGE: replies.Refusal(b"The password must be changed first", b"EXPIRED"),
    LoginRefusal.ELSEWHERE: replies.Refusal(b"Another server has the mail of this account", b"CONTACTADMIN"),
    LoginRefusal.ACCESS: replies.Refusal(b"The account may not log in", b"CONTACTADMIN"),
    LoginRefusal.AUTHORIZATION: replies.Refusal(b"Not as that account", b"AUTHORIZATIONFAILED"),
    LoginRefusal.PLAINTEXT: replies.Refusal(b"Passwords are not taken on this connection", b"PRIVACYREQUIRED"),
    LoginRefusal.SESSIONS: replies.Refusal(b"Too many sessions", b"LIMIT"),
    LoginRefusal.BANNED: replies.Refusal(b"Access from your address is closed for now", b"UNAVAILABLE"),
}
"""What a client may learn of a refused login (RFC 5530 section 3)."""


def start_tls(session: Session, command: StartTls) -> bytes:
    """RFC 9051 section 6.2.1; the connection forgets what came in clear after the command."""
    if not session.wire.tls_available:
        raise Malformed(b"TLS cannot be started here")
    session.wire.start_tls()
    return session.ok(b"Begin TLS now")


def login(session: Session, command: Login) -> Answer:
    """RFC 9051 section 6.2.3; name and password are compared in one form, as in AUTHENTICATE (RFC 8265, RFC 4013)."""
    authentication = session.service.authentication
    if not authentication.takes_passwords(session.wire.peer):
        _refuse(session, LoginRefusal.PLAINTEXT)
    try:
        credentials = authentication.prepared(command.user, command.password)
    except ValueError:  # what cannot be right is wrong
        return _refuse(session, LoginRefusal.CREDENTIALS)
    return _enter(session, credentials)


def authenticate(session: Session, command: Authenticate) -> Answer:
    """RFC 9051 section 6.2.2, with the initial response of RFC 4959."""
    try:
        mechanism = session.service.authentication.mechanism(command.mechanism, session.wire.peer)
    except LoginRefused as refused:
        _refuse(session, refused.kind)
    if mechanism is None:
        raise Refused(b"Unknown mechanism", b"CANNOT")
    wire = session.wire
    exchange = session.service.authentication.exchange(mechanism, wire.peer, lambda: wire.bindings)
    return _advance(session, exchange, lambda: exchange.begin(command.initial))


def _advance(session: Session, exchange: Exchange, take_step: Callable[[], Step]) -> Answer:
    """One step of the exchange: ask on, or log in. A cancelled or malformed one is BAD (RFC 9051 section 6.2.2)."""
    with _malformed():
        step = take_step()
    if isinstance(step, Challenge):
        return _ask(session, exchange, step)
    if isinstance(step, Credentials):
        return _enter(session, step)
    return _settle(session, exchange, step)


async def _settle(session: Session, exchange: Exchange, step: Step) -> bytes:
    """The mechanism wants something of the directory first, or has come to its end by that."""
    try:
        with _malformed(), _unavailable():
            settled = await session.service.authentication.settle(exchange, step, session.wire.peer)
    except LoginRefused as refused:
        _refuse(session, refused.kind)
    if isinstance(settled, Challenge):
        return _ask(session, exchange, settled)
    return await _finish(session, settled)


def _ask(session: Session, exchange: Exchange, challenge: Challenge) -> bytes:
    return session.wire.ask(challenge.line, lambda line: _advance(session, exchange, lambda: exchange.respond(line)))


@contextmanager
def _malformed() -> Iterator[None]:
    try:
        yield
    except SaslCancelledError:
        raise Malformed(b"Authentication cancelled") from None
    except SaslError:
        raise Malformed(b"Invalid response") from None


@contextmanager
def _unavailable() -> Iterator[None]:
    try:
        yield
    except DirectoryUnavailable:
        raise Refused(b"Logins are not possible at the moment", b"UNAVAILABLE") from None


def _enter(session: Session, credentials: Credentials) -> Answer:
    """At once where the password was right not long ago and the account is known."""
    identity = session.service.authentication.cached(credentials, session.wire.peer)
    if identity is None:
        return _finish(session, credentials)
    return _enter_account(session, identity)


async def _finish(session: Session, end: End) -> bytes:
    try:
        with _unavailable():
            identity = await session.service.authentication.finish(end, session.wire.peer)
    except LoginRefused as refused:
        _refuse(session, refused.kind)
    answer = _enter_account(session, identity)
    return answer if isinstance(answer, bytes) else await answer


def _enter_account(session: Session, identity: Identity) -> Answer:
    account_id = session.service.accounts.known(identity.entry.account)
    if account_id is None:
        return _open(session, identity)
    return _logged_in(session, identity, account_id, presumed=True)


async def _open(session: Session, identity: Identity) -> bytes:
    return _logged_in(session, identity, await session.service.accounts.open(identity.entry.account))


def _logged_in(session: Session, identity: Identity, account_id: AccountId, *, presumed: bool = False) -> bytes:
    entry = identity.entry
    session.log_in(entry.account, account_id, entry.quota, presumed=presumed)
    session.administrator = identity.administrator
    return session.ok(b"Logged in", replies.capability_code(capabilities(session)))


async def proxyauth(session: Session, command: ProxyAuth) -> bytes:
    """PROXYAUTH, Messaging Server's own: a store administrator goes on as another account."""
    administrator = session.administrator
    if administrator is None:
        raise Refused(b"Only store administrators may", b"AUTHORIZATIONFAILED")
    try:
        with _unavailable():
            name = prepare_name(command.user)
            identity = await session.service.authentication.acting(administrator, name, session.wire.peer)
    except ValueError:  # nobody can have such a name
        raise Refused(b"Not as that account", b"AUTHORIZATIONFAILED") from None
    except LoginRefused as refused:
        refusal = LOGIN_REFUSALS[refused.kind]
        raise Refused(refusal.text, refusal.code) from None
    # Asked for anew, not presumed: the account that is left may be a presumed one, and that is settled after this.
    return await _open(session, identity)


def _refuse(session: Session, kind: LoginRefusal) -> NoReturn:
    """NO, and goodbye to a client that does not stop trying."""
    refusal, goodbye = LOGIN_REFUSALS[kind], b""
    state = session.state
    if isinstance(state, NotAuthenticated):
        state.failures += 1
        if state.failures >= MAX_FAILURES or kind is LoginRefusal.BANNED:
            session.wire.close()
            goodbye = replies.bye(b"Too many failed logins")
    raise Refused(refusal.text, refusal.code, goodbye)
