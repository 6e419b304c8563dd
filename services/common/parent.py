"""A service does not outlive the supervisor that started it.

A supervisor that is killed cannot stop anything any more; its services, left alone, would hold the ports and the
store's folder against the next start.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Mapping
from typing import Final

PARENT: Final = "MAILKEEP_PARENT"
"""The supervisor's process id, set by it."""
_PR_SET_PDEATHSIG: Final = 1
"""linux/prctl.h"""


def end_with_parent(environ: Mapping[str, str]) -> None:
    """Have the kernel send SIGTERM when the supervisor is gone; nothing where no supervisor started us."""
    parent = environ.get(PARENT, "")
    if not parent.isdigit() or not sys.platform.startswith("linux"):
        return
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGTERM))
    if os.getppid() != int(parent):
        # It went before the kernel was asked.
        sys.exit(1)
