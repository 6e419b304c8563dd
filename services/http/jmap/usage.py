"""How many requests and uploads of an account run at once in this process (RFC 8620 section 2: limits). No I/O."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from services.http.jmap.request import limit

MAX_CONCURRENT_REQUESTS: Final = 8
MAX_CONCURRENT_UPLOAD: Final = 4
_LIMITS: Final = {
    "maxConcurrentRequests": MAX_CONCURRENT_REQUESTS,
    "maxConcurrentUpload": MAX_CONCURRENT_UPLOAD,
}


class Usage:
    """Counts what runs."""

    def __init__(self) -> None:
        self._running: Counter[tuple[str, int]] = Counter()

    @contextmanager
    def one(self, name: str, account_id: int) -> Iterator[None]:
        """Counted for the block. Raises Problem: the limit of that name is reached."""
        key = (name, account_id)
        if self._running[key] >= _LIMITS[name]:
            raise limit(name)
        self._running[key] += 1
        try:
            yield
        finally:
            self._running[key] -= 1
            if not self._running[key]:
                del self._running[key]
