"""Commands before login: STARTTLS, AUTHENTICATE, LOGIN (RFC 9051 section 6.2)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NoReturn

from services.common.directory import DirectoryUnavailable, Entry, LoginRefusal, LoginRefused
from services.common.domain import AccountId
from services.common.sasl.exchange import Exchange
from services.common.sasl.steps import Challenge, Credentials, SaslCancelledError, SaslError, Step
from services.imap import replies
from services.imap.commands import Authenticate, Login, StartTls
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
    LoginRefusal.AUTHORIZATION: replies.Refusal(b"Only as oneself", b"AUTHORIZATIONFAILED"),
    LoginRefusal.PLAINTEXT: replies.Refusal(b"Passwords are not taken on this connection", b"PRIVACYREQUIRED"),
    LoginRefusal.SESSIONS: replies.Refusal(b"Too many sessions", b"LIMIT"),
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
    exchange = Exchange(mechanism)
    return _advance(session, exchange, lambda: exchange.begin(command.initial))


def _advance(session: Session, exchange: Exchange, take_step: Callable[[], Step]) -> Answer:
    """One step of the exchange: ask on, or log in. A cancelled or malformed one is BAD (RFC 9051 section 6.2.2)."""
    try:
        step = take_step()
    except SaslCancelledError:
        raise Malformed(b"Authentication cancelled") from None
    except SaslError:
        raise Malformed(b"Invalid response") from None
    if isinstance(step, Challenge):
        return session.wire.ask(step.line, lambda line: _advance(session, exchange, lambda: exchange.respond(line)))
    return _credentials(session, step)


def _credentials(session: Session, credentials: Credentials) -> Answer:
    if credentials.for_another:
        raise Refused(b"Only as oneself", b"AUTHORIZATIONFAILED")
    return _enter(session, credentials)


def _enter(session: Session, credentials: Credentials) -> Answer:
    """At once where the password was right not long ago and the account is known."""
    entry = session.service.authentication.cached(credentials, session.wire.peer)
    if entry is None:
        return _check(session, credentials)
    return _enter_account(session, entry)


async def _check(session: Session, credentials: Credentials) -> bytes:
    try:
        entry = await session.service.authentication.password(credentials, session.wire.peer)
    except LoginRefused as refused:
        _refuse(session, refused.kind)
    except DirectoryUnavailable:
        raise Refused(b"Logins are not possible at the moment", b"UNAVAILABLE") from None
    answer = _enter_account(session, entry)
    return answer if isinstance(answer, bytes) else await answer


def _enter_account(session: Session, entry: Entry) -> Answer:
    account_id = session.service.accounts.known(entry.account)
    if account_id is None:
        return _open(session, entry)
    return _logged_in(session, entry, account_id, presumed=True)


async def _open(session: Session, entry: Entry) -> bytes:
    return _logged_in(session, entry, await session.service.accounts.open(entry.account))


def _logged_in(session: Session, entry: Entry, account_id: AccountId, *, presumed: bool = False) -> bytes:
    session.log_in(entry.account, account_id, entry.quota, presumed=presumed)
    return session.ok(b"Logged in", replies.capability_code(capabilities(session)))


def _refuse(session: Session, kind: LoginRefusal) -> NoReturn:
    """NO, and goodbye to a client that does not stop trying."""
    refusal, goodbye = LOGIN_REFUSALS[kind], b""
    state = session.state
    if isinstance(state, NotAuthenticated):
        state.failures += 1
        if state.failures >= MAX_FAILURES:
            session.wire.close()
            goodbye = replies.bye(b"Too many failed logins")
    raise Refused(refusal.text, refusal.code, goodbye)
