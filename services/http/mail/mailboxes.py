"""Mailbox/get, /changes, /query and /queryChanges (RFC 8621 section 2)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from services.common.domain import INBOX, SEPARATOR, EmailDelta, MailboxStatus
from services.common.mime.text import fold
from services.http.jmap.arguments import Arguments, an_id, boolean, mapping, objects, positive, string
from services.http.jmap.errors import InvalidArguments, MethodError
from services.http.jmap.standard import (
    Changed,
    State,
    changes,
    page,
    query_changes,
    read_state,
    selected,
    since_query_state,
    wanted,
    window,
)
from services.http.mail import names
from services.http.mail.emails import delta_since
from services.http.mail.names import number_of

if TYPE_CHECKING:
    from services.http.jmap.work import Answers, Work
    from services.http.mail.index import Index

ROLES: Final[Mapping[str, str]] = {
    "\\Archive": "archive",
    "\\Drafts": "drafts",
    "\\Junk": "junk",
    "\\Sent": "sent",
    "\\Trash": "trash",
}
"""Special use (RFC 6154) -> role."""
RIGHTS: Final = (
    "mayReadItems", "mayAddItems", "mayRemoveItems", "maySetSeen", "maySetKeywords", "mayCreateChild", "mayRename",
    "mayDelete", "maySubmit",
)  # fmt: skip
PROPERTIES: Final = (
    "id", "name", "parentId", "role", "sortOrder", "totalEmails", "unreadEmails", "totalThreads", "unreadThreads",
    "myRights", "isSubscribed",
)  # fmt: skip


def parents(index: Index) -> dict[str, int]:
    """Mailboxes by their full names."""
    return {box.name: number for number, box in index.boxes.items()}


def parent_of(box: MailboxStatus, by_name: Mapping[str, int]) -> int | None:
    """The mailbox above."""
    above, separator, _ = box.name.rpartition(SEPARATOR)
    return by_name.get(above) if separator else None


def role_of(box: MailboxStatus) -> str | None:
    """What the mailbox is for."""
    return "inbox" if box.name == INBOX else ROLES.get(box.special_use)


def shown(index: Index, box: MailboxStatus, by_name: Mapping[str, int]) -> dict[str, Any]:
    """A mailbox with all its properties."""
    parent, counts, is_inbox = parent_of(box, by_name), index.count(box.mailbox_id), box.name == INBOX
    rights = dict.fromkeys(RIGHTS, True) | {"mayRename": not is_inbox, "mayDelete": not is_inbox}
    above = box.name.rpartition(SEPARATOR)[0] if parent is not None else ""
    return {
        "id": names.mailbox(box.mailbox_id),
        "name": box.name.removeprefix(above + SEPARATOR) if above else box.name,
        "parentId": None if parent is None else names.mailbox(parent),
        "role": role_of(box),
        "sortOrder": 0,
        "totalEmails": counts.emails,
        "unreadEmails": counts.unread_emails,
        "totalThreads": counts.threads,
        "unreadThreads": counts.unread_threads,
        "myRights": rights,
        "isSubscribed": box.subscribed,
    }


async def get(work: Work, arguments: Arguments) -> Answers:
    """Mailbox/get."""
    account = work.check_account(arguments)
    asked = wanted(arguments, PROPERTIES)
    arguments.end()
    index = await work.index()
    chosen = asked.ids if asked.ids is not None else [names.mailbox(number) for number in index.boxes]
    by_name = parents(index)
    found = {text: index.boxes[number] for text in chosen if (number := number_of("F", text) or 0) in index.boxes}
    return {
        "accountId": account,
        "state": str(State(index.modseq, index.next_id)),
        "list": [selected(shown(index, box, by_name), asked.properties) for box in found.values()],
        "notFound": [text for text in chosen if text not in found],
    }


async def mailbox_changes(work: Work, arguments: Arguments) -> Answers:
    """Mailbox/changes. Which properties changed is not told apart."""
    account = work.check_account(arguments)
    since = read_state(arguments.take("sinceState", string, required=True))
    most = arguments.take("maxChanges", positive)
    arguments.end()
    delta, index = await delta_since(work, since)
    touched = _touched(delta, index)
    changed = Changed(
        [number for number in touched if number >= since.next_id],
        [number for number in touched if number < since.next_id],
        [number for number in delta.gone_mailboxes if number < since.next_id],
    )
    now = State(delta.modseq, delta.next_id)
    answer = changes(since, now, changed, most, names.mailbox)
    return {"accountId": account, **answer, "updatedProperties": None}


def _touched(delta: EmailDelta, index: Index) -> set[int]:
    """Mailboxes that changed, and those whose threads did: reading a mail in one makes a thread read in another."""
    found: set[int] = {box.mailbox_id for box in delta.mailboxes}
    for thread in {*delta.places.thread_ids, *delta.gone.thread_ids}:
        for number in index.threads.get(thread, ()):
            found |= {place[0] for place in index.emails[number].places}
    return {number for number in found if number in index.boxes}


# ---- Mailbox/query --------------------------------------------------------------------------------------------------
Test = Callable[[int], bool]


def _none(results: Iterable[object]) -> bool:
    return not any(results)


_OPERATORS: Final[Mapping[str, Callable[[Iterable[object]], bool]]] = {"AND": all, "OR": any, "NOT": _none}
MAX_DEPTH: Final = 32


def _filter(value: Mapping[str, Any], index: Index, by_name: Mapping[str, int], depth: int = 0) -> Test:
    """Raises InvalidArguments, MethodError unsupportedFilter."""
    if depth > MAX_DEPTH:
        raise MethodError("unsupportedFilter", "it is too deep")
    if "operator" in value:
        return _operator(value, index, by_name, depth)
    tests = [_condition(name, each, index, by_name) for name, each in value.items()]
    return lambda number: all(test(number) for test in tests)


def _operator(value: Mapping[str, Any], index: Index, by_name: Mapping[str, int], depth: int) -> Test:
    conditions, operator = value.get("conditions"), value.get("operator")
    if not isinstance(operator, str) or operator not in _OPERATORS or set(value) != {"operator", "conditions"}:
        raise InvalidArguments("filter: an operator is AND, OR or NOT, and has conditions")
    if not isinstance(conditions, list) or not all(isinstance(each, dict) for each in conditions):
        raise InvalidArguments("filter: conditions are a list of filters")
    tests = [_filter(each, index, by_name, depth + 1) for each in conditions]
    combine = _OPERATORS[operator]
    return lambda number: combine(test(number) for test in tests)


def _condition(name: str, value: Any, index: Index, by_name: Mapping[str, int]) -> Test:
    boxes = index.boxes
    try:
        if name == "parentId":
            parent = None if value is None else number_of("F", an_id(value))
            if value is not None and parent not in boxes:
                return lambda number: False
            return lambda number: parent_of(boxes[number], by_name) == parent
        if name == "role":
            role = None if value is None else string(value)
            return lambda number: role_of(boxes[number]) == role
        if name == "name":
            needle = fold(string(value))
            return lambda number: needle in fold(_own_name(boxes[number], by_name))
        if name == "hasAnyRole":
            expected = boolean(value)
            return lambda number: (role_of(boxes[number]) is not None) is expected
        if name == "isSubscribed":
            subscribed = boolean(value)
            return lambda number: boxes[number].subscribed is subscribed
    except ValueError as error:
        raise InvalidArguments(f"filter: {name}: {error}") from None
    raise MethodError("unsupportedFilter", f"{name[:64]} is no condition on mailboxes")


def _own_name(box: MailboxStatus, by_name: Mapping[str, int]) -> str:
    return box.name.rpartition(SEPARATOR)[2] if parent_of(box, by_name) is not None else box.name


def _sorted(results: Iterable[int], sort: Sequence[Mapping[str, Any]], index: Index) -> list[int]:
    """Raises MethodError unsupportedSort."""
    found = sorted(results)
    by_name = parents(index)
    for comparator in reversed(sort):
        name, ascending = comparator.get("property"), comparator.get("isAscending", True)
        if name not in ("name", "sortOrder") or not isinstance(ascending, bool):
            raise MethodError("unsupportedSort", "mailboxes are sorted by name or sortOrder")
        if name == "name":
            found.sort(key=lambda number: fold(_own_name(index.boxes[number], by_name)), reverse=not ascending)
    return found


@dataclass(frozen=True, slots=True)
class _Asked:
    chosen: Mapping[str, Any]
    sort: Sequence[Mapping[str, Any]]
    as_tree: bool
    filter_as_tree: bool


def _asked(arguments: Arguments) -> _Asked:
    nothing: Mapping[str, Any] = {}
    unsorted: Sequence[Mapping[str, Any]] = ()
    return _Asked(
        arguments.take("filter", mapping, nothing),
        arguments.take("sort", objects, unsorted),
        arguments.take("sortAsTree", boolean, False),
        arguments.take("filterAsTree", boolean, False),
    )


def _results(index: Index, asked: _Asked) -> list[int]:
    """What Mailbox/query finds, all of it."""
    by_name = parents(index)
    test = _filter(asked.chosen, index, by_name)
    found = _sorted((number for number in index.boxes if test(number)), asked.sort, index)
    if asked.filter_as_tree:
        kept = set(found)
        found = [number for number in found if _ancestors(index, number, by_name) <= kept]
    if asked.as_tree:
        rank = {number: place for place, number in enumerate(_sorted(index.boxes, asked.sort, index))}
        found.sort(key=lambda number: [rank[each] for each in _line(index, number, by_name)])
    return found


def _line(index: Index, number: int, by_name: Mapping[str, int]) -> list[int]:
    """A mailbox and those above it, the topmost first."""
    line = [number]
    while (parent := parent_of(index.boxes[line[0]], by_name)) is not None:
        line.insert(0, parent)
    return line


def _ancestors(index: Index, number: int, by_name: Mapping[str, int]) -> set[int]:
    return set(_line(index, number, by_name)[:-1])


async def query(work: Work, arguments: Arguments) -> Answers:
    """Mailbox/query."""
    account, part, asked = work.check_account(arguments), window(arguments), _asked(arguments)
    arguments.end()
    index = await work.index()
    found = _results(index, asked)
    return {
        "accountId": account,
        "queryState": str(State(index.modseq, index.next_id)),
        "canCalculateChanges": True,
        **page(found, part, names.mailbox),
    }


async def mailbox_query_changes(work: Work, arguments: Arguments) -> Answers:
    """Mailbox/queryChanges."""
    account, since = work.check_account(arguments), since_query_state(arguments)
    asked = _asked(arguments)
    delta, index = await delta_since(work, since)
    found = _results(index, asked)
    touched = {box.mailbox_id for box in delta.mailboxes} | set(delta.gone_mailboxes)
    answer = query_changes(arguments, found, touched, names.mailbox)
    arguments.end()
    new = str(State(index.modseq, index.next_id))
    return {"accountId": account, "oldQueryState": str(since), "newQueryState": new, **answer}
