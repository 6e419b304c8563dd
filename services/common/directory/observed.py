"""A directory whose answers are counted and timed, whichever it is."""

from __future__ import annotations

from collections.abc import Awaitable
from time import perf_counter
from typing import Final, TypeVar

from services.common.certmap import CertificateQuery
from services.common.directory import (
    AddressUnknown,
    CertificateDirectory,
    Directory,
    DirectoryUnavailable,
    Entry,
    LoginRefusal,
    LoginRefused,
    Throttled,
)
from services.common.telemetry import Observer
from services.common.tracing import within

T = TypeVar("T")

_RESULTS: Final[dict[type[Exception], str]] = {
    LoginRefused: "refused",
    AddressUnknown: "unknown",
    DirectoryUnavailable: "unavailable",
    Throttled: "throttled",
}
"""Answers that come as exceptions, in the metric's words; any other one is `error`."""
_ANSWERS: Final = (LoginRefused, AddressUnknown)


class ObservedDirectory:
    """`Directory` before another one. What a cache in front of it answers is no question to it."""

    def __init__(self, directory: Directory, observer: Observer) -> None:
        self._directory = directory
        self._observer = observer

    async def authenticate(self, name: str, password: str) -> Entry:
        """See `Directory.authenticate`."""
        return await self._timed("authenticate", self._directory.authenticate(name, password))

    async def account(self, name: str) -> Entry:
        """See `Directory.account`."""
        return await self._timed("account", self._directory.account(name))

    async def lookup(self, address: str) -> Entry:
        """See `Directory.lookup`."""
        return await self._timed("lookup", self._directory.lookup(address))

    async def by_certificate(self, query: CertificateQuery) -> Entry:
        """See `CertificateDirectory.by_certificate`; refused where the directory cannot say it."""
        if not isinstance(self._directory, CertificateDirectory):
            raise LoginRefused(LoginRefusal.CREDENTIALS, "this directory does not know certificates")
        return await self._timed("by_certificate", self._directory.by_certificate(query))

    @property
    def generation(self) -> int:
        """See `Directory.generation`."""
        return self._directory.generation

    @property
    def current(self) -> bool:
        """See `Directory.current`."""
        return self._directory.current

    async def refresh(self) -> None:
        """See `Directory.refresh`."""
        await self._directory.refresh()

    @property
    def ready(self) -> bool:
        """See `Directory.ready`."""
        return self._directory.ready

    async def _timed(self, operation: str, answer: Awaitable[T]) -> T:
        started, result = perf_counter(), "ok"
        try:
            return await within(f"directory {operation}", answer, _ANSWERS)
        except Exception as error:
            result = _RESULTS.get(type(error), "error")
            raise
        finally:
            self._observer.directory_call(operation, result, perf_counter() - started)
