"""Names of requests, by which the store knows a write that is asked for again."""

from __future__ import annotations

import time
from typing import Final
from uuid import UUID, uuid4

_RANDOM: Final = (1 << 80) - 1
_VERSION_BITS: Final = 0xF << 76
_VERSION: Final = 7 << 76


def new_request_id() -> str:
    """A UUID version 7 (RFC 9562 section 5.7).

    It begins with the time, so that the store's index of requests grows at its end: names at random would each touch,
    and make durable, another page of it.
    """
    milliseconds = time.time_ns() // 1_000_000
    return str(UUID(int=milliseconds << 80 | (uuid4().int & _RANDOM & ~_VERSION_BITS) | _VERSION))
