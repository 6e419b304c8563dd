"""Memory that was freed, given back to the system.

The C library keeps freed blocks for the next allocation wherever something that is still used lies above them: after
one message of 64 MB a front end may stay that much larger for ever. A process looks now and then how much lies idle
and, if that is worth it, has it given back. Only with glibc (Linux); elsewhere nothing is done.
"""

from __future__ import annotations

import ctypes
from typing import Final

WORTH_BYTES: Final = 8 << 20
"""Idle memory from which on it is given back; taking it again costs page faults."""


class _MallocInfo(ctypes.Structure):
    """`struct mallinfo2` (mallinfo(3))."""

    _fields_ = [
        (name, ctypes.c_size_t)
        for name in (
            "arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks", "fordblks", "keepcost",
        )
    ]  # fmt: skip


class Heap:
    """The process's heap. Its methods wait for the allocator's locks: call them in a thread."""

    def __init__(self) -> None:
        self._library = ctypes.CDLL(None)
        self.known = hasattr(self._library, "mallinfo2") and hasattr(self._library, "malloc_trim")
        """Whether the C library can be asked."""
        if self.known:
            self._library.mallinfo2.restype = _MallocInfo
            self._library.malloc_trim.argtypes = (ctypes.c_size_t,)

    def idle_bytes(self) -> int:
        """Bytes that are free and may still be resident; 0 where that is not known."""
        return int(self._library.mallinfo2().fordblks) if self.known else 0

    def give_back(self) -> bool:
        """Give idle memory back if there is enough of it; whether that was so."""
        if self.idle_bytes() < WORTH_BYTES:
            return False
        self._library.malloc_trim(0)
        return True
