"""USER and PASS (RFC 1939 section 7), AUTH (RFC 5034), and what every login ends in: an open maildrop."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from services.common.connection import Answer
from services.common.directory import LoginRefusal, LoginRefused
from services.common.loginnames import prepare_name
from services.common.sasl import digest
from services.common.sasl.exchange import Exchange
from services.common.sasl.steps import Challenge, Credentials, End, SaslCancelledError, SaslError, Step
from services.common.saslprep import saslprep
from services.pop import replies
from services.pop.commands import Auth, Response, Secret
from services.pop.languages import Text
from services.pop.session import Authorization, RefusedError, Session

MAX_FAILURES: Final = 5
"""Failed logins until the connection is closed."""

REFUSALS: Final[dict[LoginRefusal, Text]] = {
    LoginRefusal.CREDENTIALS: Text.LOGIN_FAILED,
    LoginRefusal.INACTIVE: Text.LOGIN_BARRED,
    LoginRefusal.LOCKED: Text.LOGIN_FAILED,
    LoginRefusal.EXPIRED: Text.PASSWORD_EXPIRED,
    LoginRefusal.MUST_CHANGE: Text.PASSWORD_EXPIRED,
    LoginRefusal.ELSEWHERE: Text.MAIL_ELSEWHERE,
    LoginRefusal.ACCESS: Text.LOGIN_BARRED,
    LoginRefusal.AUTHORIZATION: Text.LOGIN_BARRED,
    LoginRefusal.PLAINTEXT: Text.PASSWORD_IN_CLEAR,
    LoginRefusal.SESSIONS: Text.TOO_MANY_SESSIONS,
    LoginRefusal.BANNED: Text.SHUT_OUT,
}


def takes_passwords(session: Session) -> bool:
    """Whether a password may be sent on this connection now."""
    return session.shared.authentication.takes_passwords(session.link.peer)


def mechanisms(session: Session) -> tuple[str, ...]:
    """The SASL mechanisms that can be used on this connection now."""
    return session.shared.authentication.mechanisms(session.link.peer)


def user(session: Session, state: Authorization, command: Secret) -> Answer:
    """USER: refused where PASS would be, before the password crosses the wire in clear."""
    _check_passwords(session)
    state.name = _prepared(command.argument, prepare_name)
    return session.lines[Text.NAME_TAKEN]


def password(session: Session, state: Authorization, command: Secret) -> Answer:
    """PASS: for the name just given; after a failure the name is to be given again."""
    _check_passwords(session)
    name, state.name = state.name, ""
    if not name:
        raise RefusedError(Text.NO_NAME)
    return _log_in(session, state, Credentials(name, _prepared(command.argument, saslprep)))


def timestamp(session: Session) -> str:
    """What the greeting ends in where APOP is offered (RFC 1939 section 7): a blank and a text that comes only once."""
    state, shared = session.state, session.shared
    if not isinstance(state, Authorization) or not shared.authentication.takes_apop:
        return ""
    state.apop_nonce = shared.authentication.nonce()
    return f" {digest.timestamp(state.apop_nonce).decode()}"


def apop(session: Session, state: Authorization, command: Secret) -> Answer:
    """APOP: a name, and a digest of the greeting's timestamp and the password (RFC 1939 section 7)."""
    if not state.apop_nonce:
        raise RefusedError(Text.NO_APOP)
    exchange = session.shared.authentication.apop(state.apop_nonce)
    return _advance(session, state, exchange, lambda: exchange.begin_decoded(command.argument))


def auth(session: Session, state: Authorization, command: Auth) -> Answer:
    """AUTH: begin an exchange; without a mechanism, list those there are, as clients older than CAPA ask."""
    if not command.mechanism:
        return replies.multiline(session.lines[Text.MECHANISMS], mechanisms(session))
    try:
        mechanism = session.shared.authentication.mechanism(command.mechanism, session.link.peer)
    except LoginRefused as refused:
        raise RefusedError(REFUSALS[refused.kind]) from None
    if mechanism is None:
        raise RefusedError(Text.NO_MECHANISM)
    link = session.link
    exchange = session.shared.authentication.exchange(mechanism, link.peer, lambda: link.bindings)
    return _advance(session, state, exchange, lambda: exchange.begin(command.initial))


def respond(session: Session, state: Authorization, command: Response) -> Answer:
    """The client's next line in the exchange."""
    exchange = state.exchange
    session.machine.await_response(False)
    if exchange is None:
        raise RefusedError(Text.BAD_RESPONSE)
    return _advance(session, state, exchange, lambda: exchange.respond(command.line))


def _advance(session: Session, state: Authorization, exchange: Exchange, advance: Callable[[], Step]) -> Answer:
    """One step of the exchange: ask on, or log in."""
    state.exchange = None
    with _counting_failures(session, state):
        step = advance()
    if isinstance(step, Challenge):
        return _ask(session, state, exchange, step)
    return _settle(session, state, exchange, step)


async def _settle(session: Session, state: Authorization, exchange: Exchange, step: Step) -> bytes:
    """The mechanism may want something of the directory first. Raises as `_log_in` does."""
    with _counting_failures(session, state):
        settled = await session.shared.authentication.settle(exchange, step, session.link.peer)
    if isinstance(settled, Challenge):
        return _ask(session, state, exchange, settled)
    return await _log_in(session, state, settled)


def _ask(session: Session, state: Authorization, exchange: Exchange, challenge: Challenge) -> bytes:
    state.exchange = exchange
    session.machine.await_response(True)
    return replies.challenge(challenge.line)


@contextmanager
def _counting_failures(session: Session, state: Authorization) -> Iterator[None]:
    try:
        yield
    except LoginRefused as refused:
        _count_failure(session, state, refused.kind)
        raise RefusedError(REFUSALS[refused.kind]) from None
    except SaslError as error:
        _count_failure(session, state)
        raise RefusedError(Text.CANCELLED if isinstance(error, SaslCancelledError) else Text.BAD_RESPONSE) from None


async def _log_in(session: Session, state: Authorization, end: End) -> bytes:
    """Find who it is, open the maildrop. Raises RefusedError, StoreError, DirectoryUnavailable."""
    shared, link = session.shared, session.link
    try:
        peer = link.peer
        identity = shared.authentication.cached(end, peer) if isinstance(end, Credentials) else None
        if identity is None:
            identity = await shared.authentication.finish(end, peer)
    except LoginRefused as error:
        _count_failure(session, state, error.kind)
        raise RefusedError(REFUSALS[error.kind]) from None
    account = identity.entry.account
    drop = await shared.maildrops.open(account)
    if not link.admit(account):
        shared.maildrops.abandon(drop)
        raise RefusedError(Text.TOO_MANY_SESSIONS)
    session.enter(drop)
    return session.lines[Text.MAILDROP] % (drop.count, drop.octets)


def _check_passwords(session: Session) -> None:
    if not takes_passwords(session):
        raise RefusedError(Text.PASSWORD_IN_CLEAR)


def _count_failure(session: Session, state: Authorization, kind: LoginRefusal | None = None) -> None:
    state.failures += 1
    if state.failures >= MAX_FAILURES or kind is LoginRefusal.BANNED:
        session.link.close()


def _prepared(argument: bytes, prepare: Callable[[str], str]) -> str:
    """A name or password as it is compared (RFC 6856 section 2.2). One that cannot be right is wrong."""
    try:
        return prepare(argument.decode())
    except ValueError:
        raise RefusedError(Text.LOGIN_FAILED) from None
