"""The quota attributes: `mailQuota` and `mailMsgQuota`. No I/O.

`mailQuota` is bytes, or a number with K, M or G; 0 is no mail at all, -1 no limit, -2 (deprecated) and no value the
system's default, which is no limit here. At most 4,096 G in all (schema reference 5, mailQuota).
"""

from __future__ import annotations

import re
from typing import Final

_SIZE: Final = re.compile(r"([0-9]{1,18})([KMG]?)(?:B)?", re.IGNORECASE)
_UNITS: Final = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
_SPECIAL: Final = frozenset({"-1", "-2", ""})
MAX_BYTES: Final = 4096 << 30
MAX_MESSAGES: Final = (1 << 32) - 1


def parse_bytes(text: str) -> int | None:
    """Bytes that the account may hold; None is no limit. Raises ValueError where it is no quota."""
    text = text.strip()
    if text in _SPECIAL:
        return None
    match = _SIZE.fullmatch(text)
    if match is None:
        raise ValueError("bytes, a number with K, M or G, -1 or -2")
    return min(int(match[1]) * _UNITS[match[2].upper()], MAX_BYTES)


def parse_messages(text: str) -> int | None:
    """Messages that the account may hold over all folders; None is no limit. Raises ValueError."""
    text = text.strip()
    if text in _SPECIAL:
        return None
    if not re.fullmatch("[0-9]{1,18}", text):
        raise ValueError("a number of messages, -1 or -2")
    return min(int(text), MAX_MESSAGES)
