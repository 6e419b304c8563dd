"""Conditions, numbers and Events out of what was seen."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from mailoperator import events
from mailoperator.crd import CONDITION_TYPES
from mailoperator.podreasons import reason
from mailoperator.spec import PAUSE_ANNOTATION, MailService
from mailoperator.status import Seen, conditions, is_complete, status_object
from tests.support.mailservices import resource, service

NOW = "2026-01-02T03:04:05Z"


def workload(ready: int, wanted: int = 1, **status: Any) -> dict[str, Any]:
    given = {"readyReplicas": ready, "updatedReplicas": wanted, "observedGeneration": 1, **status}
    return {"metadata": {"generation": 1}, "spec": {"replicas": wanted}, "status": given}


def all_ready() -> dict[str, Any]:
    return {role: workload(1) for role in ("store", "pop", "imap", "http", "lmtp")}


def told(seen: Seen, made: MailService | None = None) -> dict[str, tuple[str, str]]:
    return {each.type: (each.status, each.reason) for each in conditions(made or service(), seen)}


def test_all_conditions_are_always_there() -> None:
    assert set(told(Seen())) == set(CONDITION_TYPES)


@pytest.mark.parametrize(
    ("seen", "ready"),
    [
        (Seen(all_ready()), ("True", "AsSpecified")),
        (Seen(), ("False", "PodNotReady")),
        (Seen({**all_ready(), "store": workload(0)}), ("False", "PodNotReady")),
        (Seen({**all_ready(), "imap": workload(0, 2)}), ("False", "NoReadyPods")),
        (Seen(all_ready(), ["tls.secretRef: there is no Secret x"]), ("False", "InvalidInput")),
        (Seen({**all_ready(), "imap": workload(1, 2)}), ("True", "AsSpecified")),
    ],
    ids=["ready", "nothing yet", "store", "front end", "input", "one of two"],
)
def test_ready_names_the_first_thing_that_is_missing(seen: Seen, ready: tuple[str, str]) -> None:
    assert told(seen)["Ready"] == ready


def test_a_rollout_goes_on_ends_or_gets_stuck() -> None:
    assert told(Seen(all_ready()))["Progressing"] == ("False", "Complete")
    rolling = {**all_ready(), "imap": workload(2, 2, updatedReplicas=1)}
    assert told(Seen(rolling))["Progressing"] == ("True", "RollingOut")
    stuck = {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded", "message": "deadline"}
    halted = {**all_ready(), "imap": workload(1, 1, conditions=[stuck])}
    assert told(Seen(halted))["Progressing"] == ("False", "RolloutStuck")
    assert told(Seen(halted))["Ready"] == ("False", "RolloutStuck")


def test_a_pause_is_told() -> None:
    thing = resource()
    thing["metadata"]["annotations"] = {PAUSE_ANNOTATION: "true"}
    made = MailService.read(thing)
    assert told(Seen(all_ready()), made)["Paused"] == ("True", "Annotated")
    assert told(Seen(all_ready()), made)["Ready"] == ("True", "Paused")


def test_numbers_of_a_site() -> None:
    seen = Seen({**all_ready(), "imap": workload(2, 3)}, version="1.0")
    status = status_object(service(imap={"replicas": 3}), seen, {}, NOW)["status"]
    assert status["services"]["imap"]["ready"] == "2/3"
    assert status["services"]["imap"]["sessionsLimit"] == 8_000
    assert status["services"]["imap"]["endpoint"] == "mail-imap.post.svc:143"
    assert status["sessionsLimit"] == 8_000 + 600 + 6_000 + 1_000
    assert (status["observedGeneration"], status["version"]) == (3, "1.0")


def test_a_status_that_says_the_same_is_the_same() -> None:
    first = status_object(service(), Seen(all_ready()), {}, NOW)["status"]
    assert status_object(service(), Seen(all_ready()), first, "2027-01-01T00:00:00Z")["status"] == first
    later = status_object(service(), Seen(), first, "2027-01-01T00:00:00Z")["status"]
    times = {each["type"]: each["lastTransitionTime"] for each in later["conditions"]}
    assert times["Ready"] == "2027-01-01T00:00:00Z"
    assert times["Paused"] == NOW


def test_an_event_for_each_change_and_none_without() -> None:
    now = datetime(2026, 1, 2, tzinfo=UTC)
    good = status_object(service(), Seen(all_ready()), {}, NOW)["status"]
    bad = status_object(service(), Seen(all_ready(), ["no Secret"]), good, NOW)["status"]
    assert list(events.of_changes(service(), {}, good, now)) == []
    assert list(events.of_changes(service(), good, good, now)) == []
    made = list(events.of_changes(service(), good, bad, now))
    assert {(each["type"], each["reason"]) for each in made} == {("Warning", "InvalidInput")}
    assert all("no Secret" in each["note"] for each in made)
    again = list(events.of_changes(service(), bad, good, now))
    assert {each["type"] for each in again} == {"Normal"}
    assert len({each["metadata"]["name"] for each in [*made, *again]}) == len(made) + len(again)


def test_what_keeps_a_pod_from_being_ready_is_in_the_message() -> None:
    pods = [
        {"metadata": {"name": "mail-store-0"}, "status": {"containerStatuses": [
            {"state": {"waiting": {"reason": "ImagePullBackOff", "message": "not found"}}},
        ]}},
    ]  # fmt: skip
    seen = Seen(reasons={"store": reason(pods)})
    found = {each.type: each for each in conditions(service(), seen)}
    assert "(mail-store-0: ImagePullBackOff: not found)" in found["StoreReady"].message


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ({}, ""),
        ({"containerStatuses": [{"state": {"waiting": {"reason": "ContainerCreating"}}}]}, ""),
        ({"containerStatuses": [{"state": {"waiting": {"reason": "CrashLoopBackOff"}}}]}, "one: CrashLoopBackOff"),
        ({"initContainerStatuses": [{"state": {"waiting": {"reason": "Error"}}}]}, "one: Error"),
        (
            {"conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "full"}]},
            "one: Unschedulable: full",
        ),
        ({"conditions": [{"type": "PodScheduled", "status": "True"}]}, ""),
    ],
)
def test_reasons_of_pods(status: dict[str, Any], expected: str) -> None:
    assert reason([{"metadata": {"name": "one"}, "status": status}]) == expected


def test_pods_of_an_earlier_template_keep_a_rollout_going() -> None:
    assert is_complete(workload(2, 2, replicas=2))
    assert not is_complete(workload(2, 2, replicas=3))
