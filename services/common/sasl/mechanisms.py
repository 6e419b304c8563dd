"""The table of mechanisms, and which of them are offered on a connection. No I/O."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import IntFlag
from functools import lru_cache
from typing import Final

from services.common.sasl import plain
from services.common.sasl.steps import Run


class Means(IntFlag):
    """What a mechanism needs to work, and a connection or the configuration has."""

    NONE = 0
    PASSWORDS = 1
    """A password may cross this connection."""


@dataclass(frozen=True, slots=True)
class Mechanism:
    """One row. `needs`: without these it cannot work here, and is neither offered nor taken."""

    name: str
    run: Callable[[bytes | None], Run]
    needs: Means


MECHANISMS: Final[dict[str, Mechanism]] = {
    row.name: row
    for row in (
        Mechanism("PLAIN", plain.plain, Means.PASSWORDS),
        Mechanism("LOGIN", plain.login, Means.PASSWORDS),
    )
}


@lru_cache
def offered(means: Means, listed: Sequence[str] = ()) -> tuple[str, ...]:
    """Names of the mechanisms for CAPA and CAPABILITY: those of `listed` (`sasl.mech_list`) in its order, else all in
    the table's, as far as they can work.
    """
    return tuple(name for name in listed or MECHANISMS if MECHANISMS[name].needs & means == MECHANISMS[name].needs)
