"""Responses as bytes (RFC 9051 section 7): status lines, mailbox data, search results, response codes. No I/O.

FETCH and FLAGS come out of `services.imap.rendering` and `services.imap.flags`, which make thousands at once.
`utf8` says everywhere that the client takes UTF-8 in quoted strings (IMAP4rev2 or UTF8=ACCEPT enabled).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from services.common.domain import SEPARATOR
from services.common.errors import Reason
from services.imap.events import ProtocolError
from services.imap.wire.mailboxname import encode_name
from services.imap.wire.sequence import format_numbers

_ATOM: Final = re.compile(rb'[^\x00-\x20\x7f-\xff(){%*"\\\]]+')
_UNQUOTABLE: Final = re.compile(rb"[\x00\r\n]")
_DELIMITER: Final = b'"%b"' % SEPARATOR.encode()


@dataclass(frozen=True, slots=True)
class Refusal:
    """What a client is told when the store says no."""

    text: bytes
    code: bytes = b""


REFUSALS: Final[dict[Reason, Refusal]] = {
    Reason.ACCOUNT_NOT_FOUND: Refusal(b"The account has no mail here", b"CONTACTADMIN"),
    Reason.MAILBOX_NOT_FOUND: Refusal(b"No such mailbox", b"NONEXISTENT"),
    Reason.MAILBOX_EXISTS: Refusal(b"The mailbox exists already", b"ALREADYEXISTS"),
    Reason.MAILBOX_NAME_INVALID: Refusal(b"Not a name for a mailbox", b"CANNOT"),
    Reason.MAILBOX_HAS_CHILDREN: Refusal(b"The mailbox has mailboxes below it", b"HASCHILDREN"),
    Reason.MAILBOX_PROTECTED: Refusal(b"This mailbox stays where it is", b"CANNOT"),
    Reason.MAILBOX_LIMIT: Refusal(b"There are as many mailboxes as may be", b"LIMIT"),
    Reason.KEYWORD_LIMIT: Refusal(b"The mailbox has as many keywords as it may", b"LIMIT"),
    Reason.KEYWORD_INVALID: Refusal(b"Not a keyword", b"CANNOT"),
    Reason.MESSAGE_NOT_FOUND: Refusal(b"Some of the messages are gone", b"EXPUNGEISSUED"),
    Reason.MESSAGE_TOO_LARGE: Refusal(b"The message is too large", b"TOOBIG"),
    Reason.OVER_QUOTA: Refusal(b"The account is at its quota", b"OVERQUOTA"),
    Reason.MAILDROP_IN_USE: Refusal(b"Another session holds it", b"INUSE"),
    Reason.MAILDROP_LOCK_LOST: Refusal(b"Internal error", b"SERVERBUG"),
    Reason.STORAGE_FULL: Refusal(b"There is no room at the moment", b"UNAVAILABLE"),
    Reason.STORAGE_CORRUPT: Refusal(b"A message cannot be read", b"CORRUPTION"),
    Reason.INVALID_ARGUMENT: Refusal(b"Internal error", b"SERVERBUG"),
    Reason.PERMISSION_DENIED: Refusal(b"Not permitted", b"NOPERM"),
    Reason.UNAVAILABLE: Refusal(b"Mail is not available at the moment", b"UNAVAILABLE"),
    Reason.DEADLINE_EXCEEDED: Refusal(b"Mail is not available at the moment", b"UNAVAILABLE"),
    Reason.RESOURCE_EXHAUSTED: Refusal(b"Mail is not available at the moment", b"UNAVAILABLE"),
    Reason.INTERNAL: Refusal(b"Internal error", b"SERVERBUG"),
    Reason.LOGIN_NOT_FOUND: Refusal(b"Internal error", b"SERVERBUG"),
}
"""Every reason's NO, with its response code (RFC 5530; TOOBIG of RFC 4469)."""


# ---- status responses ------------------------------------------------------------------------------------------------
def tagged(tag: bytes, condition: bytes, text: bytes, code: bytes = b"") -> bytes:
    """A tagged (or, with `*`, untagged) status response (RFC 9051 section 7.1)."""
    if code:
        return b"%b %b [%b] %b\r\n" % (tag, condition, code, text)
    return b"%b %b %b\r\n" % (tag, condition, text)


def refused(tag: bytes, reason: Reason) -> bytes:
    """The tagged NO for what the store said."""
    refusal = REFUSALS[reason]
    return tagged(tag, b"NO", refusal.text, refusal.code)


def protocol_error(error: ProtocolError) -> bytes:
    """The answer to what is no command; a fatal one says goodbye as well (RFC 9051 section 7.1.5)."""
    answer = tagged(error.tag, error.condition.encode(), error.text.encode(), error.code.encode())
    return answer + bye(b"Too many or too large mistakes") if error.fatal else answer


def bye(text: bytes, code: bytes = b"") -> bytes:
    """`* BYE` (RFC 9051 section 7.1.5)."""
    return tagged(b"*", b"BYE", text, code)


@lru_cache
def greeting(banner: str, capabilities: tuple[str, ...]) -> bytes:
    """`* OK` with CAPABILITY (RFC 9051 section 7.1); the banner's own words are kept on one line of ASCII."""
    text = _UNQUOTABLE.sub(b" ", banner.encode("ascii", "replace")).strip() or b"Ready"
    return tagged(b"*", b"OK", text, capability_code(capabilities))


# ---- response codes --------------------------------------------------------------------------------------------------
@lru_cache
def capability_code(capabilities: tuple[str, ...]) -> bytes:
    """`CAPABILITY ...`, also the inside of the untagged response (RFC 9051 sections 7.1 and 7.2.2)."""
    return b"CAPABILITY " + " ".join(capabilities).encode()


def append_uid(uidvalidity: int, uids: Sequence[int]) -> bytes:
    """APPENDUID (RFC 9051 section 7.1)."""
    return b"APPENDUID %d %b" % (uidvalidity, format_numbers(uids))


def copy_uid(uidvalidity: int, sources: Sequence[int], targets: Sequence[int]) -> bytes:
    """COPYUID (RFC 9051 section 7.1); b"" where nothing was copied."""
    if not sources:
        return b""
    return b"COPYUID %d %b %b" % (uidvalidity, format_numbers(sources), format_numbers(targets))


# ---- strings ---------------------------------------------------------------------------------------------------------
def string(data: bytes, *, utf8: bool = False) -> bytes:
    """`string`: quoted where that can be, a literal where not (RFC 9051 section 4.3)."""
    if _UNQUOTABLE.search(data) is not None or not (data.isascii() or utf8):
        return b"{%d}\r\n%b" % (len(data), data)
    if b"\\" in data or b'"' in data:
        data = data.replace(b"\\", b"\\\\").replace(b'"', b'\\"')
    return b'"%b"' % data


def astring(data: bytes, *, utf8: bool = False) -> bytes:
    """`astring`: bare where it can be. NIL is quoted, since some clients read a bare one as none."""
    if _ATOM.fullmatch(data) is not None and data.upper() != b"NIL":
        return data
    return string(data, utf8=utf8)


def mailbox(name: str, *, utf8: bool) -> bytes:
    """A mailbox name in the session's encoding (RFC 9051 section 5.1)."""
    return astring(encode_name(name, utf8=utf8), utf8=utf8)


# ---- mailbox data ----------------------------------------------------------------------------------------------------
def listed(
    word: bytes,
    attributes: Sequence[bytes],
    name: str,
    *,
    utf8: bool,
    child_info: Sequence[bytes] = (),
    old_name: str = "",
) -> bytes:
    """A LIST or LSUB response (RFC 9051 section 7.3.1), with CHILDINFO and OLDNAME where given."""
    extended = []
    if child_info:
        extended.append(b'"CHILDINFO" (%b)' % b" ".join([b'"%b"' % info for info in child_info]))
    if old_name:
        extended.append(b'"OLDNAME" (%b)' % mailbox(old_name, utf8=utf8))
    tail = b" (%b)" % b" ".join(extended) if extended else b""
    return b"* %b (%b) %b %b%b\r\n" % (word, b" ".join(attributes), _DELIMITER, mailbox(name, utf8=utf8), tail)


def hierarchy(word: bytes) -> bytes:
    """The answer to LIST with an empty pattern: the separator, and the root as nobody's name (section 6.3.9)."""
    return b'* %b (\\Noselect) %b ""\r\n' % (word, _DELIMITER)


def status(name: str, values: Iterable[tuple[str, int]], *, utf8: bool) -> bytes:
    """A STATUS response (RFC 9051 section 7.3.4)."""
    items = b" ".join([b"%b %d" % (item.encode(), value) for item, value in values])
    return b"* STATUS %b (%b)\r\n" % (mailbox(name, utf8=utf8), items)


def namespace() -> bytes:
    """NAMESPACE (RFC 9051 section 7.3.3): everything is the user's own."""
    return b'* NAMESPACE (("" %b)) NIL NIL\r\n' % _DELIMITER


# ---- search ----------------------------------------------------------------------------------------------------------
def search(numbers: Iterable[int]) -> bytes:
    """The SEARCH response of RFC 3501 section 7.2.5."""
    return b"* SEARCH%b\r\n" % b"".join([b" %d" % number for number in numbers])


def esearch(
    tag: bytes,
    *,
    uid: bool,
    minimum: int | None = None,
    maximum: int | None = None,
    found: Sequence[int] | None = None,
    count: int | None = None,
) -> bytes:
    """The ESEARCH response (RFC 9051 section 7.3.4). `found` is ALL: left out, like MIN and MAX, where it is empty."""
    data = b" UID" if uid else b""
    for word, value in ((b"MIN", minimum), (b"MAX", maximum)):
        if value is not None:
            data += b" %b %d" % (word, value)
    if found:
        data += b" ALL " + format_numbers(found)
    if count is not None:
        data += b" COUNT %d" % count
    return b"* ESEARCH (TAG %b)%b\r\n" % (string(tag), data)


# ---- the rest --------------------------------------------------------------------------------------------------------
def enabled(names: Sequence[str]) -> bytes:
    """ENABLED (RFC 9051 section 7.2.1)."""
    return b"* ENABLED" + "".join([f" {name}" for name in names]).encode() + b"\r\n"


def identity(fields: Sequence[tuple[str, str]]) -> bytes:
    """ID (RFC 2971 section 3.2)."""
    pairs = [b"%b %b" % (string(name.encode()), string(value.encode())) for name, value in fields]
    return b"* ID (%b)\r\n" % b" ".join(pairs)


def capability(capabilities: tuple[str, ...]) -> bytes:
    """CAPABILITY (RFC 9051 section 7.2.2)."""
    return b"* %b\r\n" % capability_code(capabilities)
