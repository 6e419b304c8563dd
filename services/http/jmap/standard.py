"""What the methods of all types have in common (RFC 8620 section 5). No I/O."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from services.http.jmap.arguments import Arguments, an_id, boolean, ids, positive, string, strings, unsigned, whole
from services.http.jmap.errors import InvalidArguments, MethodError

MAX_OBJECTS_IN_GET: Final = 1_000
MAX_OBJECTS_IN_SET: Final = 1_000
MAX_LIMIT: Final = 100_000
MAX_CHANGES: Final = 10_000
_STATE: Final = re.compile(r"(\d{1,19})\.(\d{1,19})(?:\.(\d{1,19})\.(\d{1,19})\.(\d{1,19}))?\Z")


@dataclass(frozen=True, slots=True)
class State:
    """A state of an account: its modification sequence, and the number that the next new thing gets.

    Where changes were told in part, `done` is the highest number that was told of, and `target` the state that is
    reached when all are.
    """

    modseq: int
    next_id: int
    done: int = 0
    target: tuple[int, int] | None = None

    def __str__(self) -> str:
        text = f"{self.modseq}.{self.next_id}"
        return text if self.target is None else f"{text}.{self.done}.{self.target[0]}.{self.target[1]}"


def read_state(text: str) -> State:
    """Raises MethodError cannotCalculateChanges for what was never a state."""
    match = _STATE.match(text)
    if match is None:
        raise MethodError("cannotCalculateChanges", "the state is not known")
    modseq, next_id, done, *target = (int(part) if part else 0 for part in match.groups())
    return State(modseq, next_id, done, (target[0], target[1]) if match[3] else None)


@dataclass(frozen=True, slots=True)
class Changed:
    """Numbers of what changed after a state; each in one of the lists."""

    created: Collection[int]
    updated: Collection[int]
    destroyed: Collection[int]


def changes(since: State, now: State, changed: Changed, most: int | None, name: Callable[[int], str]) -> dict[str, Any]:
    """The rest of a /changes response: the changes in the order of their numbers, as many as are wanted."""
    kinds = dict.fromkeys(changed.created, "created")
    kinds |= dict.fromkeys(changed.updated, "updated") | dict.fromkeys(changed.destroyed, "destroyed")
    target = since.target or (now.modseq, now.next_id)
    # What was made after the first part was told comes when the target is the state that is asked from.
    told = sorted(number for number in kinds if number > since.done and number < target[1])
    part = told[: most or MAX_CHANGES]
    more = len(part) < len(told)
    state = State(since.modseq, since.next_id, part[-1], target) if more else State(*target)
    lists: dict[str, list[str]] = {"created": [], "updated": [], "destroyed": []}
    for number in part:
        lists[kinds[number]].append(name(number))
    return {"oldState": str(since), "newState": str(state), "hasMoreChanges": more, **lists}


# ---- /get -----------------------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Wanted:
    """What a /get asks for; `ids` None: everything. `properties` None: the usual ones."""

    ids: list[str] | None
    properties: list[str] | None


def wanted(arguments: Arguments, known: Collection[str] | None) -> Wanted:
    """ids and properties. Raises InvalidArguments, MethodError requestTooLarge."""
    asked = arguments.take("ids", ids)
    properties = arguments.take("properties", strings)
    if asked is not None:
        asked = list(dict.fromkeys(asked))
        if len(asked) > MAX_OBJECTS_IN_GET:
            raise MethodError("requestTooLarge", f"at most {MAX_OBJECTS_IN_GET} ids")
    if properties is not None and known is not None:
        unknown = [name for name in properties if name not in known]
        if unknown:
            raise InvalidArguments(f"properties: there is no {unknown[0][:64]}")
    return Wanted(asked, properties)


def selected(record: Mapping[str, Any], properties: Iterable[str] | None) -> dict[str, Any]:
    """A record with these properties alone, and always its id."""
    if properties is None:
        return dict(record)
    return {name: record[name] for name in dict.fromkeys(["id", *properties])}


# ---- /query ---------------------------------------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Window:
    """The part of a query's results that is asked for (RFC 8620 section 5.5)."""

    position: int = 0
    anchor: str | None = None
    offset: int = 0
    limit: int | None = None
    total: bool = False


def window(arguments: Arguments) -> Window:
    """Raises InvalidArguments."""
    return Window(
        arguments.take("position", whole, 0),
        arguments.take("anchor", an_id),
        arguments.take("anchorOffset", whole, 0),
        arguments.take("limit", unsigned),
        arguments.take("calculateTotal", boolean, False),
    )


def page(results: Sequence[int], part: Window, name: Callable[[int], str]) -> dict[str, Any]:
    """position, ids, and total and limit where they belong. Raises MethodError anchorNotFound."""
    start = _start(results, part, name)
    most = MAX_LIMIT if part.limit is None else min(part.limit, MAX_LIMIT)
    found: dict[str, Any] = {"position": start, "ids": [name(number) for number in results[start : start + most]]}
    if part.total:
        found["total"] = len(results)
    if part.limit is None or part.limit > MAX_LIMIT:
        found["limit"] = MAX_LIMIT
    return found


def _start(results: Sequence[int], part: Window, name: Callable[[int], str]) -> int:
    if part.anchor is not None:
        for place, number in enumerate(results):
            if name(number) == part.anchor:
                return max(place + part.offset, 0)
        raise MethodError("anchorNotFound")
    if part.position < 0:
        return max(len(results) + part.position, 0)
    return part.position


def query_changes(
    arguments: Arguments, results: Sequence[int], touched: Collection[int], name: Callable[[int], str]
) -> dict[str, Any]:
    """removed and added (RFC 8620 section 5.6): whatever may have changed is taken out and put in where it is now.

    `touched` are the numbers of all that may be in the results now, or have been, otherwise than before.
    """
    most = arguments.take("maxChanges", positive)
    arguments.take("upToId", an_id)
    total = arguments.take("calculateTotal", boolean, False)
    added = [{"id": name(number), "index": place} for place, number in enumerate(results) if number in touched]
    if most is not None and len(touched) + len(added) > most:
        raise MethodError("tooManyChanges")
    found: dict[str, Any] = {"removed": [name(number) for number in sorted(touched)], "added": added}
    if total:
        found["total"] = len(results)
    return found


def since_query_state(arguments: Arguments) -> State:
    """sinceQueryState."""
    return read_state(arguments.take("sinceQueryState", string, required=True))
