"""The table of methods, and of the capabilities that follow from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from services.http.jmap import blobs, core, quotas
from services.http.mail import boxsetting, emails, mailboxes, querying, setting

if TYPE_CHECKING:
    from services.http.jmap.work import Method

CORE: Final = "urn:ietf:params:jmap:core"
MAIL: Final = "urn:ietf:params:jmap:mail"
BLOB: Final = "urn:ietf:params:jmap:blob"
QUOTA: Final = "urn:ietf:params:jmap:quota"
WEBSOCKET: Final = "urn:ietf:params:jmap:websocket"


@dataclass(frozen=True, slots=True)
class Entry:
    """A method, and the capability that must be in `using` for it."""

    capability: str
    method: Method


METHODS: Final[Mapping[str, Entry]] = {
    "Core/echo": Entry(CORE, core.echo),
    "Blob/copy": Entry(CORE, core.blob_copy),
    "Blob/upload": Entry(BLOB, blobs.upload),
    "Blob/get": Entry(BLOB, blobs.get),
    "Blob/lookup": Entry(BLOB, blobs.lookup),
    "Quota/get": Entry(QUOTA, quotas.get),
    "Quota/changes": Entry(QUOTA, quotas.changes),
    "Quota/query": Entry(QUOTA, quotas.query),
    "Quota/queryChanges": Entry(QUOTA, quotas.quota_query_changes),
    "Mailbox/get": Entry(MAIL, mailboxes.get),
    "Mailbox/changes": Entry(MAIL, mailboxes.mailbox_changes),
    "Mailbox/query": Entry(MAIL, mailboxes.query),
    "Mailbox/queryChanges": Entry(MAIL, mailboxes.mailbox_query_changes),
    "Mailbox/set": Entry(MAIL, boxsetting.mailbox_set),
    "Thread/get": Entry(MAIL, emails.thread_get),
    "Thread/changes": Entry(MAIL, emails.thread_changes),
    "Email/get": Entry(MAIL, emails.get),
    "Email/changes": Entry(MAIL, emails.email_changes),
    "Email/query": Entry(MAIL, querying.query),
    "Email/queryChanges": Entry(MAIL, querying.email_query_changes),
    "Email/set": Entry(MAIL, setting.email_set),
    "Email/copy": Entry(MAIL, setting.email_copy),
    "Email/import": Entry(MAIL, setting.email_import),
    "Email/parse": Entry(MAIL, emails.parse),
    "SearchSnippet/get": Entry(MAIL, querying.snippets),
}
KNOWN: Final = frozenset(entry.capability for entry in METHODS.values()) | {WEBSOCKET}
"""Capabilities that a request may use."""
