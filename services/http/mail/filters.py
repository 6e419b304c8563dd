"""Filters and sorts of Email/query (RFC 8621 section 4.4): read, and judged over an index. No I/O.

What a condition needs beside the index (texts that the store searches, what has attachments, sort keys) is named here
and fetched by `querying`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from services.common.domain import TextField, TextKey
from services.common.mime.text import fold
from services.http.jmap.arguments import an_id, boolean, date, ids, string, strings, unsigned
from services.http.jmap.errors import InvalidArguments, MethodError
from services.http.mail.index import Email, Index, in_mailbox
from services.http.mail.names import number_of

Test = Callable[[Email], bool]
MAX_DEPTH: Final = 32
MAX_CONDITIONS: Final = 256


@dataclass(slots=True)
class Gathered:
    """What was fetched for a query: which emails the texts were found in, and which have attachments."""

    texts: dict[TextKey, Collection[int]] = field(default_factory=dict)
    attachments: Mapping[int, bool] | None = None
    """None: it is not known yet, and every email might be right."""


@dataclass(frozen=True, slots=True)
class Filter:
    """A condition or an operator. `make` gives the test, once everything is gathered."""

    make: Callable[[Index, Gathered], Test]
    texts: tuple[TextKey, ...] = ()
    attachments: bool = False
    mailbox: int | None = None
    """All that is right is in this mailbox, as far as one can tell."""
    whole: bool = False
    """And all that is in the mailbox is right."""


def read_filter(value: Mapping[str, Any] | None) -> Filter:
    """Raises InvalidArguments, MethodError unsupportedFilter."""
    return Filter(lambda index, gathered: lambda email: True) if not value else _read(value, 0, [MAX_CONDITIONS])


def _read(value: Mapping[str, Any], depth: int, budget: list[int]) -> Filter:
    if depth > MAX_DEPTH:
        raise MethodError("unsupportedFilter", "it is too deep")
    if "operator" in value:
        return _operator(value, depth, budget)
    found = []
    for name, each in value.items():
        budget[0] -= 1
        read = CONDITIONS.get(name)
        if read is None or budget[0] < 0:
            raise MethodError("unsupportedFilter", f"{name[:64]}: no such condition, or too many")
        try:
            found.append(read(each))
        except ValueError as error:
            raise InvalidArguments(f"filter: {name}: {error}") from None
    return _combined(found, all)


def _operator(value: Mapping[str, Any], depth: int, budget: list[int]) -> Filter:
    conditions, operator = value.get("conditions"), value.get("operator")
    if not isinstance(operator, str) or operator not in _COMBINED or set(value) != {"operator", "conditions"}:
        raise InvalidArguments("filter: an operator is AND, OR or NOT, and has conditions")
    if not isinstance(conditions, list) or not all(isinstance(each, dict) for each in conditions):
        raise InvalidArguments("filter: conditions are a list of filters")
    return _combined([_read(each, depth + 1, budget) for each in conditions], _COMBINED[operator])


def _none(results: Iterable[object]) -> bool:
    return not any(results)


_COMBINED: Final[Mapping[str, Callable[[Iterable[object]], bool]]] = {"AND": all, "OR": any, "NOT": _none}


def _combined(found: Sequence[Filter], combine: Callable[[Iterable[object]], bool]) -> Filter:
    if len(found) == 1 and combine is not _none:
        return found[0]

    def make(index: Index, gathered: Gathered) -> Test:
        tests = [each.make(index, gathered) for each in found]
        return lambda email: combine(test(email) for test in tests)

    mailboxes = [each.mailbox for each in found if each.mailbox is not None]
    return Filter(
        make,
        tuple(key for each in found for key in each.texts),
        any(each.attachments for each in found),
        mailboxes[0] if mailboxes and combine is all else None,
    )


# ---- the conditions -------------------------------------------------------------------------------------------------
def _simple(test: Test) -> Filter:
    return Filter(lambda index, gathered: test)


def _in_mailbox(value: Any) -> Filter:
    mailbox = number_of("F", an_id(value)) or 0
    return Filter(lambda index, gathered: lambda email: in_mailbox(email, mailbox), mailbox=mailbox, whole=True)


def _elsewhere(value: Any) -> Filter:
    listed = {number_of("F", each) for each in ids(value)}
    return _simple(lambda email: any(place[0] not in listed for place in email.places))


def _before(value: Any) -> Filter:
    limit = date(value)
    return _simple(lambda email: email.received < limit)


def _after(value: Any) -> Filter:
    limit = date(value)
    return _simple(lambda email: email.received >= limit)


def _min_size(value: Any) -> Filter:
    limit = unsigned(value)
    return _simple(lambda email: email.size >= limit)


def _max_size(value: Any) -> Filter:
    limit = unsigned(value)
    return _simple(lambda email: email.size < limit)


def _has_keyword(value: Any) -> Filter:
    name = string(value).lower()
    return Filter(lambda index, gathered: lambda email: name in index.keywords(email))


def _not_keyword(value: Any) -> Filter:
    name = string(value).lower()
    return Filter(lambda index, gathered: lambda email: name not in index.keywords(email))


def _of_thread(combine: Callable[[Iterable[object]], bool]) -> Callable[[Any], Filter]:
    def read(value: Any) -> Filter:
        name = string(value).lower()

        def make(index: Index, gathered: Gathered) -> Test:
            return lambda email: thread_has(index, email, name, combine)

        return Filter(make)

    return read


def thread_has(index: Index, email: Email, keyword: str, combine: Callable[[Iterable[object]], bool]) -> bool:
    """Whether all, any or none of an email's thread have a keyword."""
    return combine(keyword in index.keywords(index.emails[each]) for each in index.threads[email.thread])


def _has_attachment(value: Any) -> Filter:
    expected = boolean(value)

    def make(index: Index, gathered: Gathered) -> Test:
        known = gathered.attachments
        if known is None:
            return lambda email: True
        return lambda email: known.get(email.number, False) is expected

    return Filter(make, attachments=True)


def _text(where: TextField) -> Callable[[Any], Filter]:
    def read(value: Any) -> Filter:
        return _all_words([TextKey(where, word) for word in words(string(value))])

    return read


def _header(value: Any) -> Filter:
    parts = strings(value)
    if not 1 <= len(parts) <= 2:
        raise ValueError("a name, and a text if wanted")
    return _all_words([TextKey(TextField.HEADER, parts[1] if len(parts) == 2 else "", parts[0])])


def _all_words(keys: Sequence[TextKey]) -> Filter:
    def make(index: Index, gathered: Gathered) -> Test:
        found = [gathered.texts[key] for key in keys]
        return lambda email: all(email.number in each for each in found)

    return Filter(make, tuple(keys))


def words(text: str) -> list[str]:
    """What must all be found: words, and what stands in quotes as one (RFC 8621 section 4.4.1)."""
    found: list[str] = []
    for place, part in enumerate(text.split('"')):
        found += [part.strip()] if place % 2 else part.split()
    return [word for word in found if word] or [""]


CONDITIONS: Final[Mapping[str, Callable[[Any], Filter]]] = {
    "inMailbox": _in_mailbox,
    "inMailboxOtherThan": _elsewhere,
    "before": _before,
    "after": _after,
    "minSize": _min_size,
    "maxSize": _max_size,
    "allInThreadHaveKeyword": _of_thread(all),
    "someInThreadHaveKeyword": _of_thread(any),
    "noneInThreadHaveKeyword": _of_thread(_none),
    "hasKeyword": _has_keyword,
    "notKeyword": _not_keyword,
    "hasAttachment": _has_attachment,
    "text": _text(TextField.TEXT),
    "from": _text(TextField.FROM),
    "to": _text(TextField.TO),
    "cc": _text(TextField.CC),
    "bcc": _text(TextField.BCC),
    "subject": _text(TextField.SUBJECT),
    "body": _text(TextField.BODY),
    "header": _header,
}


def needles(value: Mapping[str, Any] | None) -> Iterator[str]:
    """The words of a filter that a snippet shows (RFC 8621 section 5)."""
    for name, each in (value or {}).items():
        if name == "conditions" and isinstance(each, list) and (value or {}).get("operator") != "NOT":
            for condition in each:
                if isinstance(condition, dict):
                    yield from needles(condition)
        elif name in ("text", "subject", "body") and isinstance(each, str):
            yield from (word for word in words(each) if word)


# ---- sorts ----------------------------------------------------------------------------------------------------------
KEYED: Final = {"from": 0, "to": 1, "subject": 2, "sentAt": 3}
"""Sorts by what stands in headers -> place in `Index.sort_keys`."""
BY_KEYWORD: Final = ("hasKeyword", "allInThreadHaveKeyword", "someInThreadHaveKeyword")
SORTS: Final = ("receivedAt", "size", *KEYED, *BY_KEYWORD)
COLLATIONS: Final[Mapping[str, Callable[[str], Any]]] = {
    "i;unicode-casemap": fold,
    "i;ascii-casemap": lambda text: "".join(c.upper() if c.isascii() else c for c in text),
    "i;octet": lambda text: text.encode(),
}


@dataclass(frozen=True, slots=True)
class Comparator:
    """One sort key."""

    name: str
    ascending: bool
    keyword: str = ""
    collation: Callable[[str], Any] = fold

    def key(self, index: Index) -> Callable[[Email], Any]:
        """What emails are compared by."""
        if self.name == "receivedAt":
            return lambda email: email.received
        if self.name == "size":
            return lambda email: email.size
        if self.name in KEYED:
            place, collate = KEYED[self.name], self.collation
            if self.name == "sentAt":
                return lambda email: index.sort_keys[email.number][3]
            return lambda email: collate(str(index.sort_keys[email.number][place]))
        word = self.keyword
        if self.name == "hasKeyword":
            return lambda email: word in index.keywords(email)
        combine = all if self.name.startswith("all") else any
        return lambda email: thread_has(index, email, word, combine)


def read_sort(values: Sequence[Mapping[str, Any]]) -> list[Comparator]:
    """Raises InvalidArguments, MethodError unsupportedSort."""
    return [_comparator(value) for value in values] or [Comparator("receivedAt", False)]


def _comparator(value: Mapping[str, Any]) -> Comparator:
    name, ascending = value.get("property"), value.get("isAscending", True)
    collation = value.get("collation", "i;unicode-casemap")
    if not isinstance(name, str) or not isinstance(ascending, bool):
        raise InvalidArguments("sort: a comparator has a property, and isAscending is true or false")
    if name not in SORTS or collation not in COLLATIONS:
        raise MethodError("unsupportedSort", "the property or the collation")
    keyword = value.get("keyword", "")
    if name in BY_KEYWORD and not (isinstance(keyword, str) and keyword):
        raise InvalidArguments(f"sort: {name} wants a keyword")
    return Comparator(name, ascending, str(keyword).lower(), COLLATIONS[collation])
