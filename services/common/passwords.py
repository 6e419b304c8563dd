"""Password hashes: Argon2id, computed in a few threads of their own, with a bound on who may wait for them."""

from __future__ import annotations

import asyncio
import os
from typing import Final

from argon2 import PasswordHasher, extract_parameters
from argon2.exceptions import Argon2Error, InvalidHashError

from services.common.directory import DirectoryUnavailable
from services.common.workthreads import WorkThreads

# 19 MiB and two passes (OWASP's figures for Argon2id): some 20 ms and little enough memory to run several at once.
TIME_COST: Final = 2
MEMORY_KIB: Final = 19_456
MAX_MEMORY_KIB: Final = 1 << 20
MAX_TIME_COST: Final = 64
MAX_WAITING: Final = 256
"""Logins that may wait for a thread in one process; one more is refused for now."""

_HASHER: Final = PasswordHasher(time_cost=TIME_COST, memory_cost=MEMORY_KIB, parallelism=1)


def hash_password(password: str) -> str:
    """A new hash in the PHC string format, with a salt of its own."""
    return _HASHER.hash(password)


def check_hash(text: str) -> str:
    """What is wrong with a stored hash; "" if it can be used."""
    try:
        parameters = extract_parameters(text)
    except InvalidHashError:
        return "not an Argon2 hash"
    if not text.startswith("$argon2id$"):
        return "not Argon2id"
    if parameters.memory_cost > MAX_MEMORY_KIB or parameters.time_cost > MAX_TIME_COST:
        return "a hash that costs too much to check"
    return ""


def dummy_hash(like: str | None) -> str:
    """A hash of a password that nobody has, as costly to check as `like` (None: as a new hash)."""
    hasher = _HASHER if like is None else PasswordHasher.from_parameters(extract_parameters(like))
    return hasher.hash(os.urandom(24).hex())


def verify(stored: str, password: str) -> bool:
    """Whether the password is right. Takes its time: not for the event loop."""
    try:
        return _HASHER.verify(stored, password)
    except (Argon2Error, InvalidHashError):
        return False


class PasswordChecker:
    """Checks passwords off the event loop. Argon2 lets other threads run meanwhile."""

    def __init__(self, threads: int | None = None, max_waiting: int = MAX_WAITING) -> None:
        most = threads or min(4, os.cpu_count() or 1)
        self._pool = WorkThreads("password", lambda: most)
        self._max_waiting = max_waiting
        self.waiting = 0

    async def verify(self, stored: str, password: str) -> bool:
        """Whether the password is right. Raises DirectoryUnavailable where too many wait already."""
        if self.waiting >= self._max_waiting:
            raise DirectoryUnavailable("too many passwords to check")
        self.waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._pool, verify, stored, password)
        finally:
            self.waiting -= 1

    def close(self) -> None:
        """Wait for nothing."""
        self._pool.shutdown(wait=False, cancel_futures=True)
