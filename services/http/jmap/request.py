"""The request object (RFC 8620 section 3.3): read, bounded, and its references to earlier results. No I/O."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NoReturn

from services.http.jmap.errors import PREFIX, InvalidArguments, MethodError
from services.http.replies import Problem

_INDEX: Final = re.compile(r"(?:0|[1-9][0-9]{0,8})\Z", re.ASCII)
MAX_POINTER: Final = 1_024
MAX_RESULTS: Final = 100_000
"""Values that one reference may give."""
MAX_NUMBER: Final = (1 << 53) - 1
"""I-JSON's largest whole number (RFC 7493 section 2.2)."""


@dataclass(frozen=True, slots=True)
class Call:
    """One invocation: a method's name, its arguments, and the client's own name for the call."""

    name: str
    arguments: Mapping[str, Any]
    call_id: str


@dataclass(frozen=True, slots=True)
class Request:
    """What a client asks. `created_ids` is None where it does not want them back."""

    using: frozenset[str]
    calls: Sequence[Call]
    created_ids: Mapping[str, str] | None = field(default=None)


def read_request(body: bytes, known: frozenset[str], max_calls: int) -> Request:
    """Raises Problem: notJSON, notRequest, unknownCapability, limit (RFC 8620 section 3.6.1)."""
    return request_of(read_json(body), known, max_calls)


def request_of(document: Any, known: frozenset[str], max_calls: int) -> Request:
    """The same of what is JSON already. Raises Problem: notRequest, unknownCapability, limit."""
    if not isinstance(document, dict):
        raise _not_request("An object is wanted.")
    using, calls, created = document.get("using"), document.get("methodCalls"), document.get("createdIds")
    if not isinstance(using, list) or not all(isinstance(each, str) for each in using):
        raise _not_request("using: a list of capabilities.")
    if not isinstance(calls, list):
        raise _not_request("methodCalls: a list of invocations.")
    if created is not None and not _is_ids(created):
        raise _not_request("createdIds: ids by creation id.")
    unknown = sorted(set(using) - known)
    if unknown:
        raise Problem(400, "A capability is not known.", f"{PREFIX}unknownCapability")
    if len(calls) > max_calls:
        raise limit("maxCallsInRequest")
    return Request(frozenset(using), [_call(each) for each in calls], created)


def read_json(body: bytes) -> Any:
    """I-JSON (RFC 7493): UTF-8, each name once, no number that is none. Raises Problem notJSON."""
    try:
        return json.loads(body.decode("utf-8"), object_pairs_hook=_once, parse_constant=_refuse)
    except (ValueError, RecursionError):
        raise Problem(400, "This is no I-JSON.", f"{PREFIX}notJSON") from None


def limit(name: str) -> Problem:
    """A limit of the server is passed."""
    return Problem(400, "A limit of the server is passed.", f"{PREFIX}limit", {"limit": name})


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError
    return found


def _refuse(_: str) -> NoReturn:
    raise ValueError


def _call(value: object) -> Call:
    if not isinstance(value, list) or len(value) != 3:
        raise _not_request("An invocation has a name, arguments and an id.")
    name, arguments, call_id = value
    if not (isinstance(name, str) and isinstance(arguments, dict) and isinstance(call_id, str)):
        raise _not_request("An invocation has a name, arguments and an id.")
    return Call(name, arguments, call_id)


def _is_ids(value: object) -> bool:
    return isinstance(value, dict) and all(isinstance(each, str) for each in value.values())


def _not_request(detail: str) -> Problem:
    return Problem(400, detail, f"{PREFIX}notRequest")


# ---- references to earlier results (RFC 8620 section 3.7) -----------------------------------------------------------
Response = tuple[str, Mapping[str, Any], str]
"""Name, arguments and call id of an answer."""


def resolved(arguments: Mapping[str, Any], responses: Sequence[Response]) -> dict[str, Any]:
    """The arguments with every `#name` replaced. Raises MethodError: invalidArguments, invalidResultReference."""
    found: dict[str, Any] = {}
    for name, value in arguments.items():
        if not name.startswith("#"):
            found.setdefault(name, value)
            continue
        plain = name[1:]
        if plain in arguments:
            raise InvalidArguments(f"{plain} is given twice")
        found[plain] = _look_up(value, responses)
    return found


def _look_up(reference: object, responses: Sequence[Response]) -> Any:
    if not isinstance(reference, dict):
        raise InvalidArguments("a reference has resultOf, name and path")
    of, name, path = (reference.get(key) for key in ("resultOf", "name", "path"))
    if not (isinstance(of, str) and isinstance(name, str) and isinstance(path, str)):
        raise InvalidArguments("a reference has resultOf, name and path")
    for known, arguments, call_id in responses:
        if call_id == of:
            if known != name:
                break
            return pointed(arguments, path)
    raise MethodError("invalidResultReference", "there is no such result before")


def pointed(document: Any, path: str) -> Any:
    """What a JSON pointer (RFC 6901) with `*` for every item of a list leads to.

    Raises MethodError invalidResultReference.
    """
    if len(path) > MAX_POINTER or (path and not path.startswith("/")):
        raise MethodError("invalidResultReference", "the path is no pointer")
    tokens = [token.replace("~1", "/").replace("~0", "~") for token in path.split("/")[1:]]
    budget = [MAX_RESULTS]
    return _walk(document, tokens, budget)


def _walk(value: Any, tokens: Sequence[str], budget: list[int]) -> Any:
    for at, token in enumerate(tokens):
        if token == "*" and isinstance(value, list):  # noqa: S105 - a pointer's
            return _each(value, tokens[at + 1 :], budget)
        value = _step(value, token)
    return value


def _each(items: list[Any], rest: Sequence[str], budget: list[int]) -> list[Any]:
    """The results of all items; lists among them are laid flat."""
    found: list[Any] = []
    for item in items:
        result = _walk(item, rest, budget)
        found.extend(result if isinstance(result, list) else [result])
        budget[0] -= 1
        if budget[0] < 0 or len(found) > MAX_RESULTS:
            raise MethodError("invalidResultReference", "it leads to too much")
    return found


def _step(value: Any, token: str) -> Any:
    if isinstance(value, dict) and token in value:
        return value[token]
    if isinstance(value, list) and _INDEX.match(token) and int(token) < len(value):
        return value[int(token)]
    raise MethodError("invalidResultReference", "the path leads nowhere")
