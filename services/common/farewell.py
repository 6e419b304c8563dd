"""Which clock of a connection runs, and why the server ends a session by itself."""

from __future__ import annotations

from enum import Enum, IntEnum
from typing import Final


class Clock(IntEnum):
    """Which time-out runs. LOGIN is not put forward by anything; IDLE by each command that is understood (a result
    other than `bad`); DATA by every byte that arrives (a literal, a message).
    """

    LOGIN = 0
    IDLE = 1
    DATA = 2


# Names of the module are found faster than members of an enum, on a path that every command takes.
IDLE: Final = Clock.IDLE
DATA: Final = Clock.DATA


class Farewell(Enum):
    """Why the server ends the session by itself."""

    LOGIN = "login took too long"
    IDLE = "idle for too long"
    DATA = "data stopped coming"
    SHUTDOWN = "the service is going down"
    KICKED = "ended by an administrator"


EXPIRY: Final[dict[Clock, Farewell]] = {
    Clock.LOGIN: Farewell.LOGIN,
    Clock.IDLE: Farewell.IDLE,
    Clock.DATA: Farewell.DATA,
}
"""What it means that a clock ran out."""
