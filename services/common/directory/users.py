"""The directory out of a users file, read again when the file changes."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from time import monotonic
from typing import Final

from services.common.certmap import CertificateQuery
from services.common.directory import AddressUnknown, Entry, LoginRefusal, LoginRefused, Name, parse_name
from services.common.directory.matching import matches
from services.common.directory.usersfile import User, Users, UsersFile, UsersFileError
from services.common.live import Live
from services.common.options import DirectoryOptions
from services.common.passwords import PasswordChecker, dummy_hash
from services.common.telemetry import session_logger

CHECK_SECONDS: Final = 1.0
"""How often, at most, the file is looked at."""
PATIENCE: Final = 5.0
"""How long a file system may take to answer before what is in memory has to do."""
_LOG: Final = session_logger("directory")
_Signature = tuple[int, int, int] | None


class UsersFileDirectory:
    """Implements `services.common.directory.Directory`.

    A name or address is looked for as it is, then with the default domain put on or taken off; account names before
    aliases. The account's canonical name is the one in the file, so a changed default domain moves nobody's mail.
    """

    def __init__(self, options: Live[DirectoryOptions]) -> None:
        """Reads the file. Raises UsersFileError; a file that is missing holds no accounts (yet)."""
        self._options = options
        self._path = Path(options.value.usersfile)
        self._checker = PasswordChecker()
        self._checked = 0.0
        self._checking: asyncio.Task[None] | None = None
        self._signature = signature(self._path)
        self._users, self._dummy = _load(self._path)
        self._generation = 1
        if self._signature is None:
            _LOG.warning("there is no users file", path=self._path)

    @property
    def generation(self) -> int:
        """Grows with each change of the file, when it is seen and when it is taken up."""
        return self._generation

    @property
    def current(self) -> bool:
        """See `Directory.current`. A file system that hangs leaves nothing but memory."""
        age = monotonic() - self._checked
        return age < CHECK_SECONDS if self._checking is None else age >= PATIENCE

    @property
    def ready(self) -> bool:
        """It answers from memory."""
        return True

    async def authenticate(self, name: str, password: str) -> Entry:
        """See `Directory.authenticate`. Deleted accounts are as unknown ones."""
        await self.refresh()
        user = self._find(parse_name(name))
        stored = user.password if user is not None and user.password else self._dummy
        right = await self._checker.verify(stored, password)
        if user is None or not user.password:
            raise LoginRefused(LoginRefusal.CREDENTIALS, "no such account" if user is None else "it has no password")
        if not right:
            raise LoginRefused(LoginRefusal.CREDENTIALS, "wrong password")
        return user.entry

    async def account(self, name: str) -> Entry:
        """See `Directory.account`."""
        await self.refresh()
        user = self._find(parse_name(name))
        if user is None:
            raise LoginRefused(LoginRefusal.CREDENTIALS, "no such account")
        return user.entry

    async def by_certificate(self, query: CertificateQuery) -> Entry:
        """See `CertificateDirectory.by_certificate`."""
        await self.refresh()
        found = [user.entry for user in self._users.by_name.values() if matches(user.entry, query)]
        if len(found) != 1:
            raise LoginRefused(LoginRefusal.CREDENTIALS, f"the certificate means {len(found) or 'no'} accounts")
        return found[0]

    async def lookup(self, address: str) -> Entry:
        """See `Directory.lookup`."""
        await self.refresh()
        user = self._find(parse_name(address))
        if user is None:
            raise AddressUnknown
        return user.entry

    async def refresh(self) -> None:
        """See `Directory.refresh`. The file is looked at in a thread, as its file system may hang."""
        if self.current:
            return
        if self._checking is None:
            self._checked = monotonic()
            self._checking = asyncio.get_running_loop().create_task(self._check())
        await asyncio.wait((self._checking,), timeout=PATIENCE)

    @property
    def gauges(self) -> tuple[()]:
        """None: there are no servers."""
        return ()

    def close(self) -> None:
        """Let the threads go."""
        self._checker.close()

    def _find(self, name: Name) -> User | None:
        for written in self._written(name):
            user = self._users.find(written)
            if user is not None:
                return user
        return None

    def _written(self, name: Name) -> tuple[str, ...]:
        default = parse_name(f"x@{self._options.value.defaultdomain}").domain
        if not default:
            return (str(name),)
        if not name.domain:
            return (name.local, f"{name.local}@{default}")
        return (str(name), name.local) if name.domain == default else (str(name),)

    async def _check(self) -> None:
        """Read the file where it has changed."""
        try:
            found = await asyncio.to_thread(signature, self._path)
            if found != self._signature:
                self._signature = found
                # At once, not when it is read: what is remembered of logins must not answer in between.
                self._generation += 1
                await self._read()
        finally:
            self._checking = None

    async def _read(self) -> None:
        try:
            self._users, self._dummy = await asyncio.to_thread(_load, self._path)
        except UsersFileError as error:
            _LOG.error("the users file cannot be used; the old one stays", path=self._path, problems=error.problems)
        else:
            self._generation += 1
            _LOG.info("users file read", path=self._path, accounts=len(self._users.by_name))


def _load(path: Path) -> tuple[Users, str]:
    """The accounts, and a hash for names that are unknown: checking it must take as long as checking theirs."""
    users = UsersFile(path).users()
    like = next((user.password for user in users.by_name.values() if user.password), None)
    return users, dummy_hash(like)


def signature(path: Path | str) -> _Signature:
    """What changes when a file is changed or replaced; None where there is none."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
