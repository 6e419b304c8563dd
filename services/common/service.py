"""The main of `python -m services.NAME` for the front ends."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from services.common.connection import Connection
from services.common.directory import Directory
from services.common.limits import CommandSlots
from services.common.live import Live
from services.common.login import Login
from services.common.options import Configuration
from services.common.sessions import SessionRegistry
from services.common.store import ChangeFeed, Store
from services.common.streamserver import Listener, StreamServer, TurnedAway
from services.common.telemetry import Observer


@dataclass(slots=True)
class Runtime:
    """All that a front end is given. Everything lives as long as the process.

    `configuration.value` is replaced by a reload; `options` is the service's own group of it, live too.
    """

    name: str
    configuration: Live[Configuration]
    options: Live[Any]
    store: Store
    feed: ChangeFeed
    directory: Directory
    login: Login
    registry: SessionRegistry
    observer: Observer
    slots: CommandSlots


class FrontEnd(Protocol):
    """A protocol as `run` needs it: IMAP, POP3, LMTP."""

    @property
    def refusals(self) -> Mapping[TurnedAway, bytes]:
        """The words for clients that are turned away."""

    def connect(self, server: StreamServer, listener: Listener) -> Connection:
        """Make a connection."""

    def listeners(self) -> list[Listener]:
        """Where to listen, from the options; TLS listeners are left out where there is no certificate."""

    async def close(self) -> None:
        """Everything is drained: release what is held."""


def run(name: str, make: Callable[[Runtime], FrontEnd]) -> None:
    """Run the service until SIGTERM or SIGINT and leave through `sys.exit`: 0 after a drain, 78 for a configuration
    that cannot be used (with every error on standard error).

    `make` is called once, in the running event loop. Configuration, logs, store client, directory, logins, TLS,
    listeners, admin port, signals, reloads and the drain are taken care of here.
    """
