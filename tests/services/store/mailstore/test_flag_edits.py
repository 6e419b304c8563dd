"""Changes of flags that many sessions make together: one that fails by itself fails alone."""

from __future__ import annotations

from services.common.domain import FLAGGED, AppendItem, FlagEdit, FlagEdited, FlagOperation, Quota
from services.common.errors import Reason, StoreError
from services.store.backends.memory import open_memory
from services.store.mailstore import MailStore


async def test_a_failure_of_the_engine_concerns_its_change_only() -> None:
    database, bodies = await open_memory()
    store = MailStore(database, bodies)
    try:
        account = await store.open_account("anna@example.com")
        inbox = await store.get_mailbox(account.account_id, "INBOX")
        items = [AppendItem(b"Subject: x\r\n\r\n") for _ in range(3)]
        await store.append(account.account_id, "INBOX", items, Quota(), request_id="one")
        where, beyond = (account.account_id, inbox.mailbox_id), 1 << 70  # no engine has numbers like that
        first, bad, last = await store.modify_each(
            [FlagEdit(*where, uid, FlagOperation.ADD, FLAGGED) for uid in (1, beyond, 3)]
        )
        assert isinstance(first, FlagEdited)
        assert isinstance(last, FlagEdited)
        assert isinstance(bad, StoreError)
        assert bad.reason is Reason.INTERNAL
        assert list((await store.sync_mailbox(*where)).changed.flags) == [FLAGGED, 0, FLAGGED]
    finally:
        await store.close()
        await bodies.close()
        await database.close()
