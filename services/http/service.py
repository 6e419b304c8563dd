"""What all HTTP connections of a process share."""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.common.accountids import AccountIds
from services.common.authentication import Authentication
from services.http.callers import Callers
from services.http.logins import Logins

if TYPE_CHECKING:
    from services.common.directory import Directory
    from services.common.live import Live
    from services.common.login import Login
    from services.common.options import Configuration, HttpOptions
    from services.common.store import Store


class HttpService:
    """The store, logins and options: everything that a handler reaches beside its request."""

    __slots__ = ("accounts", "callers", "configuration", "logins", "store")

    def __init__(self, store: Store, login: Login, directory: Directory, configuration: Live[Configuration]) -> None:
        self.store = store
        self.accounts = AccountIds(store)
        self.configuration = configuration
        self.logins = Logins(store.logins, directory, configuration)
        self.callers = Callers(Authentication("http", login, configuration), self.logins, self.accounts)

    @property
    def options(self) -> HttpOptions:
        """The options as they are now."""
        return self.configuration.value.http

    async def close(self) -> None:
        """Every connection is gone."""
