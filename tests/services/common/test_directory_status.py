"""The four status attributes, and what they come to: each case with what the schema reference says."""

from __future__ import annotations

import pytest

from services.common.directory import DELIVERY, GONE, LOGS_IN, Delivery, Status, effective_status


def values(*words: str) -> dict[str, str]:
    """The attributes in their order; "" where there is none."""
    names = ("inetDomainStatus", "mailDomainStatus", "inetUserStatus", "mailUserStatus")
    return {name: word for name, word in zip(names, words, strict=True) if word}


@pytest.mark.parametrize(
    ("words", "status", "sentence"),
    [
        (("", "", "", ""), Status.ACTIVE, "missing is active"),
        (("active", "active", "active", "active"), Status.ACTIVE, "all active"),
        (("", "", "", "hold"), Status.HOLD, "the account's own mail status"),
        (("deleted", "hold", "inactive", "disabled"), Status.DELETED, "the first that is not active wins"),
        (("active", "hold", "inactive", "disabled"), Status.HOLD, "the mail domain before the user"),
        (("active", "active", "inactive", "disabled"), Status.INACTIVE, "the user before the mail user"),
        (("active", "overquota", "", ""), Status.OVERQUOTA, "a mail domain may be over quota"),
        (("", "removed", "", ""), Status.REMOVED, "a mail domain may be removed"),
        (("hold", "", "", ""), Status.INACTIVE, "hold is illegal for the domain: inactive"),
        (("", "", "disabled", ""), Status.INACTIVE, "disabled is illegal for the user: inactive"),
        (("", "", "", "sleeping"), Status.INACTIVE, "an illegal value is inactive"),
        (("ACTIVE", "", "", " Hold "), Status.HOLD, "values are compared without case"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_the_first_status_that_is_not_active_wins(words: tuple[str, ...], status: Status, sentence: str) -> None:
    assert effective_status(values(*words)) is status, sentence


def test_every_status_says_what_a_login_and_a_delivery_meet() -> None:
    assert set(DELIVERY) == set(Status)
    assert {status for status, delivery in DELIVERY.items() if delivery is Delivery.ACCEPTED} == {Status.ACTIVE}
    assert LOGS_IN.isdisjoint(GONE)
    assert all(DELIVERY[status] is Delivery.REFUSED for status in GONE)
