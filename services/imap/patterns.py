"""LIST patterns (RFC 9051 section 6.3.9): `*` matches anything, `%` anything but the hierarchy separator. No I/O.

Matching takes time in proportion to the name's length whatever the pattern, so that no pattern can hold others up.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from services.common.domain import INBOX, SEPARATOR
from services.common.mailboxnames import canonical

Matcher = Callable[[str], bool]
_WILDCARDS: Final = re.compile(r"[*%]+")
_LINEAR: Final = 1
"""Wildcards that a regular expression handles without trying again and again."""


def matcher(reference: str, pattern: str) -> Matcher:
    """Whether a name matches `pattern` below `reference`, which simply comes before it."""
    text = _WILDCARDS.sub(lambda run: "*" if "*" in run.group() else "%", canonical(reference + pattern))
    if text == "*":
        return bool
    wildcards = len(_WILDCARDS.findall(text))
    if not wildcards:
        return text.__eq__
    match = _simple(text) if wildcards <= _LINEAR else _Automaton(text).match
    if not text.upper().startswith(("I", "*", "%")):
        return match
    folded = _simple(text.upper()) if wildcards <= _LINEAR else _Automaton(text.upper()).match
    return lambda name: match(name) or (name == INBOX and folded(name))


def _simple(text: str) -> Matcher:
    parts = {"*": ".*", "%": f"[^{SEPARATOR}]*"}
    expression = "".join([parts.get(character) or re.escape(character) for character in text])
    match = re.compile(expression, re.DOTALL).fullmatch
    return lambda name: match(name) is not None


class _Automaton:
    """All places in the pattern where a match could be, as bits of one number, moved on by each character.

    Bit n is set while the first n characters of the pattern match what was read of the name.
    """

    __slots__ = ("_any", "_end", "_literals", "_start", "_within")

    def __init__(self, text: str) -> None:
        self._end = 1 << len(text)
        self._any = sum(1 << place for place, character in enumerate(text) if character == "*")
        self._within = self._any | sum(1 << place for place, character in enumerate(text) if character == "%")
        self._literals: dict[str, int] = {}
        for place, character in enumerate(text):
            if character not in "*%":
                self._literals[character] = self._literals.get(character, 0) | 1 << place
        self._start = self._past_wildcards(1)

    def match(self, name: str) -> bool:
        """Whether the whole name matches."""
        places, literals = self._start, self._literals
        for character in name:
            stay = places & (self._any if character == SEPARATOR else self._within)
            places = self._past_wildcards(stay | (places & literals.get(character, 0)) << 1)
            if not places:
                return False
        return bool(places & self._end)

    def _past_wildcards(self, places: int) -> int:
        """A wildcard also matches nothing. Two never stand side by side, so one step is enough."""
        return places | (places & self._within) << 1
