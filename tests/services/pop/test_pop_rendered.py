"""Answers that are kept: for which maildrop, and how many."""

from __future__ import annotations

from array import array
from typing import NoReturn

from services.common.domain import AccountId
from services.pop.rendered import Rendered

ONE, TWO, THREE = (("UIDL", AccountId(number)) for number in (1, 2, 3))


def fail() -> NoReturn:
    raise AssertionError("it is kept")


def test_an_answer_is_that_of_one_column() -> None:
    rendered, column = Rendered(), array("I", [1])
    assert rendered.get(ONE, column, lambda: b"a") == b"a"
    assert rendered.get(ONE, column, fail) == b"a"
    assert rendered.get(ONE, array("I", [1]), lambda: b"b") == b"b"


def test_the_longest_unused_go() -> None:
    rendered, column = Rendered(limit=10), array("I", [1])
    for key in (ONE, TWO):
        rendered.get(key, column, lambda: b"12345")
    rendered.get(ONE, column, fail)
    rendered.get(THREE, column, lambda: b"12345")
    rendered.get(ONE, column, fail)
    assert rendered.get(TWO, column, lambda: b"new") == b"new"
    assert (
        rendered.get(("LIST", AccountId(1)), column, lambda: b"longer than all of them") == b"longer than all of them"
    )
    assert rendered.get(ONE, column, lambda: b"again") == b"again"
