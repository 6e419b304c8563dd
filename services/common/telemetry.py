"""What the services say about themselves: lines for people, events for metrics.

Log lines are one event each, as `key=value` text or as JSON, on standard error. Every value is escaped, so that no
client can write a line of its own. Never a password, never content; a name that a client gave is a value like others.
"""

from __future__ import annotations

from typing import Protocol


class Traffic(Protocol):
    """Bytes of one service; plain counters, so that counting costs an addition."""

    received: int
    sent: int


class Observer(Protocol):
    """Receives what is measured. Every method is cheap, never raises and never blocks."""

    def command(self, service: str, name: str, result: str, seconds: float) -> None:
        """A client's command was answered: `name` out of the service's table, `result` ok, no, bad or error."""

    def session_opened(self, service: str) -> None:
        """A client was let in."""

    def session_closed(self, service: str) -> None:
        """And is gone."""

    def session_refused(self, service: str, reason: str) -> None:
        """A client was turned away: process, address, draining."""

    def session_limit(self, service: str, limit: int) -> None:
        """How many sessions the process takes."""

    def login(self, service: str, result: str) -> None:
        """A login ended: ok, cached, credentials, inactive, plaintext, sessions, unavailable."""

    def traffic(self, service: str) -> Traffic:
        """The counters of the service's bytes, to be raised directly."""

    def bytes_in(self, service: str, count: int) -> None:
        """Bytes came from clients."""

    def bytes_out(self, service: str, count: int) -> None:
        """Bytes went to clients."""

    def store_call(self, method: str, result: str, seconds: float) -> None:
        """A call to the store ended: ok or a Reason's name."""

    def cache(self, name: str, hit: bool) -> None:
        """A cache was asked."""

    def reloaded(self, ok: bool) -> None:
        """The configuration was read again, or could not be."""

    def loop_lag(self, seconds: float) -> None:
        """How late the event loop ran a timer."""


class SessionLog:
    """Writes log lines that carry a session's id, service, address and user."""

    __slots__ = ("address", "service", "session_id", "user")

    def __init__(self, service: str, session_id: str = "", address: str = "", user: str = "") -> None:
        self.service = service
        self.session_id = session_id
        self.address = address
        self.user = user

    def debug(self, event: str, **fields: object) -> None:
        """For developers."""

    def info(self, event: str, **fields: object) -> None:
        """What operators want to see: logins, ends of sessions."""

    def warning(self, event: str, **fields: object) -> None:
        """Something to look into."""

    def error(self, event: str, error: BaseException | None = None, **fields: object) -> None:
        """A fault of ours; with `error` its traceback."""
