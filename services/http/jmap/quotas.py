"""Quotas (RFC 9425): what the account may hold, and what it holds.

A state is what the quotas say, so that two states tell what changed between them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from services.http.jmap.arguments import Arguments, mapping, objects, positive, string
from services.http.jmap.errors import InvalidArguments, MethodError
from services.http.jmap.standard import page, query_changes, selected, wanted, window

if TYPE_CHECKING:
    from services.common.domain import Account, Quota
    from services.http.jmap.work import Answers, Work

KINDS: Final[Mapping[str, tuple[str, str, Callable[[Quota], int | None], Callable[[Account], int]]]] = {
    "Qoctets": ("octets", "Storage", lambda quota: quota.max_bytes, lambda account: account.used_bytes),
    "Qcount": ("count", "Messages", lambda quota: quota.max_messages, lambda account: account.used_messages),
}
"""Id -> resource type, name, limit, use."""
ORDER: Final = tuple(KINDS)
PROPERTIES: Final = (
    "id", "resourceType", "used", "hardLimit", "scope", "name", "types", "warnLimit", "softLimit", "description",
)  # fmt: skip
_STATE: Final = re.compile(r"(\d{1,19}|n)\.(\d{1,19})-(\d{1,19}|n)\.(\d{1,19})\Z", re.ASCII)


@dataclass(frozen=True, slots=True)
class Use:
    """One quota: its limit (None: there is no such quota) and what is used of it."""

    limit: int | None
    used: int


Uses = Mapping[str, Use]


async def uses_of(work: Work) -> Uses:
    """Both as they are now. Raises StoreError."""
    return uses(await work.service.store.open_account(work.caller.name), work.quota)


def uses(account: Account, quota: Quota) -> Uses:
    """Both."""
    return {name: Use(limit(quota), used(account)) for name, (_, _, limit, used) in KINDS.items()}


def state_of(known: Uses) -> str:
    """The state."""
    return "-".join(f"{'n' if use.limit is None else use.limit}.{use.used}" for use in known.values())


def read_state(text: str) -> Uses:
    """Raises MethodError cannotCalculateChanges."""
    match = _STATE.match(text)
    if match is None:
        raise MethodError("cannotCalculateChanges", "the state is not known")
    parts = match.groups()
    return {
        name: Use(None if parts[2 * at] == "n" else int(parts[2 * at]), int(parts[2 * at + 1]))
        for at, name in enumerate(ORDER)
    }


def _shown(name: str, use: Use) -> dict[str, Any]:
    kind, title, _, _ = KINDS[name]
    return {
        "id": name, "resourceType": kind, "used": use.used, "hardLimit": use.limit, "scope": "account", "name": title,
        "types": ["Email"], "warnLimit": None, "softLimit": None, "description": None,
    }  # fmt: skip


async def get(work: Work, arguments: Arguments) -> Answers:
    """Quota/get."""
    account = work.check_account(arguments)
    asked = wanted(arguments, PROPERTIES)
    arguments.end()
    known = await uses_of(work)
    there = {name: use for name, use in known.items() if use.limit is not None}
    chosen = list(there) if asked.ids is None else asked.ids
    return {
        "accountId": account,
        "state": state_of(known),
        "list": [selected(_shown(name, there[name]), asked.properties) for name in chosen if name in there],
        "notFound": [name for name in chosen if name not in there],
    }


async def changes(work: Work, arguments: Arguments) -> Answers:
    """Quota/changes."""
    account, since = work.check_account(arguments), arguments.take("sinceState", string, required=True)
    arguments.take("maxChanges", positive)
    arguments.end()
    old, new = read_state(since), await uses_of(work)
    created = [name for name in ORDER if old[name].limit is None and new[name].limit is not None]
    destroyed = [name for name in ORDER if old[name].limit is not None and new[name].limit is None]
    both = [name for name in ORDER if old[name].limit is not None and new[name].limit is not None]
    updated = [name for name in both if old[name] != new[name]]
    only_use = all(old[name].limit == new[name].limit for name in updated)
    return {
        "accountId": account, "oldState": since, "newState": state_of(new), "hasMoreChanges": False,
        "created": created, "updated": updated, "destroyed": destroyed,
        "updatedProperties": ["used"] if updated and only_use else None,
    }  # fmt: skip


_FILTERS: Final = ("name", "scope", "resourceType", "type")


def _matches(record: Mapping[str, Any], chosen: Mapping[str, Any]) -> bool:
    if "operator" in chosen:
        results = [_matches(record, each) for each in _conditions(chosen)]
        return {"AND": all(results), "OR": any(results), "NOT": not any(results)}[chosen["operator"]]
    for name, value in chosen.items():
        if name not in _FILTERS:
            raise MethodError("unsupportedFilter", f"{name[:64]} is no condition on quotas")
        if not isinstance(value, str):
            raise InvalidArguments(f"filter: {name}: a string is wanted")
        if name == "name" and value.lower() not in record["name"].lower():
            return False
        if name == "type" and value not in record["types"]:
            return False
        if name in ("scope", "resourceType") and record[name] != value:
            return False
    return True


def _conditions(chosen: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    conditions = chosen.get("conditions")
    known = chosen.get("operator") in ("AND", "OR", "NOT") and set(chosen) == {"operator", "conditions"}
    if not known or not isinstance(conditions, list) or not all(isinstance(each, dict) for each in conditions):
        raise InvalidArguments("filter: an operator is AND, OR or NOT, and has conditions")
    return conditions


async def _results(work: Work, chosen: Mapping[str, Any], sort: list[Mapping[str, Any]]) -> tuple[str, list[int]]:
    """The state, and the places in ORDER of what is found."""
    known = await uses_of(work)
    found = {name: _shown(name, use) for name, use in known.items() if use.limit is not None}
    try:
        names = [name for name, record in found.items() if _matches(record, chosen)]
    except RecursionError:
        raise MethodError("unsupportedFilter", "it is too deep") from None
    for comparator in reversed(sort):
        name = comparator.get("property")
        if name not in ("name", "used"):
            raise MethodError("unsupportedSort", "quotas are sorted by name or used")
        names.sort(key=lambda each: found[each][name], reverse=comparator.get("isAscending", True) is False)
    return state_of(known), [ORDER.index(name) for name in names]


def _asked(arguments: Arguments) -> tuple[Mapping[str, Any], list[Mapping[str, Any]]]:
    nothing: Mapping[str, Any] = {}
    unsorted: Sequence[Mapping[str, Any]] = ()
    return arguments.take("filter", mapping, nothing), list(arguments.take("sort", objects, unsorted))


async def query(work: Work, arguments: Arguments) -> Answers:
    """Quota/query."""
    account, part, asked = work.check_account(arguments), window(arguments), _asked(arguments)
    arguments.end()
    state, found = await _results(work, *asked)
    shown = page(found, part, lambda place: ORDER[place])
    return {"accountId": account, "queryState": state, "canCalculateChanges": True, **shown}


async def quota_query_changes(work: Work, arguments: Arguments) -> Answers:
    """Quota/queryChanges."""
    account, since = work.check_account(arguments), arguments.take("sinceQueryState", string, required=True)
    old, asked = read_state(since), _asked(arguments)
    state, found = await _results(work, *asked)
    new = read_state(state)
    touched = {place for place, name in enumerate(ORDER) if old[name] != new[name]}
    answer = query_changes(arguments, found, touched, lambda place: ORDER[place])
    arguments.end()
    return {"accountId": account, "oldQueryState": since, "newQueryState": state, **answer}
