"""Dates of header fields and of IMAP (RFC 5322 sections 3.3 and 4.3, RFC 9051 section 9 `date-time`)."""

from __future__ import annotations

import re
from datetime import date
from functools import lru_cache
from typing import Final

_EPOCH: Final = date(1970, 1, 1).toordinal()
_NAMES: Final = (b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec")
_MONTHS: Final = {name.lower(): number for number, name in enumerate(_NAMES, 1)}
_MONTH: Final = rb"(jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*+"
_DAY_SECONDS: Final = 86_400
_FIRST_DAY: Final = date.min.toordinal() - _EPOCH
_LAST_DAY: Final = date.max.toordinal() - _EPOCH

_written = re.compile(
    rb"(?<!\d)(\d{1,2})(?:[ \t\r\n-]|\([^()]*+\))++" + _MONTH + rb"[ \t\r\n-]++(\d{2,4})(?!\d)", re.I
).search
_asctime = re.compile(_MONTH + rb"[ \t]++(\d{1,2})[ \t]++\d\d:\d\d(?::\d\d)?+[^\d\r\n]++(\d{4})(?!\d)", re.I).search
_iso = re.compile(rb"(?<!\d)(\d{4})-(\d\d)-(\d\d)(?!\d)").search
_internal = re.compile(rb"([ \d]\d)-([A-Za-z]{3})-(\d{4}) (\d\d):(\d\d):(\d\d) ([+-])(\d\d)(\d\d)").fullmatch


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


@lru_cache(maxsize=4096)
def _day_text(days: int) -> bytes:
    day = date.fromordinal(_EPOCH + min(max(days, _FIRST_DAY), _LAST_DAY))
    return b"%2d-%b-%04d" % (day.day, _NAMES[day.month - 1], day.year)


def format_internaldate(seconds: int) -> bytes:
    """INTERNALDATE with its quotes, in UTC: `"17-Jul-1996 09:44:25 +0000"`."""
    days, rest = divmod(seconds, _DAY_SECONDS)
    minutes, second = divmod(rest, 60)
    return b'"%b %02d:%02d:%02d +0000"' % (_day_text(days), minutes // 60, minutes % 60, second)


def parse_internaldate(text: bytes) -> int | None:
    """Seconds since 1970 of a `date-time` without its quotes; None where it is none."""
    found = _internal(text)
    if found is None:
        return None
    day, month, year, hour, minute, second, sign, zone_hours, zone_minutes = found.groups()
    try:
        days = date(int(year), _MONTHS[month.lower()], int(day)).toordinal() - _EPOCH
    except (KeyError, ValueError):
        return None
    if int(hour) > 23 or int(minute) > 59 or int(second) > 60 or int(zone_minutes) > 59:
        return None
    offset = (int(zone_hours) * 60 + int(zone_minutes)) * 60
    local = days * _DAY_SECONDS + int(hour) * 3600 + int(minute) * 60 + int(second)
    return local - offset if sign == b"+" else local + offset
