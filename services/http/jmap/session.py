"""The session object (RFC 8620 section 2). No I/O."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import blake2b
from typing import Any, Final

from services.http.jmap import blobs
from services.http.jmap.methods import BLOB, CORE, MAIL, QUOTA, WEBSOCKET
from services.http.jmap.standard import MAX_OBJECTS_IN_GET, MAX_OBJECTS_IN_SET
from services.http.jmap.usage import MAX_CONCURRENT_REQUESTS, MAX_CONCURRENT_UPLOAD
from services.http.mail.filters import COLLATIONS, SORTS

MAX_CALLS: Final = 64
MAX_MAILBOX_NAME: Final = 255
MAX_ATTACHMENTS: Final = 50_000_000


def session_object(user: str, account: str, base: str, limits: Mapping[str, int]) -> dict[str, Any]:
    """What a client is told of the server and of its account. `limits`: maxSizeRequest and maxSizeUpload."""
    found: dict[str, Any] = {
        "capabilities": {
            CORE: _core(limits),
            MAIL: {},
            BLOB: {},
            QUOTA: {},
            # RFC 8887 section 3.1
            WEBSOCKET: {"url": f"ws{base.removeprefix('http')}/jmap/ws", "supportsPush": True},
        },
        "accounts": {
            account: {
                "name": user,
                "isPersonal": True,
                "isReadOnly": False,
                "accountCapabilities": {MAIL: _mail(limits), BLOB: _blob(), QUOTA: {}},
            }
        },
        "primaryAccounts": dict.fromkeys((MAIL, BLOB, QUOTA), account),
        "username": user,
        "apiUrl": f"{base}/jmap",
        "downloadUrl": f"{base}/jmap/download/{{accountId}}/{{blobId}}/{{name}}?accept={{type}}",
        "uploadUrl": f"{base}/jmap/upload/{{accountId}}/",
        "eventSourceUrl": f"{base}/jmap/eventsource?types={{types}}&closeafter={{closeafter}}&ping={{ping}}",
    }
    return {**found, "state": session_state(user, account, limits)}


def session_state(user: str, account: str, limits: Mapping[str, int]) -> str:
    """Changes with whatever the session object says."""
    text = repr([user, account, sorted(limits.items()), _core(limits), _mail(limits), _blob()])
    return blake2b(text.encode(), digest_size=8).hexdigest()


def _core(limits: Mapping[str, int]) -> dict[str, Any]:
    return {
        "maxSizeUpload": limits["maxSizeUpload"],
        "maxConcurrentUpload": MAX_CONCURRENT_UPLOAD,
        "maxSizeRequest": limits["maxSizeRequest"],
        "maxConcurrentRequests": MAX_CONCURRENT_REQUESTS,
        "maxCallsInRequest": MAX_CALLS,
        "maxObjectsInGet": MAX_OBJECTS_IN_GET,
        "maxObjectsInSet": MAX_OBJECTS_IN_SET,
        "collationAlgorithms": list(COLLATIONS),
    }


def _blob() -> dict[str, Any]:
    """RFC 9404 section 2."""
    return {
        "maxSizeBlobSet": blobs.MAX_BYTES,
        "maxDataSources": blobs.MAX_DATA_SOURCES,
        "supportedTypeNames": [],
        "supportedDigestAlgorithms": list(blobs.DIGESTS),
    }


def _mail(limits: Mapping[str, int]) -> dict[str, Any]:
    return {
        "maxMailboxesPerEmail": None,
        "maxMailboxDepth": 64,
        "maxSizeMailboxName": MAX_MAILBOX_NAME,
        "maxSizeAttachmentsPerEmail": min(limits["maxSizeUpload"], MAX_ATTACHMENTS),
        "emailQuerySortOptions": list(SORTS),
        "mayCreateTopLevelMailbox": True,
    }
