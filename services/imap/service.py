"""What all IMAP sessions of a process share."""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.common.accountids import AccountIds
from services.common.authentication import Authentication
from services.common.inflight import Inflight
from services.imap.answers import Answers
from services.imap.cache import Cache
from services.imap.columns import ColumnReader
from services.imap.flagging import FlagWrites
from services.imap.mailboxes import Mailboxes
from services.imap.searching import Searches

if TYPE_CHECKING:
    from services.common.bodyreader import BodyReader
    from services.common.live import Live
    from services.common.login import Login
    from services.common.options import Configuration, ImapOptions
    from services.common.store import ChangeFeed, Store

BODIES_SHARE = 4
"""One part in so many of `imap.cachebytes` is for bodies; the rest for columns, answers and mailboxes."""


class ImapService:
    """The store and what is kept of it, logins and options: everything that a handler reaches beside its session."""

    __slots__ = (
        "accounts",
        "answers",
        "authentication",
        "bodies",
        "cache",
        "columns",
        "configuration",
        "flags",
        "inflight",
        "mailboxes",
        "searches",
        "store",
    )

    def __init__(
        self,
        store: Store,
        feed: ChangeFeed,
        bodies: BodyReader,
        login: Login,
        configuration: Live[Configuration],
    ) -> None:
        self.store = store
        self.accounts = AccountIds(store)
        self.bodies = bodies
        self.authentication = Authentication("imap", login, configuration)
        self.configuration = configuration
        self.cache = Cache(_cache_bytes(configuration.value))
        self.columns = ColumnReader(store, self.cache)
        self.mailboxes = Mailboxes(store, feed, self.cache, self.columns)
        self.flags = FlagWrites(store)
        self.answers = Answers(self.cache)
        self.searches = Searches(store, self.columns, self.cache)
        self.inflight = Inflight(lambda: self.options.inflightbytes)
        configuration.subscribe(lambda value: self.cache.resize(_cache_bytes(value)))

    @property
    def options(self) -> ImapOptions:
        """The options as they are now."""
        return self.configuration.value.imap

    async def close(self) -> None:
        """Every session is gone: finish what runs in the background."""
        await self.mailboxes.close()


def body_bytes(configuration: Configuration) -> int:
    """The part of `imap.cachebytes` that is for bodies."""
    return configuration.imap.cachebytes // BODIES_SHARE


def _cache_bytes(configuration: Configuration) -> int:
    return configuration.imap.cachebytes - body_bytes(configuration)
