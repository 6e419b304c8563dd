"""Services say when they are up: the receiving side of sd_notify(3)."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Callable
from typing import Final

_CREDENTIALS: Final = struct.Struct("3i")
"""struct ucred: pid, uid, gid."""
_MESSAGE_BYTES: Final = 4096


class ReadinessSocket:
    """Calls `told` with the process id of whoever says READY=1. To be made in a running event loop.

    The name is one that the kernel chose, and the sender's process id is the kernel's word too.
    """

    def __init__(self, told: Callable[[int], None]) -> None:
        self._told = told
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self._socket.setblocking(False)
        self._socket.bind("")
        asyncio.get_running_loop().add_reader(self._socket.fileno(), self._read)

    @property
    def name(self) -> str:
        """What NOTIFY_SOCKET is to be."""
        return f"@{self._socket.getsockname()[1:].decode()}"

    def close(self) -> None:
        """Hear no more."""
        asyncio.get_running_loop().remove_reader(self._socket.fileno())
        self._socket.close()

    def _read(self) -> None:
        try:
            message, ancillary, _, _ = self._socket.recvmsg(
                _MESSAGE_BYTES, socket.CMSG_SPACE(_CREDENTIALS.size), socket.MSG_DONTWAIT
            )
        except BlockingIOError:
            return
        pids = [
            _CREDENTIALS.unpack(data[: _CREDENTIALS.size])[0]
            for level, kind, data in ancillary
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_CREDENTIALS)
        ]
        if pids and b"READY=1" in message.split(b"\n"):
            self._told(pids[0])
