"""What the store computes once for each message, when it arrives."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from services.common.mime.bodystructure import bodystructure
from services.common.mime.dates import sent_date
from services.common.mime.envelope import envelope
from services.common.mime.headers import header_length
from services.common.mime.preview import preview
from services.common.mime.structure import parse, read_fields

MAX_MESSAGE_IDS: Final = 128
"""Message ids kept of one message: its own, what it answers, and the newest of its references."""

_message_id = re.compile(rb"<[^<>\s]++>").findall


@dataclass(frozen=True, slots=True)
class Analysis:
    """One message's ready answers; see `services.common.domain.Columns` for what each is.

    `header_size` counts the empty line. `message_ids` is Message-ID, then In-Reply-To, then References, each once;
    they are for threading (RFC 8474 section 5.2).
    """

    envelope: bytes
    bodystructure: bytes
    headers: bytes
    header_size: int
    sentdate: int
    preview: str
    message_ids: tuple[bytes, ...]


def analyse(body: bytes) -> Analysis:
    """Read a message. Any bytes will do."""
    header_size = header_length(body)
    header = body[:header_size]
    common: list[bytes] = []
    fields = read_fields(header if header.endswith(b"\n") else header + b"\r\n", common)
    root = parse(body, fields=fields)
    date = fields.get(b"DATE")
    return Analysis(
        envelope=envelope(fields),
        bodystructure=bodystructure(body, root),
        headers=b"\n".join([*common, b""]),
        header_size=header_size,
        sentdate=-1 if date is None else sent_date(date),
        preview=preview(body, root),
        message_ids=_message_ids(fields),
    )


def _message_ids(fields: dict[bytes, bytes]) -> tuple[bytes, ...]:
    own = _message_id(fields.get(b"MESSAGE-ID", b""))[:1]
    answered = _message_id(fields.get(b"IN-REPLY-TO", b""))[: MAX_MESSAGE_IDS // 2]
    references = _message_id(fields.get(b"REFERENCES", b""))[-MAX_MESSAGE_IDS // 2 + 1 :]
    return tuple(dict.fromkeys([*own, *answered, *references]))
