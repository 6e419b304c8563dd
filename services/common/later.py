"""An answer that hangs on one future: who waits for it needs no task for that."""

from __future__ import annotations

from asyncio import Future
from collections.abc import Callable, Coroutine, Generator
from typing import Any, Final, Generic, TypeAlias, TypeVar

T = TypeVar("T")
Reply: TypeAlias = "bytes | Coroutine[Any, Any, bytes]"


class Later(Generic[T]):
    """`reply` makes the answer of what the future brings: at once, or (seldom) as a coroutine."""

    __slots__ = ("future", "reply")

    def __init__(self, future: Future[T], reply: Callable[[T], Reply]) -> None:
        self.future: Final = future
        self.reply: Final = reply

    def __await__(self) -> Generator[Any, Any, bytes]:
        reply = self.reply((yield from self.future))
        return reply if isinstance(reply, bytes) else (yield from reply.__await__())

    async def answer(self) -> bytes:
        """The answer, for a task that there is for other reasons."""
        return await self
