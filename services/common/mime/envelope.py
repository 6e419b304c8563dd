"""ENVELOPE as ready IMAP text (RFC 9051 section 7.5.2)."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Final

from services.common.mime.addresses import parse
from services.common.mime.headers import unfold
from services.common.mime.nstring import NIL, nstring

ADDRESS_FIELDS: Final = (b"FROM", b"SENDER", b"REPLY-TO", b"TO", b"CC", b"BCC")
TEXT_FIELDS: Final = (b"DATE", b"SUBJECT", b"IN-REPLY-TO", b"MESSAGE-ID")

_CACHED_LENGTH: Final = 160
"""Length of an address field that is worth remembering: few people write most of the mail that a server takes."""


def address_list(value: bytes | None) -> bytes:
    """`("(" 1*address ")")`, NIL for a field that is missing or names nobody."""
    if value is None:
        return NIL
    return _cached_list(value) if len(value) <= _CACHED_LENGTH else _address_list(value)


def _address_list(value: bytes) -> bytes:
    members = [b"(%b %b %b %b)" % tuple(map(nstring, address)) for address in parse(value)]
    return b"(%b)" % b"".join(members) if members else NIL


_cached_list = lru_cache(maxsize=1024)(_address_list)


def envelope(fields: Mapping[bytes, bytes]) -> bytes:
    """The ENVELOPE of a header section, from its raw field values by name in upper case.

    Sender and Reply-To are From where they are missing or empty.
    """
    sender_lists = [address_list(fields.get(name)) for name in ADDRESS_FIELDS]
    author, sender, reply_to, to, cc, bcc = sender_lists
    date, subject, in_reply_to, message_id = [_text(fields.get(name)) for name in TEXT_FIELDS]
    return b"(%b)" % b" ".join(
        (
            date,
            subject,
            author,
            author if sender == NIL else sender,
            author if reply_to == NIL else reply_to,
            to,
            cc,
            bcc,
            in_reply_to,
            message_id,
        )
    )


def _text(value: bytes | None) -> bytes:
    return NIL if value is None else nstring(unfold(value))
