"""`certmap.conf` read from its file."""

from __future__ import annotations

from pathlib import Path

from services.common.certmap import CertmapError, Map, parse_certmap


def load_certmap(path: str) -> tuple[Map, ...]:
    """Read the file. Raises CertmapError."""
    try:
        return parse_certmap(Path(path).read_text("utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise CertmapError(getattr(error, "strerror", None) or "not UTF-8") from None
