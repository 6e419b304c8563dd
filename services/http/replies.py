"""Answers that are the same for every request: headers, problem details (RFC 9457), what the store's reasons become.

Nothing of an exception, a path of ours or a request is ever in them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

from services.common.errors import Reason

PROBLEM: Final = "application/problem+json"
BLANK: Final = "about:blank"
RETRY_SECONDS: Final = 30
HSTS: Final = "max-age=31536000"
"""RFC 6797; sent over TLS alone."""

STANDING_HEADERS: Final[Mapping[str, str]] = {
    "Server": "Mailkeep",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'; form-action 'none'; sandbox",
    "Cache-Control": "no-store",
}
"""Headers of every answer, unless it says otherwise."""


class Problem(Exception):  # noqa: N818 - an answer, not a fault
    """A request is refused: `status` and what the problem details say (RFC 9457 section 3.1).

    `kind` is a URI (about:blank: the status says it all), `more` holds members of the kind's own, `headers` what the
    answer must carry, such as Retry-After.
    """

    def __init__(
        self,
        status: int,
        detail: str = "",
        kind: str = BLANK,
        more: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(status)
        self.status = status
        self.detail = detail
        self.kind = kind
        self.more = more or {}
        self.headers = headers or {}

    @property
    def body(self) -> bytes:
        """The problem details."""
        return problem_bytes(self.status, self.detail, self.kind, self.more)


def problem_bytes(status: int, detail: str = "", kind: str = BLANK, more: Mapping[str, Any] | None = None) -> bytes:
    """Problem details as JSON."""
    found: dict[str, Any] = {"type": kind, "status": status}
    if kind == BLANK:
        found["title"] = HTTPStatus(status).phrase
    if detail:
        found["detail"] = detail
    return json.dumps({**found, **(more or {})}).encode()


def turned_away(status: int, detail: str) -> bytes:
    """A whole HTTP/1.1 answer for a client that is not let in; its connection is closed after it."""
    body = problem_bytes(status, detail)
    lines = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}", f"Content-Type: {PROBLEM}"]
    lines += [f"Content-Length: {len(body)}", "Connection: close"]
    lines += [f"{name}: {value}" for name, value in STANDING_HEADERS.items()]
    if status == HTTPStatus.SERVICE_UNAVAILABLE:
        lines.append(f"Retry-After: {RETRY_SECONDS}")
    return "\r\n".join([*lines, "", ""]).encode() + body


_AWAY: Final = (503, "Mail is not available at the moment.")
REFUSALS: Final[Mapping[Reason, tuple[int, str]]] = {
    Reason.ACCOUNT_NOT_FOUND: (404, "There is no such account."),
    Reason.MAILBOX_NOT_FOUND: (404, "There is no such mailbox."),
    Reason.MAILBOX_EXISTS: (409, "There is such a mailbox already."),
    Reason.MAILBOX_NAME_INVALID: (400, "This cannot be the name of a mailbox."),
    Reason.MAILBOX_HAS_CHILDREN: (409, "The mailbox has mailboxes below it."),
    Reason.MAILBOX_PROTECTED: (403, "This mailbox stays where it is."),
    Reason.MAILBOX_LIMIT: (403, "There are as many mailboxes as may be."),
    Reason.KEYWORD_LIMIT: (403, "The mailbox has as many keywords as it may."),
    Reason.KEYWORD_INVALID: (400, "This is not a keyword."),
    Reason.MESSAGE_NOT_FOUND: (404, "The message is gone."),
    Reason.MESSAGE_TOO_LARGE: (413, "The message is too large."),
    Reason.OVER_QUOTA: (403, "The account is at its quota."),
    Reason.MAILDROP_IN_USE: (500, "The request failed."),
    Reason.MAILDROP_LOCK_LOST: (500, "The request failed."),
    Reason.STORAGE_FULL: (507, "There is no room at the moment."),
    Reason.STORAGE_CORRUPT: (500, "A message cannot be read."),
    Reason.INVALID_ARGUMENT: (500, "The request failed."),
    Reason.PERMISSION_DENIED: (403, "This is not permitted."),
    Reason.UNAVAILABLE: _AWAY,
    Reason.DEADLINE_EXCEEDED: _AWAY,
    Reason.RESOURCE_EXHAUSTED: _AWAY,
    Reason.INTERNAL: (500, "The request failed."),
    Reason.LOGIN_NOT_FOUND: (401, "The login is over."),
}
"""Every reason's status and words."""


def refused(reason: Reason) -> Problem:
    """What the store said, for a client."""
    status, detail = REFUSALS[reason]
    return unavailable(detail) if status == HTTPStatus.SERVICE_UNAVAILABLE else Problem(status, detail)


def unavailable(detail: str = "Mail is not available at the moment.") -> Problem:
    """503 with the seconds after which to try again (RFC 9110 section 10.2.3)."""
    return Problem(503, detail, headers={"Retry-After": str(RETRY_SECONDS)})
