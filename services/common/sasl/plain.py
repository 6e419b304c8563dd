"""PLAIN and LOGIN: the password itself crosses the wire."""

from __future__ import annotations

from services.common.sasl.steps import (
    Challenge,
    Credentials,
    Run,
    SaslInvalidError,
    Situation,
    name_of,
    password_of,
)


def plain(initial: bytes | None, situation: Situation) -> Run:
    """RFC 4616: `[authzid] NUL authcid NUL passwd`."""
    message = (yield Challenge(b"")) if initial is None else initial
    parts = message.split(b"\0")
    if len(parts) != 3:
        raise SaslInvalidError
    authorize_as, name, password = parts
    yield _credentials(name, password, authorize_as)


def login(initial: bytes | None, situation: Situation) -> Run:
    """LOGIN, never standardised: a name and a password, each asked for; an initial response is the name."""
    name = (yield Challenge(b"Username:")) if initial is None else initial
    password = yield Challenge(b"Password:")
    yield _credentials(name, password)


def _credentials(name: bytes, password: bytes, authorize_as: bytes = b"") -> Credentials:
    """RFC 4616 section 2: neither may be empty, nor become empty when it is prepared."""
    credentials = Credentials(name_of(name), password_of(password), name_of(authorize_as))
    if not credentials.name or not credentials.password:
        raise SaslInvalidError
    return credentials
