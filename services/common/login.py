"""Passwords checked, remembered and refused: what stands between a front end and the directory."""

from __future__ import annotations

from services.common.directory import Directory, Entry, LoginRefused
from services.common.live import Live
from services.common.options import DirectoryOptions
from services.common.telemetry import Observer


class Login:
    """Checks passwords for every front end of the process.

    A right password is remembered (by a keyed hash) for `directory.authcachettl` seconds, so that a client which logs
    in often costs no Argon2; nothing is remembered over a change of the directory.
    """

    def __init__(self, directory: Directory, options: Live[DirectoryOptions], observer: Observer) -> None: ...

    def cached(self, service: str, name: str, password: str) -> Entry | None:
        """The account, at once, where this password was right not long ago; the fast path before `password`."""

    async def password(self, service: str, name: str, password: str, address: str) -> Entry:
        """The account, if the password is right and its status allows a login.

        A refusal comes after `directory.faildelay` seconds, in which no command slot is held. Raises LoginRefused
        (CREDENTIALS, INACTIVE), DirectoryUnavailable. Log line and metric are written here.
        """
        raise LoginRefused

    def allows_plaintext(self, *, tls: bool, local: bool) -> bool:
        """Whether a password may be sent on such a connection (`directory.allowplaintext`): `Connection.tls`, `.local`.

        Says also whether LOGINDISABLED is announced or USER and PLAIN are offered.
        """
