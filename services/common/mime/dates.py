"""Dates of header fields and of IMAP (RFC 5322 sections 3.3 and 4.3, RFC 9051 section 9 `date-time`)."""

from __future__ import annotations

import re
from datetime import date
from typing import Final

_EPOCH: Final = date(1970, 1, 1).toordinal()
_NAMES: Final = (b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec")
_MONTHS: Final = {name.lower(): number for number, name in enumerate(_NAMES, 1)}
_MONTH: Final = rb"(jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*+"

_written = re.compile(
    rb"(?<!\d)(\d{1,2})(?:[ \t\r\n-]|\([^()]*+\))++" + _MONTH + rb"[ \t\r\n-]++(\d{2,4})(?!\d)", re.I
).search
_asctime = re.compile(_MONTH + rb"[ \t]++(\d{1,2})[ \t]++\d\d:\d\d(?::\d\d)?+[^\d\r\n]++(\d{4})(?!\d)", re.I).search
_iso = re.compile(rb"(?<!\d)(\d{4})-(\d\d)-(\d\d)(?!\d)").search


def sent_date(value: bytes) -> int:
    """The day that a Date field names, in days since 1970, whatever its time and zone say; -1 where it names none.

    The day before 1970 is -1 too: mail dated so was sent by a clock that was never set.
    """
    value = value[:200]
    if found := _written(value):
        return _days(found[3], _MONTHS[found[2].lower()], found[1])
    if found := _asctime(value):
        return _days(found[3], _MONTHS[found[1].lower()], found[2])
    if found := _iso(value):
        return _days(found[1], int(found[2]), found[3])
    return -1


def _days(year: bytes, month: int, day: bytes) -> int:
    """Years of two or three digits are obsolete syntax (RFC 5322 section 4.3)."""
    number = int(year)
    if len(year) == 2:
        number += 2000 if number < 50 else 1900
    elif len(year) == 3:
        number += 1900
    try:
        return date(number, month, int(day)).toordinal() - _EPOCH
    except ValueError:
        return -1
