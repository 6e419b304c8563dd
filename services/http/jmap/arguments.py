"""Arguments of methods, read by their types (RFC 8620 section 1). No I/O."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, TypeVar

from services.http.jmap.errors import InvalidArguments
from services.http.jmap.request import MAX_NUMBER

T = TypeVar("T")
_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,255}\Z")
_DATE: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:Z|[+-]\d\d:\d\d)\Z")


class Arguments:
    """The arguments of a call. Each is taken once; `end` refuses what is left."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self._values = dict(values)

    def take(self, name: str, read: Callable[[Any], T], default: T | None = None, *, required: bool = False) -> T:
        """An argument; null and a missing one are the default. Raises InvalidArguments."""
        value = self._values.pop(name, None)
        if value is None:
            if required:
                raise InvalidArguments(f"{name} is missing")
            return default  # type: ignore[return-value]
        try:
            return read(value)
        except ValueError as error:
            raise InvalidArguments(f"{name}: {error}") from None

    def rest(self) -> dict[str, Any]:
        """All that is left."""
        return self._values

    def end(self) -> None:
        """Nothing more is known of. Raises InvalidArguments."""
        if self._values:
            raise InvalidArguments(f"{min(self._values)[:64]} is no argument of this method")


def an_id(value: Any) -> str:
    """An Id."""
    if not isinstance(value, str) or not _ID.match(value):
        raise ValueError("an id is wanted")
    return value


def reference(value: Any) -> str:
    """An Id, or the creation id of a record with `#` before it."""
    if isinstance(value, str) and value.startswith("#"):
        return "#" + an_id(value[1:])
    return an_id(value)


def string(value: Any) -> str:
    """A String."""
    if not isinstance(value, str):
        raise ValueError("a string is wanted")
    return value


def boolean(value: Any) -> bool:
    """A Boolean."""
    if not isinstance(value, bool):
        raise ValueError("true or false is wanted")
    return value


def whole(value: Any) -> int:
    """An Int."""
    if isinstance(value, bool) or not isinstance(value, int | float) or value != int(value):
        raise ValueError("a whole number is wanted")
    if abs(value) > MAX_NUMBER:
        raise ValueError("the number is too large")
    return int(value)


def unsigned(value: Any) -> int:
    """An UnsignedInt."""
    number = whole(value)
    if number < 0:
        raise ValueError("the number may not be below 0")
    return number


def positive(value: Any) -> int:
    """An UnsignedInt above 0."""
    number = unsigned(value)
    if number == 0:
        raise ValueError("the number must be above 0")
    return number


def mapping(value: Any) -> Mapping[str, Any]:
    """An object."""
    if not isinstance(value, dict):
        raise ValueError("an object is wanted")
    return value


def ids(value: Any) -> list[str]:
    """A list of Ids."""
    if not isinstance(value, list):
        raise ValueError("a list of ids is wanted")
    return [an_id(each) for each in value]


def references(value: Any) -> list[str]:
    """A list of Ids or of references to records made just now."""
    if not isinstance(value, list):
        raise ValueError("a list of ids is wanted")
    return [reference(each) for each in value]


def strings(value: Any) -> list[str]:
    """A list of Strings."""
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise ValueError("a list of strings is wanted")
    return value


def objects(value: Any) -> Sequence[Mapping[str, Any]]:
    """A list of objects."""
    if not isinstance(value, list) or not all(isinstance(each, dict) for each in value):
        raise ValueError("a list of objects is wanted")
    return value


def objects_by_id(value: Any) -> Mapping[str, Mapping[str, Any]]:
    """Objects by Id."""
    found = mapping(value)
    for key, each in found.items():
        an_id(key)
        mapping(each)
    return found


def date(value: Any) -> int:
    """A Date or UTCDate, in seconds since 1970; parts of a second are dropped."""
    text = string(value)
    if not _DATE.match(text):
        raise ValueError("a date is wanted")
    try:
        return int(datetime.fromisoformat(re.sub(r"\.\d+", "", text)).timestamp())
    except (ValueError, OverflowError):
        raise ValueError("a date is wanted") from None


def utc(seconds: int) -> str:
    """A UTCDate."""
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (ValueError, OverflowError, OSError):
        return "1970-01-01T00:00:00Z"
