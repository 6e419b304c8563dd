"""What the services say about themselves: lines for people, events for metrics.

Log lines are one event each, as `key=value` text or as JSON, on standard error. Every value is escaped, so that no
client can write a line of its own. Never a password, never content; a name that a client gave is a value like others.
"""

from __future__ import annotations

import json
import logging
import os
import re
import select
import sys
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Final, Protocol

from services.common.sharedoptions import LogOptions
from services.common.tracing import current

LEVELS: Final[dict[str, int]] = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}
MAX_VALUE: Final = 256
"""Characters of one value; a traceback may have `MAX_TRACEBACK`."""
MAX_TRACEBACK: Final = 3000
MAX_LINE: Final = 4000
"""Bytes of one line: below PIPE_BUF, so that a line is written whole or not at all."""
_PLAIN: Final = re.compile(r"[A-Za-z0-9_.@:/+*%,<>\[\]()-]+\Z")
_LOGGER: Final = logging.getLogger("mailkeep")


class Traffic:
    """Bytes of one service; plain counters, so that counting costs an addition."""

    __slots__ = ("received", "sent")

    def __init__(self) -> None:
        self.received = 0
        self.sent = 0


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
        """A login ended: ok, cached, credentials, inactive, plaintext, sessions, unavailable,
        banned, throttled."""

    def dns_lookup(self, result: str, seconds: float) -> None:
        """The name of an address was looked up: named, unnamed, spoofed or unavailable."""

    def banned(self, service: str) -> None:
        """An address was shut out because of its failed logins."""

    def login_delayed(self, service: str) -> None:
        """A login waits because earlier ones from its address failed."""

    def traffic(self, service: str) -> Traffic:
        """The counters of the service's bytes, to be raised directly."""

    def store_call(self, method: str, result: str, seconds: float) -> None:
        """A call to the store ended: ok or a Reason's name."""

    def directory_call(self, operation: str, result: str, seconds: float) -> None:
        """The directory answered: authenticate, account or lookup; ok, or docs/metrics.md's words for other results."""

    def ldap_call(self, operation: str, result: str, seconds: float) -> None:
        """A question to the LDAP directory ended (search, bind, compare, reach): ok or error, with its wait."""

    def cache(self, name: str, hit: bool) -> None:
        """A cache was asked."""

    def reloaded(self, ok: bool) -> None:
        """The configuration was read again, or could not be."""

    def loop_lag(self, seconds: float) -> None:
        """How late the event loop ran a timer."""


class NullObserver:
    """Measures nothing."""

    def command(self, service: str, name: str, result: str, seconds: float) -> None:
        """Nothing."""

    def session_opened(self, service: str) -> None:
        """Nothing."""

    def session_closed(self, service: str) -> None:
        """Nothing."""

    def session_refused(self, service: str, reason: str) -> None:
        """Nothing."""

    def session_limit(self, service: str, limit: int) -> None:
        """Nothing."""

    def login(self, service: str, result: str) -> None:
        """Nothing."""

    def dns_lookup(self, result: str, seconds: float) -> None:
        """Nothing."""

    def banned(self, service: str) -> None:
        """Nothing."""

    def login_delayed(self, service: str) -> None:
        """Nothing."""

    def traffic(self, service: str) -> Traffic:
        """Counters that nobody reads."""
        return Traffic()

    def store_call(self, method: str, result: str, seconds: float) -> None:
        """Nothing."""

    def ldap_call(self, operation: str, result: str, seconds: float) -> None:
        """Nothing."""

    def directory_call(self, operation: str, result: str, seconds: float) -> None:
        """Nothing."""

    def cache(self, name: str, hit: bool) -> None:
        """Nothing."""

    def reloaded(self, ok: bool) -> None:
        """Nothing."""

    def loop_lag(self, seconds: float) -> None:
        """Nothing."""


NO_OBSERVER: Final[Observer] = NullObserver()


class SessionLog:
    """Writes log lines that carry a session's id, service, address and user.

    An event is a short constant text; what varies goes into fields. Fields that are empty are left out.
    """

    __slots__ = ("address", "service", "session_id", "user")

    def __init__(self, service: str, session_id: str = "", address: str = "", user: str = "") -> None:
        self.service = service
        self.session_id = session_id
        self.address = address
        self.user = user

    def debug(self, event: str, **fields: object) -> None:
        """For developers."""
        self._log(logging.DEBUG, event, fields)

    def info(self, event: str, **fields: object) -> None:
        """What operators want to see: logins, ends of sessions."""
        self._log(logging.INFO, event, fields)

    def warning(self, event: str, **fields: object) -> None:
        """Something to look into."""
        self._log(logging.WARNING, event, fields)

    def error(self, event: str, *, error: BaseException | None = None, **fields: object) -> None:
        """A fault of ours; with `error` its traceback."""
        self._log(logging.ERROR, event, fields, error)

    def _log(self, level: int, event: str, fields: dict[str, object], error: BaseException | None = None) -> None:
        if not _LOGGER.isEnabledFor(level):
            return
        session = {"session": self.session_id, "peer": self.address, "user": self.user}
        context = {"service": self.service, **{key: value for key, value in session.items() if value}, **fields}
        _LOGGER.log(level, "%s", event, exc_info=error, extra={"fields": context})


class Logged(Protocol):
    """Something that has a log of its own: a connection."""

    @property
    def log(self) -> SessionLog: ...


SESSION: Final[ContextVar[Logged | None]] = ContextVar("session", default=None)
"""Whose command the running task is."""


def current_log(service: str, address: str = "") -> SessionLog:
    """The log of the session whose command runs; one without a session elsewhere."""
    session = SESSION.get()
    return SessionLog(service, "", address) if session is None else session.log


def session_logger(service: str, session_id: str = "", address: str = "", user: str = "") -> SessionLog:
    """A log for one session; with the service alone, for what concerns no session."""
    return SessionLog(service, session_id, address, user)


def configure_logging(options: LogOptions, descriptor: int | None = None) -> None:
    """Send every log line of the process, those of libraries too, to standard error (or `descriptor`)."""
    handler = LineHandler(sys.stderr.fileno() if descriptor is None else descriptor)
    handler.setFormatter(JsonFormatter() if options.format == "json" else TextFormatter())
    root = logging.getLogger()
    for old in root.handlers[:]:
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(logging.WARNING)
    set_level(options.level)


def set_level(level: str) -> None:
    """Which lines of ours are written from now on; libraries are asked for warnings only, except for `debug`."""
    _LOGGER.setLevel(LEVELS[level])
    logging.getLogger().setLevel(logging.DEBUG if level == "debug" else max(LEVELS[level], logging.WARNING))


class LineHandler(logging.Handler):
    """Writes whole lines to a descriptor, and drops them where that would block.

    A log collector that stands still must not stop the event loop. What was dropped is counted in the next line.
    """

    def __init__(self, descriptor: int) -> None:
        super().__init__()
        self._descriptor = descriptor
        self._poll = select.poll()
        self._poll.register(descriptor, select.POLLOUT)
        self.dropped = 0

    def emit(self, record: logging.LogRecord) -> None:
        """Write the line if there is room for it."""
        try:
            if not self._poll.poll(0):
                self.dropped += 1
                return
            if self.dropped:
                record.dropped = self.dropped
            line = self.format(record).encode(errors="backslashreplace")
            os.write(self._descriptor, line[:MAX_LINE] + b"\n")
            self.dropped = 0
        except Exception:
            # A line that cannot be made or written (a library's bad arguments, a closed pipe) is no reason to fail.
            self.dropped += 1


def _fields(record: logging.LogRecord) -> dict[str, object]:
    """Time, level and event first, then what the caller gave; the traceback last."""
    when = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    fields: dict[str, object] = {"time": when, "level": record.levelname.lower(), "event": record.getMessage()}
    given = getattr(record, "fields", None)
    fields.update(given if given is not None else {"logger": record.name})
    span = current()
    if span is not None:
        fields["trace"] = span.trace_id
    if hasattr(record, "dropped"):
        fields["dropped"] = record.dropped
    if record.exc_info and record.exc_info[1] is not None:
        fields["traceback"] = logging.Formatter().formatException(record.exc_info)[-MAX_TRACEBACK:]
    return fields


def _cut(key: str, value: object) -> object:
    if value is None or isinstance(value, bool | int | float):
        return value
    text = value if isinstance(value, str) else str(value)
    limit = MAX_TRACEBACK if key == "traceback" else MAX_VALUE
    return text if len(text) <= limit else text[:limit] + "..."


class TextFormatter(logging.Formatter):
    """`time=... level=info event="logged in" service=imap session=...`, values quoted where they need it."""

    def format(self, record: logging.LogRecord) -> str:
        """One line."""
        return " ".join(f"{key}={quoted(_cut(key, value))}" for key, value in _fields(record).items())


class JsonFormatter(logging.Formatter):
    """One JSON object a line, in ASCII."""

    def format(self, record: logging.LogRecord) -> str:
        """One line."""
        return json.dumps({key: _cut(key, value) for key, value in _fields(record).items()})


def quoted(value: object) -> str:
    """The value as it is where that cannot be misread, else a JSON string; what is not printable is escaped."""
    if isinstance(value, float):
        return f"{value:.6g}"
    text = str(value)
    if _PLAIN.match(text):
        return text
    return json.dumps(text, ensure_ascii=not text.isprintable())
