"""What all HTTP connections of a process share."""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.common.accountids import AccountIds
from services.common.authentication import Authentication
from services.common.inflight import Inflight
from services.http.callers import Callers
from services.http.jmap.usage import Usage
from services.http.logins import Logins
from services.http.mail.blobs import Blobs
from services.http.mail.views import Views
from services.http.push import Push

if TYPE_CHECKING:
    from services.common.bodyreader import BodyReader
    from services.common.directory import Directory
    from services.common.live import Live
    from services.common.login import Login
    from services.common.options import Configuration, HttpOptions
    from services.common.store import AccountFeed, Store


BODIES_SHARE = 4
"""One part in so many of `http.cachebytes` is for bodies; the rest for the accounts that are looked at."""


class HttpService:
    """The store, logins and options: everything that a handler reaches beside its request."""

    __slots__ = (
        "accounts",
        "blobs",
        "bodies",
        "callers",
        "configuration",
        "inflight",
        "logins",
        "push",
        "store",
        "usage",
        "views",
    )

    def __init__(
        self,
        store: Store,
        feed: AccountFeed,
        bodies: BodyReader,
        login: Login,
        directory: Directory,
        configuration: Live[Configuration],
    ) -> None:
        self.store = store
        self.accounts = AccountIds(store)
        self.configuration = configuration
        self.bodies = bodies
        self.blobs = Blobs(store.emails, bodies)
        self.views = Views(store.emails, lambda: _index_bytes(configuration.value))
        self.push = Push(feed)
        self.usage = Usage()
        self.inflight = Inflight(lambda: self.options.inflightbytes)
        self.logins = Logins(store.logins, directory, configuration)
        self.callers = Callers(Authentication("http", login, configuration), self.logins, self.accounts)

    @property
    def options(self) -> HttpOptions:
        """The options as they are now."""
        return self.configuration.value.http

    async def close(self) -> None:
        """Every connection is gone."""


def body_bytes(configuration: Configuration) -> int:
    """The part of `http.cachebytes` that is for bodies."""
    return configuration.http.cachebytes // BODIES_SHARE


def _index_bytes(configuration: Configuration) -> int:
    return configuration.http.cachebytes - body_bytes(configuration)
