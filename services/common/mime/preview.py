"""The first words of a message, for lists of messages (RFC 8970)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from services.common.mime.structure import Part
from services.common.mime.text import part_text

PREVIEW_LENGTH: Final = 200
"""Characters; RFC 8970 section 3.2 asks for no more, and forbids more than 256."""

_MAX_TRIED: Final = 32
"""Text parts that are looked into."""

_RAW_LENGTHS: Final = {b"PLAIN": (512, 16_384), b"HTML": (4_096, 65_536)}
"""Raw bytes that are decoded for a preview: first the few that nearly always do, then once more."""

_unprintable = re.compile(r"[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufffd]+").sub


def preview(message: bytes, root: Part) -> str:
    """The beginning of the first text that is not empty; plain text is taken before HTML."""
    parts = [part for part in _leaves(root) if part.type.maintype == b"TEXT"]
    for subtype, lengths in _RAW_LENGTHS.items():
        for part in parts[:_MAX_TRIED]:
            if part.type.subtype == subtype and (text := _beginning(message, part, lengths)):
                return text
    return ""


def _leaves(part: Part) -> Iterator[Part]:
    if not part.children:
        yield part
    for child in part.children:
        yield from _leaves(child)


def _beginning(message: bytes, part: Part, lengths: tuple[int, ...]) -> str:
    text = ""
    for length in lengths:
        text = " ".join(part_text(message, part, length).split())
        if not text.isprintable():
            text = " ".join(_unprintable(" ", text).split())
        if len(text) >= PREVIEW_LENGTH or length >= part.end - part.body:
            break
    return text[:PREVIEW_LENGTH].rstrip()
