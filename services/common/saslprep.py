"""SASLprep (RFC 4013): names and passwords in the one form in which they are compared.

The tables are those of RFC 3454 in the standard library. Code points that Unicode 3.2 had not assigned stay as they
are, in what is compared (a query, section 2.5) and in what is stored alike: people have them in passwords, and both
must be the same.
"""

from __future__ import annotations

import stringprep
import unicodedata
from collections.abc import Callable
from typing import Final

_PROHIBITED: Final[tuple[Callable[[str], bool], ...]] = (
    stringprep.in_table_c12,
    stringprep.in_table_c21_c22,
    stringprep.in_table_c3,
    stringprep.in_table_c4,
    stringprep.in_table_c5,
    stringprep.in_table_c6,
    stringprep.in_table_c7,
    stringprep.in_table_c8,
    stringprep.in_table_c9,
)


def saslprep(text: str) -> str:
    """The prepared form. Raises ValueError where the text may not be used."""
    if text.isascii() and text.isprintable():
        return text
    mapped = "".join(_mapped(character) for character in text)
    prepared = unicodedata.ucd_3_2_0.normalize("NFKC", mapped)
    if any(prohibited(character) for character in prepared for prohibited in _PROHIBITED):
        raise ValueError("a character that RFC 4013 prohibits")
    _check_directions(prepared)
    return prepared


def _mapped(character: str) -> str:
    if stringprep.in_table_c12(character):
        return " "
    return "" if stringprep.in_table_b1(character) else character


def _check_directions(text: str) -> None:
    """RFC 3454 section 6: right-to-left text has such a character at both ends and no left-to-right one inside."""
    if not any(stringprep.in_table_d1(character) for character in text):
        return
    if any(stringprep.in_table_d2(character) for character in text):
        raise ValueError("mixed directions")
    if not (stringprep.in_table_d1(text[0]) and stringprep.in_table_d1(text[-1])):
        raise ValueError("mixed directions")
