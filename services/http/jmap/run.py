"""A request from its first call to its response (RFC 8620 section 3.4)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from time import perf_counter
from typing import TYPE_CHECKING, Any, Protocol

from services.common.directory import DirectoryUnavailable
from services.common.errors import Reason, StoreError, result_of
from services.common.telemetry import current_log
from services.http.jmap.arguments import Arguments
from services.http.jmap.errors import AWAY, METHOD_ERRORS, MethodError
from services.http.jmap.methods import METHODS
from services.http.jmap.request import Call, Request, Response, resolved
from services.http.jmap.work import Work

if TYPE_CHECKING:
    from services.http.jmap.work import Answers


class Observer(Protocol):
    """The part of `telemetry.Observer` that is told of methods."""

    def command(self, service: str, name: str, result: str, seconds: float) -> None:
        """A method was answered."""


async def run(work: Work, request: Request, session_state: str, observer: Observer) -> dict[str, Any]:
    """Every call in turn; each is answered, whatever becomes of the others."""
    work.created.update(request.created_ids or {})
    responses: list[Response] = []
    for call in request.calls:
        started = perf_counter()
        answers, result = await _answers(work, call, request, responses)
        responses += [(name, arguments, call.call_id) for name, arguments in answers]
        observer.command("http", call.name if call.name in METHODS else "unknown", result, perf_counter() - started)
    answer: dict[str, Any] = {"methodResponses": responses, "sessionState": session_state}
    if request.created_ids is not None:
        answer["createdIds"] = work.created
    return answer


async def _answers(
    work: Work, call: Call, request: Request, responses: Sequence[Response]
) -> tuple[Sequence[tuple[str, Mapping[str, Any]]], str]:
    """What a call is answered with, and the metric's word for it."""
    try:
        return _named(call, await _called(work, call, request, responses)), "ok"
    except MethodError as error:
        return [("error", error.arguments())], "no"
    except StoreError as error:
        if error.reason is Reason.ACCOUNT_NOT_FOUND:
            # The account was deleted, and may have been made again under another number.
            work.service.accounts.forget(work.caller.name)
        return [("error", {"type": METHOD_ERRORS[error.reason]})], result_of(error.reason)
    except DirectoryUnavailable:
        return [("error", {"type": AWAY})], "error"
    except Exception as error:
        current_log("http").error("method failed", error=error, method=call.name)
        return [("error", {"type": "serverFail"})], "error"


async def _called(work: Work, call: Call, request: Request, responses: Sequence[Response]) -> Answers:
    entry = METHODS.get(call.name)
    if entry is None or entry.capability not in request.using:
        raise MethodError("unknownMethod")
    return await entry.method(work, Arguments(resolved(call.arguments, responses)))


def _named(call: Call, answers: Answers) -> Sequence[tuple[str, Mapping[str, Any]]]:
    return answers if isinstance(answers, list) else [(call.name, answers)]
