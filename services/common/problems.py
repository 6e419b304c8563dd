"""What is wrong with a configuration."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Problem:
    """One error: which option (or options), its value, what is wrong and allowed, and where it was set."""

    option: str
    value: str
    text: str
    source: str = ""

    def __str__(self) -> str:
        value = f" {self.value!r}" if self.value else ""
        return f"{self.option}:{value} {self.text}{f' ({self.source})' if self.source else ''}"


class ConfigurationError(Exception):
    """The configuration cannot be used. Its text names every problem, one a line."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        count = f"{len(problems)} errors" if len(problems) > 1 else "an error"
        super().__init__("\n".join([f"the configuration has {count}:", *(f"  {problem}" for problem in problems)]))
