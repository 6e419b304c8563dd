"""Sizes as people write them: `1G`, `512K`, `1048576`."""

from __future__ import annotations

import re
from typing import Final

_UNITS: Final[dict[str, int]] = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
_SIZE: Final = re.compile(r"([0-9]{1,18})\s*([KMGT]?)(?:I?B)?", re.IGNORECASE)


def parse_size(text: str) -> int:
    """Bytes; K, M, G and T are powers of 1024. Raises ValueError."""
    found = _SIZE.fullmatch(text.strip())
    if found is None:
        raise ValueError("not a size")
    return int(found[1]) * _UNITS[found[2].upper()]


def format_size(size: int) -> str:
    """The shortest text that `parse_size` turns into the same number."""
    for unit in ("T", "G", "M", "K"):
        if size and size % _UNITS[unit] == 0:
            return f"{size // _UNITS[unit]}{unit}"
    return str(size)
