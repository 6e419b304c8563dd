"""The one vocabulary of errors that cross from the store to a front end.

A `StoreError` carries a `Reason` and metadata, never a text for clients: each front end maps every reason to its own
protocol's reply in one table (`services.*.replies`), and a test compares the sets.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Final


class Reason(Enum):
    """Why the store said no. The name is the ErrorInfo reason on the wire (AIP-193)."""

    ACCOUNT_NOT_FOUND = "no such account"
    MAILBOX_NOT_FOUND = "no such mailbox"
    MAILBOX_EXISTS = "the mailbox exists already"
    MAILBOX_NAME_INVALID = "the name cannot be a mailbox"
    MAILBOX_HAS_CHILDREN = "the mailbox has mailboxes below it"
    MAILBOX_PROTECTED = "the mailbox cannot be deleted or renamed"
    MAILBOX_LIMIT = "the account has as many mailboxes as it may"
    KEYWORD_LIMIT = "the mailbox has as many keywords as it may"
    KEYWORD_INVALID = "the keyword is not one"
    MESSAGE_NOT_FOUND = "the message is gone"
    MESSAGE_TOO_LARGE = "the message is larger than the store takes"
    OVER_QUOTA = "the account is at its quota"
    MAILDROP_IN_USE = "another session holds the maildrop"
    MAILDROP_LOCK_LOST = "the maildrop lock is no longer held"
    STORAGE_FULL = "the store's disk is full"
    STORAGE_CORRUPT = "a file of the store is damaged"
    INVALID_ARGUMENT = "the request makes no sense"
    PERMISSION_DENIED = "the caller's role may not do this"
    UNAVAILABLE = "the store cannot be reached now"
    DEADLINE_EXCEEDED = "the store did not answer in time"
    RESOURCE_EXHAUSTED = "the store has more to do than it takes on"
    INTERNAL = "the store failed"
    LOGIN_NOT_FOUND = "the login is over"


FAULTS: Final = frozenset({Reason.INTERNAL, Reason.INVALID_ARGUMENT, Reason.STORAGE_CORRUPT})
"""Refusals of the store that are its faults, or a front end's."""
OUTAGES: Final = frozenset(
    {Reason.UNAVAILABLE, Reason.DEADLINE_EXCEEDED, Reason.RESOURCE_EXHAUSTED, Reason.STORAGE_FULL}
)
"""Refusals for now, of whatever is asked: nobody's fault here, and still no service."""


def result_of(reason: Reason) -> str:
    """What a command that was refused so is measured as: `no`, or `error` where it is not the client's doing."""
    return "error" if reason in FAULTS or reason in OUTAGES else "no"


class StoreError(Exception):
    """The store refused or failed. `metadata` is for logs and limits (for example `limit`), never for clients."""

    def __init__(self, reason: Reason, metadata: Mapping[str, str] | None = None) -> None:
        super().__init__(reason.name)
        self.reason = reason
        self.metadata: Mapping[str, str] = metadata or {}
