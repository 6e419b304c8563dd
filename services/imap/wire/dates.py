"""Dates (RFC 9051 section 9: `date`, `date-time`) to numbers and back."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime
from typing import Final

from services.imap.wire.lexer import BadSyntax, Lexer

MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_MONTH_NUMBERS: Final = {name.upper().encode(): number for number, name in enumerate(MONTHS, 1)}
_EPOCH_DAY: Final = date(1970, 1, 1).toordinal()
EARLIEST: Final = (date.min.toordinal() - _EPOCH_DAY) * 86_400
LATEST: Final = (date.max.toordinal() - _EPOCH_DAY + 1) * 86_400 - 1
"""Years have four digits, in UTC as well."""
_DATE: Final = re.compile(rb'("?)([0-9]{1,2})-([A-Za-z]{3})-([0-9]{4})\1')
_DATE_TIME: Final = re.compile(
    rb'"( [0-9]|[0-9]{2})-([A-Za-z]{3})-([0-9]{4}) ([0-9]{2}):([0-9]{2}):([0-9]{2}) ([+-])([0-9]{2})([0-9]{2})"'
)


def read_date(lexer: Lexer) -> int:
    """`date`, as days since 1970."""
    _, day, month, year = lexer.pattern(_DATE, "Expected a date").groups()
    return _day(year, month, day)


def read_date_time(lexer: Lexer) -> int:
    """`date-time`, as seconds since 1970."""
    day, month, year, hour, minute, second, sign, zone_hour, zone_minute = lexer.pattern(
        _DATE_TIME, "Expected a date and time"
    ).groups()
    if int(hour) > 23 or int(minute) > 59 or int(second) > 60 or int(zone_minute) > 59:
        raise BadSyntax("No such time")
    offset = int(zone_hour) * 3600 + int(zone_minute) * 60
    seconds = _day(year, month, day) * 86_400 + int(hour) * 3600 + int(minute) * 60 + int(second)
    seconds += offset if sign == b"-" else -offset
    if not EARLIEST <= seconds <= LATEST:
        raise BadSyntax("No such time")
    return seconds


def _day(year: bytes, month: bytes, day: bytes) -> int:
    try:
        return date(int(year), _MONTH_NUMBERS[month.upper()], int(day)).toordinal() - _EPOCH_DAY
    except (KeyError, ValueError):
        raise BadSyntax("No such date") from None


def format_date_time(seconds: int) -> bytes:
    """INTERNALDATE in UTC, quoted; one that cannot be written is the nearest that can."""
    at = datetime.fromtimestamp(min(max(seconds, EARLIEST), LATEST), UTC)
    return b'"%02d-%b-%04d %02d:%02d:%02d +0000"' % (
        at.day, MONTHS[at.month - 1].encode(), at.year, at.hour, at.minute, at.second,
    )  # fmt: skip
