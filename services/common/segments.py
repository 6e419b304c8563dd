"""Where the files of bodies lie below the store's folder; the store writes them, front ends may read them."""

from __future__ import annotations

import os
from typing import Final

FOLDER: Final = "segments"
SUFFIX: Final = ".seg"
_DIGITS: Final = 10
DIGEST_BEFORE: Final = 32
"""So many bytes before each body are its BLAKE2b-256 digest, by which a reader knows that the body is the one."""


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
