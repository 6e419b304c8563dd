"""How many files and sockets the process may have open.

The usual limit of a shell or of systemd is 1,024, far below `maxsessions` of IMAP and below what a backup of a large
store opens. It is there for programs that use select(2); the hard limit is what the system really allows.
"""

from __future__ import annotations

import contextlib
import resource
from typing import Final

ENOUGH: Final = 1 << 20


def raise_limit() -> int:
    """Allow the process as many as it may have, up to `ENOUGH`; returns how many it has now."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = ENOUGH if hard == resource.RLIM_INFINITY else min(hard, ENOUGH)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return ENOUGH if soft == resource.RLIM_INFINITY else soft
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        return wanted
    return soft
