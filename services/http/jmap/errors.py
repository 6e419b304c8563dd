"""What a JMAP answer says when something is refused (RFC 8620 sections 3.6.1, 3.6.2, 5.3). No I/O."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from services.common.errors import Reason

PREFIX: Final = "urn:ietf:params:jmap:error:"


class MethodError(Exception):
    """One method call fails; the others of the request go on (RFC 8620 section 3.6.2)."""

    def __init__(self, kind: str, description: str = "", **more: Any) -> None:
        super().__init__(kind)
        self.kind = kind
        self.description = description
        self.more = more

    def arguments(self) -> dict[str, Any]:
        """Of the response named `error`."""
        told = {"description": self.description} if self.description else {}
        return {"type": self.kind, **told, **self.more}


class InvalidArguments(MethodError):  # noqa: N818 - the name of the error on the wire
    """An argument is missing, of the wrong type, or makes no sense."""

    def __init__(self, description: str) -> None:
        super().__init__("invalidArguments", description)


class SetError(Exception):
    """One record is not created, changed or destroyed (RFC 8620 section 5.3)."""

    def __init__(self, kind: str, description: str = "", properties: Sequence[str] = (), **more: Any) -> None:
        super().__init__(kind)
        self.kind = kind
        self.description = description
        self.properties = properties
        self.more = more

    def value(self) -> dict[str, Any]:
        """As it stands in notCreated and its like."""
        told: dict[str, Any] = {"description": self.description} if self.description else {}
        if self.properties:
            told["properties"] = list(self.properties)
        return {"type": self.kind, **told, **self.more}


def invalid_properties(*names: str, description: str = "") -> SetError:
    """These properties cannot be so."""
    return SetError("invalidProperties", description, names)


AWAY: Final = "serverUnavailable"
METHOD_ERRORS: Final[Mapping[Reason, str]] = {
    **dict.fromkeys(Reason, "serverFail"),
    Reason.ACCOUNT_NOT_FOUND: "accountNotFound",
    Reason.PERMISSION_DENIED: "forbidden",
    Reason.UNAVAILABLE: AWAY,
    Reason.DEADLINE_EXCEEDED: AWAY,
    Reason.RESOURCE_EXHAUSTED: AWAY,
    Reason.STORAGE_FULL: AWAY,
}
"""What a reason of the store makes of a whole method call."""

SET_ERRORS: Final[Mapping[Reason, str]] = {
    **METHOD_ERRORS,
    Reason.MAILBOX_NOT_FOUND: "notFound",
    Reason.MESSAGE_NOT_FOUND: "notFound",
    Reason.MAILBOX_EXISTS: "invalidProperties",
    Reason.MAILBOX_NAME_INVALID: "invalidProperties",
    Reason.MAILBOX_HAS_CHILDREN: "mailboxHasChild",
    Reason.MAILBOX_PROTECTED: "forbidden",
    Reason.MAILBOX_LIMIT: "overQuota",
    Reason.KEYWORD_LIMIT: "tooManyKeywords",
    Reason.KEYWORD_INVALID: "invalidProperties",
    Reason.MESSAGE_TOO_LARGE: "tooLarge",
    Reason.OVER_QUOTA: "overQuota",
}
"""What it makes of one record."""
