"""Where the files of bodies lie below the store's folder; the store writes them, front ends may read them."""

from __future__ import annotations

import os
from typing import Final

FOLDER: Final = "segments"
SUFFIX: Final = ".seg"
_DIGITS: Final = 10
DIGEST_BEFORE: Final = 32
"""So many bytes before each body are its BLAKE2b-256 digest, by which a reader knows that the body is the one."""
REMEMBERED: Final = 1 << 18
"""Places that are remembered as sound, a number for each (some 70 bytes)."""


class SoundPlaces:
    """Where bodies lie that were found to be what their digests say: comparing costs more than reading, and a segment
    does not change. The digest is part of a place, so that a wrong reference is not taken for a right one.
    """

    __slots__ = ("_places",)

    def __init__(self) -> None:
        self._places: set[int] = set()

    def known(self, segment: int, offset: int, digest: bytes) -> bool:
        """Whether the body was found sound there."""
        return hash((segment, offset, digest)) in self._places

    def note(self, segment: int, offset: int, digest: bytes) -> None:
        """It was."""
        if len(self._places) >= REMEMBERED:
            self._places.clear()
        self._places.add(hash((segment, offset, digest)))


def segment_folder(store_path: str) -> str:
    """The folder of all segment files."""
    return os.path.join(store_path, FOLDER)


def segment_path(store_path: str, segment: int) -> str:
    """The file of one segment; `BodyRef.offset` and `Location.offset` count from its first byte."""
    return os.path.join(store_path, FOLDER, f"{segment:0{_DIGITS}d}{SUFFIX}")


def segment_number(name: str) -> int | None:
    """The segment that a file name stands for, None for any other file."""
    digits = name.removesuffix(SUFFIX)
    well_formed = name.endswith(SUFFIX) and len(digits) >= _DIGITS and digits.isascii() and digits.isdecimal()
    return int(digits) if well_formed else None
