"""The index of an account, followed through whatever happens, equals one that is made anew."""

from __future__ import annotations

import asyncio
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.common.domain import DELETED, SEEN, FlagChange, FlagOperation, Recipient
from services.common.store import Store
from services.http.mail.index import Index
from tests.support.stores import FREE, mail, memory, request

NAMES = ("INBOX", "Archive", "Trash")
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["deliver", "reply", "seen", "unseen", "keyword", "deleted", "copy", "move", "remove", "look"]),
        st.integers(0, 4),
        st.integers(0, 2),
    ),
    max_size=50,
)


def state(index: Index) -> dict[str, Any]:
    """Everything that is asked of an index."""
    return {
        "emails": {
            number: (email.thread, sorted(email.places), sorted(index.keywords(email)))
            for number, email in index.emails.items()
        },
        "threads": {number: index.in_thread(number) for number in index.threads},
        "order": index.order,
        "boxes": index.boxes,
        "counts": {
            number: tuple(getattr(index.count(number), name) for name in index.count(number).__slots__)
            for number in index.boxes
        },
        "modseq": index.modseq,
    }


@settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))
@given(STEPS)
def test_following_gives_what_making_anew_gives(steps: list[tuple[str, int, int]]) -> None:
    asyncio.run(play(steps))


async def play(steps: list[tuple[str, int, int]]) -> None:
    """Do these things, and look now and then."""
    async with memory(None) as opened:  # type: ignore[arg-type]
        store = opened.store
        account = await store.open_account("ada@example.org")
        followed = Index()
        followed.apply(await store.emails.sync(account.account_id))
        for name, number, which in steps:
            if name == "look":
                followed.apply(await store.emails.sync(account.account_id, followed.modseq))
            else:
                await step(store, account.account_id, name, number, NAMES[which])
        followed.apply(await store.emails.sync(account.account_id, followed.modseq))
        made = Index()
        for _ in made.applying(await store.emails.sync(account.account_id), 3):
            pass
        assert state(followed) == state(made)


async def step(store: Store, account_id: Any, name: str, number: int, mailbox: str) -> None:
    """One thing that happens."""
    box = await store.get_mailbox(account_id, mailbox)
    where = (account_id, box.mailbox_id)
    uids = list((await store.sync_mailbox(*where)).changed.uids)[: number + 1]
    target = NAMES[(NAMES.index(mailbox) + 1) % 3]
    changes = {
        "seen": FlagChange(FlagOperation.ADD, SEEN),
        "unseen": FlagChange(FlagOperation.REMOVE, SEEN),
        "keyword": FlagChange(FlagOperation.ADD, 0, (f"$Word{number}",)),
        "deleted": FlagChange(FlagOperation.ADD if number % 2 else FlagOperation.REMOVE, DELETED),
    }
    if name in changes:
        await store.modify_flags(*where, uids, changes[name])
    elif name in ("deliver", "reply"):
        references = f"<{number}@x>" if name == "reply" else ""
        body = mail(message_id=f"<{number}@x>", references=references)
        await store.deliver([Recipient("ada@example.org", mailbox)], body, request_id=request())
    elif name in ("copy", "move"):
        await store.copy_messages(*where, uids, target, FREE, move=name == "move", request_id=request())
    elif name == "remove":
        await store.expunge(*where, uids, regardless=True)
