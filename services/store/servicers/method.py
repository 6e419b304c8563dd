"""What a servicer's table holds: handlers by the names of their methods.

A handler takes the desk, the request and the caller. For a method with one reply it is a coroutine, for streamed
replies an asynchronous generator; a method whose requests are streamed gets them as an iterator, and one that streams
both ways gets a `Link` and runs until it ends. Handlers raise StoreError, and know nothing of gRPC.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any, Generic, Protocol, TypeVar

Handler = Callable[..., Awaitable[Any] | AsyncIterator[Any]]
Handlers = Mapping[str, Handler]

Request_co = TypeVar("Request_co", covariant=True)
Reply_contra = TypeVar("Reply_contra", contravariant=True)
Request = TypeVar("Request")
Reply = TypeVar("Reply")


class Link(Protocol, Generic[Request_co, Reply_contra]):
    """Both directions of a long stream. One reader and one writer at a time."""

    async def read(self) -> Request_co | None:
        """The next request; None: the caller has said all, or is gone."""

    async def write(self, reply: Reply_contra) -> None:
        """Send; waits while the caller does not read."""


async def requests(link: Link[Request, Reply]) -> AsyncIterator[Request]:
    """All requests of a link."""
    while (request := await link.read()) is not None:
        yield request
