"""From an envelope address to an account and a folder, remembered for a short time."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic
from typing import Final

from services.common.directory import Directory, Entry
from services.common.domain import INBOX
from services.lmtp.commands import Path

REMEMBERED_SECONDS: Final = 30.0
"""A change of the directory that does not tell of itself holds for deliveries after so long."""
REMEMBERED: Final = 10_000
FOLDER_MARK: Final = "+"


def split_folder(path: Path) -> tuple[str, str]:
    """Address and folder of `user+folder@domain`; the folder is "" for INBOX."""
    user, mark, folder = path.local.partition(FOLDER_MARK)
    if not user or not mark:
        user, folder = path.local, ""
    if folder.upper() == INBOX:
        folder = ""
    return (f"{user}@{path.domain}" if path.domain else user), folder


class Recipients:
    """Looks addresses up. What was found is remembered until the directory changes, and not for long."""

    __slots__ = ("_clock", "_directory", "_found", "_generation")

    def __init__(self, directory: Directory, clock: Callable[[], float] = monotonic) -> None:
        self._directory = directory
        self._clock = clock
        self._found: dict[str, tuple[float, Entry]] = {}
        self._generation = directory.generation

    def remembered(self, address: str) -> Entry | None:
        """What is known without asking."""
        if not self._directory.current:
            return None
        generation = self._directory.generation
        if generation != self._generation:
            self._found.clear()
            self._generation = generation
        found = self._found.get(address)
        if found is None:
            return None
        if self._clock() >= found[0]:
            del self._found[address]
            return None
        return found[1]

    async def lookup(self, address: str) -> Entry:
        """Ask. Raises AddressUnknown, DirectoryUnavailable."""
        generation = self._directory.generation
        entry = await self._directory.lookup(address)
        if generation == self._generation == self._directory.generation:
            if len(self._found) >= REMEMBERED:
                self._found.pop(next(iter(self._found)))
            self._found[address] = (self._clock() + REMEMBERED_SECONDS, entry)
        return entry
