"""Header fields in the forms that JMAP has for them (RFC 8621 section 4.1.2). No I/O."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any, Final
from unicodedata import normalize

from services.common.mime import addresses
from services.common.mime.charsets import decode
from services.common.mime.encodedword import decode_header
from services.common.mime.headers import COMMON_FIELDS, interpreted, split_fields, unfold
from services.http.jmap.errors import InvalidArguments

Fields = Sequence[tuple[str, bytes]]
"""Names as they are written and raw values, in the order of the message."""

_MESSAGE_ID: Final = re.compile(r"<([^<>\s]+)>")
_URL: Final = re.compile(r"<\s*([^<>]*?)\s*>")
_NAME: Final = re.compile(r"[!-9;-~]{1,255}\Z")
_FORMS: Final = ("asRaw", "asText", "asAddresses", "asGroupedAddresses", "asMessageIds", "asDate", "asURLs")

_ADDRESSES: Final = frozenset(
    f"{prefix}{name}" for prefix in ("", "resent-") for name in ("from", "sender", "reply-to", "to", "cc", "bcc")
)
_IDS: Final = frozenset(["message-id", "in-reply-to", "references", "resent-message-id"])
_DATES: Final = frozenset(["date", "resent-date"])
_URLS: Final = frozenset(["list-help", "list-unsubscribe", "list-subscribe", "list-post", "list-owner", "list-archive"])
_TEXTS: Final = frozenset(["subject", "comments", "keywords", "list-id"])
_OTHERS: Final = frozenset(["return-path", "received"])
_DEFINED: Final = _ADDRESSES | _IDS | _DATES | _URLS | _TEXTS | _OTHERS
_ALLOWED: Final[Mapping[str, frozenset[str]]] = {
    "asText": _TEXTS,
    "asAddresses": _ADDRESSES,
    "asGroupedAddresses": _ADDRESSES,
    "asMessageIds": _IDS,
    "asDate": _DATES,
    "asURLs": _URLS,
}
"""Form -> fields of the standards that may be read so; fields of no standard may be read in every form."""


def fields_of(header: bytes) -> list[tuple[str, bytes]]:
    """The fields of a header section."""
    found = []
    for field in split_fields(interpreted(header)):
        name, colon, value = field.partition(b":")
        if colon:
            found.append((name.rstrip(b" \t").decode("latin-1"), value.removesuffix(b"\n").removesuffix(b"\r")))
    return found


@dataclass(frozen=True, slots=True)
class HeaderProperty:
    """`header:NAME:FORM:all`."""

    name: str
    form: str = "asRaw"
    every: bool = False

    @property
    def common(self) -> bool:
        """Whether the field is one that the store keeps apart from the message."""
        return self.name.upper().encode() in COMMON_FIELDS

    def read(self, fields: Fields) -> Any:
        """Its value in a message; null (or with `all` an empty list) where the field is missing."""
        name, read = self.name.lower(), READERS[self.form]
        values = [value for each, value in fields if each.lower() == name]
        if self.every:
            return [read(value) for value in values]
        return read(values[-1]) if values else None


CONVENIENT: Final[Mapping[str, HeaderProperty]] = {
    "messageId": HeaderProperty("Message-ID", "asMessageIds"),
    "inReplyTo": HeaderProperty("In-Reply-To", "asMessageIds"),
    "references": HeaderProperty("References", "asMessageIds"),
    "sender": HeaderProperty("Sender", "asAddresses"),
    "from": HeaderProperty("From", "asAddresses"),
    "to": HeaderProperty("To", "asAddresses"),
    "cc": HeaderProperty("Cc", "asAddresses"),
    "bcc": HeaderProperty("Bcc", "asAddresses"),
    "replyTo": HeaderProperty("Reply-To", "asAddresses"),
    "subject": HeaderProperty("Subject", "asText"),
    "sentAt": HeaderProperty("Date", "asDate"),
}
"""Properties that are header fields under names of their own (RFC 8621 section 4.1.3)."""


def read_property(text: str) -> HeaderProperty:
    """Raises InvalidArguments for what is no such property, or not allowed for the field."""
    _, _, rest = text.partition(":")
    name, *words = rest.split(":")
    every = words[-1:] == ["all"]
    form = "".join(words[: len(words) - every]) or "asRaw"
    if not _NAME.match(name) or form not in _FORMS or len(words) > 2:
        raise InvalidArguments(f"properties: {text[:64]} is no header property")
    allowed = _ALLOWED.get(form)
    if allowed is not None and name.lower() in _DEFINED - allowed:
        raise InvalidArguments(f"properties: {name} cannot be read {form}")
    return HeaderProperty(name, form, every)


# ---- the forms ------------------------------------------------------------------------------------------------------
def as_raw(value: bytes) -> str:
    """Octets as they are, as far as they are text."""
    return value.decode("utf-8", "replace").replace("\0", "\ufffd")


def as_text(value: bytes) -> str:
    """Unfolded, decoded, in NFC."""
    return normalize("NFC", decode_header(unfold(value))).replace("\0", "").strip()


def as_grouped(value: bytes) -> list[dict[str, Any]]:
    """Addresses by their groups; those of none stand in a group without a name."""
    groups: list[dict[str, Any]] = []
    inside = False
    for address in addresses.parse(unfold(value)):
        if address == addresses.GROUP_END:
            inside = False
        elif address.host is None:
            groups.append({"name": _text(address.mailbox), "addresses": []})
            inside = True
        else:
            if not inside and (not groups or groups[-1]["name"] is not None):
                groups.append({"name": None, "addresses": []})
            groups[-1]["addresses"].append(_address(address))
    return groups


def as_addresses(value: bytes) -> list[dict[str, Any]]:
    """Addresses, those of groups among them."""
    return [address for group in as_grouped(value) for address in group["addresses"]]


def _address(address: addresses.Address) -> dict[str, Any]:
    local, host = decode(address.mailbox or b""), decode(address.host or b"")
    return {"name": _text(address.name), "email": f"{local}@{host}" if host else local}


def _text(value: bytes | None) -> str | None:
    text = "" if value is None else normalize("NFC", decode_header(value)).strip()
    return text or None


def as_message_ids(value: bytes) -> list[str] | None:
    """Without their brackets; null where there is none."""
    return _MESSAGE_ID.findall(decode(unfold(value))) or None


def as_date(value: bytes) -> str | None:
    """With the zone that is written; null where it is no date."""
    try:
        when = parsedate_to_datetime(unfold(value)[:200].decode("ascii", "replace"))
        text = when.isoformat(timespec="seconds")
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return f"{text}Z" if when.tzinfo is None else text.replace("+00:00", "Z")


def as_urls(value: bytes) -> list[str] | None:
    """Without their brackets; null where there is none."""
    return _URL.findall(decode(unfold(value))) or None


READERS: Final[Mapping[str, Callable[[bytes], Any]]] = {
    "asRaw": as_raw,
    "asText": as_text,
    "asAddresses": as_addresses,
    "asGroupedAddresses": as_grouped,
    "asMessageIds": as_message_ids,
    "asDate": as_date,
    "asURLs": as_urls,
}
