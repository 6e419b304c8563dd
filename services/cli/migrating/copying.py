"""One account's copy from an IMAP server into the store."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from services.cli.connecting import configuration
from services.cli.mail import open_account, progress_bars
from services.cli.migrating.imapsource import ImapSource, Server
from services.cli.migrating.journal import Journal
from services.cli.transfer.importing import Importer, Tally
from services.common.directory import Entry
from services.common.domain import Account, Quota
from services.common.errors import Reason, StoreError
from services.common.store import Store

if TYPE_CHECKING:
    from services.common.storeclient import StoreClient


@dataclass(slots=True)
class Copy:
    """What is asked for, and what became of it.

    `entry`: what the directory says of the account. `matched`: whether any mailbox was to be copied.
    """

    account: str
    entry: Entry | None
    server: Server
    folders: tuple[str, ...]
    create: bool
    tally: Tally = field(default_factory=Tally)
    renamed: dict[str, str] = field(default_factory=dict)
    matched: bool = False

    def wants(self, mailbox: str) -> bool:
        """Whether the mailbox is one of those asked for."""
        return not self.folders or any(fnmatchcase(mailbox, pattern) for pattern in self.folders)


async def run(copy: Copy, client: StoreClient) -> None:
    """Copy it. Raises StoreError, SourceError, OSError; what was copied until then stays."""
    known = configuration()
    account = await open_account(client, copy.account, create=copy.create or copy.entry is not None)
    validities = {each.name: each.uidvalidity for each in await client.list_mailboxes(account.account_id)}
    quota = copy.entry.quota if copy.entry else Quota()
    journal = Journal(known.data, copy.account, str(copy.server))
    source = ImapSource(
        copy.server, journal, known.store.maxmessagesize, copy.wants, lambda mailbox: validities.get(mailbox, 0)
    )
    try:
        await asyncio.to_thread(source.open)
        with progress_bars() as progress:
            await Importer(client, account, quota, progress, copy.tally).run(source)
        await _subscribe(client, account, source.subscriptions())
    finally:
        source.close()
        journal.close()
        copy.tally.refused += source.left.too_large
        copy.renamed = source.left.renamed
        copy.matched = source.matched


async def _subscribe(store: Store, account: Account, names: frozenset[str]) -> None:
    """Also to what is not there: somebody may make it again."""
    for name in sorted(names):
        try:
            await store.subscribe(account.account_id, name, True)
        except StoreError as error:
            if error.reason is not Reason.MAILBOX_NAME_INVALID:
                raise
