"""Where the keys of an authorization server may come from. No I/O."""

from __future__ import annotations

from typing import Final
from urllib.parse import urlsplit

_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})


def is_url(text: str) -> bool:
    """Whether the keys come by HTTP, not from a file."""
    return text.startswith(("https://", "http://"))


def is_source(text: str) -> bool:
    """Whether keys may come from there: a full path, or a URL whose answer nobody on the way can have changed."""
    if not is_url(text):
        return text.startswith("/")
    try:
        parts = urlsplit(text)
    except ValueError:
        return False
    return bool(parts.hostname) and (parts.scheme == "https" or parts.hostname in _LOOPBACK)
