"""Whose password is checked next: a storm of logins from some addresses leaves room for the others.

Checking costs the directory, and us, much more than asking costs a client. So of one address a few are checked at once,
and the rest stands in line behind them, not in front of everybody. Addresses from which nobody logged in before share
one more limit: then a storm from many addresses fills that, and those who are known pass it by.
"""

from __future__ import annotations

from asyncio import Semaphore
from collections import OrderedDict
from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

OF_ADDRESS: Final = 8
OF_STRANGERS: Final = 64
"""Checks at once."""
IN_LINE_OF_ADDRESS: Final = 200
IN_LINE: Final = 5000
"""Logins that may stand in line; one more is not tried."""
KNOWN: Final = 10_000
"""Addresses that are remembered as known, the last that logged in."""


class LineTooLong(Exception):  # noqa: N818 - an answer, not a fault
    """Too many stand in line already."""


@dataclass(slots=True)
class _Line:
    """Of one address: how many are in it, checked or waiting."""

    turns: Semaphore = field(default_factory=lambda: Semaphore(OF_ADDRESS))
    length: int = 0


class Turns:
    """To be used in one event loop."""

    def __init__(self) -> None:
        self._lines: dict[Hashable, _Line] = {}
        self._strangers = Semaphore(OF_STRANGERS)
        self._known: OrderedDict[Hashable, None] = OrderedDict()
        self.length = 0
        """Logins that are checked or wait for it."""

    def welcome(self, address: Hashable) -> None:
        """Somebody logged in from the address."""
        self._known[address] = None
        self._known.move_to_end(address)
        if len(self._known) > KNOWN:
            self._known.popitem(last=False)

    @asynccontextmanager
    async def turn(self, address: Hashable) -> AsyncIterator[None]:
        """Wait for the address's turn; it lasts as long as the block. Raises LineTooLong."""
        line = self._lines.setdefault(address, _Line())
        if line.length >= IN_LINE_OF_ADDRESS or self.length >= IN_LINE:
            raise LineTooLong
        line.length += 1
        self.length += 1
        try:
            async with line.turns:
                if address in self._known:
                    yield
                else:
                    async with self._strangers:
                        yield
        finally:
            self.length -= 1
            line.length -= 1
            if not line.length:
                self._lines.pop(address, None)
