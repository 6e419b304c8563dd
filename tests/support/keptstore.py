"""Keeps a small store of the present schema for the tests: tests/services/store/kept/schemaN.tar.xz.

`scripts/keep-store` is run once for each schema, by the code that brings it, before it is released; a kept store is
never made again, for then it would no longer be what that release left.
"""

from __future__ import annotations

import asyncio
import sys
import tarfile
import tempfile
from pathlib import Path

from services.common.domain import (
    FLAGGED,
    SEEN,
    AppendItem,
    FlagChange,
    FlagOperation,
    LoginSession,
    Quota,
    Recipient,
)
from services.common.options import StoreOptions
from services.store.embedded import EmbeddedStore
from services.store.mailstore import MailStore
from services.store.schema import SCHEMA_VERSION

KEPT = Path(__file__).parents[1] / "services" / "store" / "kept"
NAMES = ("anna@example.com", "bert@example.com")


def message(number: int) -> bytes:
    """One message; the first has text beyond ASCII."""
    text = "Grüße" if number == 1 else f"word{number}"
    return (
        f"Message-ID: <{number}@example.org>\r\nReferences: <1@example.org>\r\nFrom: a@example.org\r\n"
        f"Subject: number {number}\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n{text}\r\n"
    ).encode()


async def fill(store: MailStore) -> None:
    """Every table gets a row."""
    for number in range(1, 5):
        recipients = [Recipient(name, prefix=b"X-Prefix: y\r\n") for name in NAMES]
        await store.deliver(recipients, message(number), request_id=f"delivery-{number}")
    account = await store.open_account(NAMES[0])
    inbox = await store.get_mailbox(account.account_id, "INBOX")
    where = (account.account_id, inbox.mailbox_id)
    change = FlagChange(FlagOperation.ADD, SEEN | FLAGGED, ("$Forwarded",))
    await store.modify_flags(*where, [1], change)
    await store.copy_messages(*where, [1], "Archive", Quota(), request_id="copy")
    await store.copy_messages(*where, [2], "Trash", Quota(), move=True, request_id="move")
    await store.append(account.account_id, "Drafts", [AppendItem(message(9))], Quota(), request_id="append")
    await store.create_mailbox(account.account_id, "Old")
    await store.delete_mailbox(account.account_id, "Old")
    await store.emails.upload(account.account_id, b"a blob")
    await store.subscribe(account.account_id, "Lists/None", True)
    await store.logins.open(account.account_id, LoginSession(bytes(32), "", "192.0.2.1", False, "", b""), 366 * 86_400)
    await store.index()
    await store.deliver([Recipient(NAMES[1])], message(5), request_id="not indexed yet")


async def main() -> None:
    """Make the store and pack it."""
    kept = KEPT / f"schema{SCHEMA_VERSION}.tar.xz"
    if kept.exists():
        sys.exit(f"{kept} is there and stays as it is")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "store")
        engine = await EmbeddedStore.open(str(path), StoreOptions())
        store = MailStore(engine.database, engine.bodies, StoreOptions())
        await fill(store)
        await store.close()
        await engine.close()
        with tarfile.open(kept, "w:xz", preset=9) as archive:
            for file in sorted(path.rglob("*")):
                archive.add(file, file.relative_to(path), recursive=False)
    print(kept, kept.stat().st_size, "bytes")  # noqa: T201 - for whoever runs it


if __name__ == "__main__":
    asyncio.run(main())
