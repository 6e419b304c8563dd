"""An Observer that remembers, for tests."""

from __future__ import annotations

from services.common.telemetry import NullObserver


class Recorder(NullObserver):
    """Keeps what the tests look at."""

    def __init__(self) -> None:
        self.commands: list[tuple[str, str, str]] = []
        self.logins: list[tuple[str, str]] = []
        self.refused: list[tuple[str, str]] = []
        self.limits: list[int] = []
        self.caches: list[tuple[str, bool]] = []
        self.reloads: list[bool] = []
        self.lookups: list[str] = []
        self.opened = 0
        self.closed = 0

    def command(self, service: str, name: str, result: str, seconds: float) -> None:
        """See `Observer.command`."""
        self.commands.append((service, name, result))

    def session_opened(self, service: str) -> None:
        """See `Observer.session_opened`."""
        self.opened += 1

    def session_closed(self, service: str) -> None:
        """See `Observer.session_closed`."""
        self.closed += 1

    def session_refused(self, service: str, reason: str) -> None:
        """See `Observer.session_refused`."""
        self.refused.append((service, reason))

    def session_limit(self, service: str, limit: int) -> None:
        """See `Observer.session_limit`."""
        self.limits.append(limit)

    def login(self, service: str, result: str) -> None:
        """See `Observer.login`."""
        self.logins.append((service, result))

    def cache(self, name: str, hit: bool) -> None:
        """See `Observer.cache`."""
        self.caches.append((name, hit))

    def reloaded(self, ok: bool) -> None:
        """See `Observer.reloaded`."""
        self.reloads.append(ok)

    def dns_lookup(self, result: str, seconds: float) -> None:
        """See `Observer.dns_lookup`."""
        self.lookups.append(result)
