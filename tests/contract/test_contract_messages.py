"""What comes in by APPEND, and how it is read: sync, columns, bodies."""

from __future__ import annotations

import asyncio

import pytest

from services.common.domain import (
    DRAFT,
    FLAGGED,
    SEEN,
    Account,
    AppendItem,
    BodyRef,
    Column,
    FlagChange,
    FlagOperation,
    MailboxId,
    MailboxStatus,
    Quota,
)
from services.common.errors import Reason, StoreError
from services.common.store import Store
from tests.support.stores import FREE, OPTIONS, OpenStore, mail, request

ALL = Column(1023)


async def test_an_appended_message_is_as_it_was(opened: OpenStore, account: Account, inbox: MailboxStatus) -> None:
    store, body = opened.store, mail("Grüße", "Zeile\r\n\0\xff")
    item = AppendItem(body, SEEN | DRAFT, ("$Work",), internaldate=-3)
    result = await store.append(account.account_id, "inbox", [item], FREE, request_id=request())
    assert (result.mailbox_id, result.uidvalidity, list(result.uids)) == (inbox.mailbox_id, inbox.uidvalidity, [1])
    found = await store.fetch_columns(account.account_id, inbox.mailbox_id, ALL)
    assert list(found.uids) == [1]
    assert (found.internaldates[0], found.savedates[0]) == (-3, opened.clock.now)
    assert found.sizes[0] == len(body)
    assert b"Gr\xc3\xbc\xc3\x9fe" in found.envelopes[0]
    assert found.bodystructures[0].startswith(b'("TEXT" "PLAIN"')
    assert found.headers[0].startswith(b"Subject: ")
    assert found.previews[0].startswith("Zeile")
    assert found.header_sizes[0] == body.index(b"\r\n\r\n") + 4
    assert list(await store.read_bodies(account.account_id, found.locations)) == [body]
    assert (await store.get_mailbox(account.account_id, "INBOX")).size == len(body)


async def test_several_go_in_together_or_not_at_all(store: Store, account: Account, inbox: MailboxStatus) -> None:
    items = [AppendItem(mail(str(number))) for number in range(3)]
    with pytest.raises(StoreError) as caught:
        await store.append(account.account_id, "INBOX", items, Quota(max_messages=2), request_id=request())
    assert caught.value.reason is Reason.OVER_QUOTA
    bad = [*items, AppendItem(mail(), 0, ("not valid",))]
    with pytest.raises(StoreError) as caught:
        await store.append(account.account_id, "INBOX", bad, FREE, request_id=request())
    assert caught.value.reason is Reason.KEYWORD_INVALID
    assert await store.get_mailbox(account.account_id, "INBOX") == inbox
    assert (await store.open_account(account.name)).used_messages == 0
    result = await store.append(account.account_id, "INBOX", items, Quota(max_messages=3), request_id=request())
    assert list(result.uids) == [1, 2, 3]


async def test_quota_by_bytes_is_exact(store: Store, account: Account) -> None:
    body = mail()
    quota = Quota(max_bytes=2 * len(body))
    for _ in range(2):
        await store.append(account.account_id, "Sent", [AppendItem(body)], quota, request_id=request())
    with pytest.raises(StoreError) as caught:
        await store.append(account.account_id, "INBOX", [AppendItem(b"x")], quota, request_id=request())
    assert caught.value.reason is Reason.OVER_QUOTA


async def test_what_append_refuses(store: Store, account: Account) -> None:
    large = AppendItem(b"x" * (OPTIONS.maxmessagesize + 1))
    for mailbox, item, reason in (
        ("nope", AppendItem(b"x"), Reason.MAILBOX_NOT_FOUND),
        ("INBOX", large, Reason.MESSAGE_TOO_LARGE),
        ("INBOX", AppendItem(b"x", 1 << 20), Reason.INVALID_ARGUMENT),
        ("INBOX", AppendItem(b"x", 0, tuple(f"k{number}" for number in range(56))), Reason.KEYWORD_LIMIT),
    ):
        with pytest.raises(StoreError) as caught:
            await store.append(account.account_id, mailbox, [item], FREE, request_id=request())
        assert caught.value.reason is reason
    assert (await store.open_account(account.name)).used_messages == 0
    for request_id in ("", "x" * 200):
        with pytest.raises(StoreError) as caught:
            await store.append(account.account_id, "INBOX", [AppendItem(b"x")], FREE, request_id=request_id)
        assert caught.value.reason is Reason.INVALID_ARGUMENT


async def test_a_repeated_append_happens_once(store: Store, account: Account, inbox: MailboxStatus) -> None:
    items = [AppendItem(mail("one")), AppendItem(mail("two"))]
    again = request()
    first = await store.append(account.account_id, "INBOX", items, FREE, request_id=again)
    await store.append(account.account_id, "INBOX", items, FREE, request_id=request())
    assert await store.append(account.account_id, "INBOX", items, FREE, request_id=again) == first
    assert (await store.get_mailbox(account.account_id, "INBOX")).messages == 4


async def test_a_repeat_while_the_first_still_runs(store: Store, account: Account) -> None:
    again = request()
    items = [AppendItem(mail())]
    results = await asyncio.gather(
        *(store.append(account.account_id, "INBOX", items, FREE, request_id=again) for _ in range(5))
    )
    assert all(result == results[0] for result in results)
    assert (await store.get_mailbox(account.account_id, "INBOX")).messages == 1


async def test_requests_are_forgotten_after_an_hour(opened: OpenStore, account: Account) -> None:
    again, items = request(), [AppendItem(mail())]
    await opened.store.append(account.account_id, "INBOX", items, FREE, request_id=again)
    opened.clock.now += 3590
    await opened.rules.sweep()
    await opened.store.append(account.account_id, "INBOX", items, FREE, request_id=again)
    opened.clock.now += 20
    await opened.rules.sweep()
    await opened.store.append(account.account_id, "INBOX", items, FREE, request_id=again)
    assert (await opened.store.get_mailbox(account.account_id, "INBOX")).messages == 2


@pytest.mark.rfc("8474", "5.2")
async def test_replies_share_a_thread(store: Store, account: Account, inbox: MailboxStatus) -> None:
    bodies = [
        mail("Re: plan", message_id="<2@x>", references="<1@x>"),
        mail("plan", message_id="<1@x>"),
        mail("other", message_id="<9@x>"),
        mail("no id"),
        mail("Re: Re: plan", message_id="<3@x>", references="<0@x> <2@x>"),
    ]
    for body in bodies:
        await store.append(account.account_id, "INBOX", [AppendItem(body)], FREE, request_id=request())
    found = await store.fetch_columns(account.account_id, inbox.mailbox_id, Column.CONTENT)
    threads = list(found.thread_ids)
    assert threads[0] == threads[1] == threads[4]
    assert len({*threads}) == 3
    assert len({*found.content_ids}) == 5


async def test_columns_that_were_asked_for_and_no_others(store: Store, account: Account, inbox: MailboxStatus) -> None:
    items = [AppendItem(mail(f"n{number}")) for number in range(1, 6)]
    await store.append(account.account_id, "INBOX", items, FREE, request_id=request())
    some = await store.fetch_columns(account.account_id, inbox.mailbox_id, Column.SIZE | Column.PREVIEW, [4, 2, 99, 2])
    assert list(some.uids) == [2, 4]
    assert list(some.sizes) == [len(items[1].body), len(items[3].body)]
    assert some.previews == ["Some text.", "Some text."]
    assert not any((some.envelopes, some.locations, some.internaldates, some.content_ids))
    none = await store.fetch_columns(account.account_id, inbox.mailbox_id, ALL, [77])
    assert (len(none.uids), none.envelopes) == (0, [])
    assert list((await store.fetch_columns(account.account_id, inbox.mailbox_id, Column(0))).uids) == [1, 2, 3, 4, 5]
    for column in Column:
        one = await store.fetch_columns(account.account_id, inbox.mailbox_id, column, [3])
        assert list(one.uids) == [3]
    with pytest.raises(StoreError) as caught:
        await store.fetch_columns(account.account_id, MailboxId(999), ALL)
    assert caught.value.reason is Reason.MAILBOX_NOT_FOUND


@pytest.mark.parametrize("uids", [range(1, 301), range(1, 301, 2), [1, 40, 80, 120, 160, 161, 162, 200, 240, 280, 300]])
async def test_columns_of_many(store: Store, account: Account, inbox: MailboxStatus, uids: range) -> None:
    items = [AppendItem(b"Subject: %d\r\n\r\n" % number) for number in range(1, 301)]
    await store.append(account.account_id, "INBOX", items, FREE, request_id=request())
    found = await store.fetch_columns(account.account_id, inbox.mailbox_id, Column.HEADERS, uids)
    assert list(found.uids) == list(uids)
    assert found.headers == [b"Subject: %d\r\n" % number for number in uids]


async def test_sync_gives_what_changed_since(store: Store, account: Account, inbox: MailboxStatus) -> None:
    items = [AppendItem(mail(), FLAGGED if number == 1 else 0) for number in range(4)]
    await store.append(account.account_id, "INBOX", items, FREE, request_id=request())
    whole = await store.sync_mailbox(account.account_id, "INBOX")
    assert (whole.since, list(whole.changed.uids), list(whole.changed.flags)) == (0, [1, 2, 3, 4], [0, FLAGGED, 0, 0])
    assert not whole.expunged
    change = FlagChange(FlagOperation.ADD, SEEN)
    await store.modify_flags(account.account_id, inbox.mailbox_id, [3], change)
    later = await store.sync_mailbox(account.account_id, inbox.mailbox_id, whole.status.modseq)
    assert (list(later.changed.uids), list(later.changed.flags)) == ([3], [SEEN])
    assert list(later.changed.modseqs) == [later.status.modseq]
    assert (later.since, later.status.unseen) == (whole.status.modseq, 3)
    nothing = await store.sync_mailbox(account.account_id, inbox.mailbox_id, later.status.modseq)
    assert (len(nothing.changed), len(nothing.expunged), nothing.status) == (0, 0, later.status)


@pytest.mark.rfc("3501", "2.3.2")
async def test_recent_messages_are_told_once(store: Store, account: Account) -> None:
    for _ in range(2):
        await store.append(account.account_id, "INBOX", [AppendItem(mail())], FREE, request_id=request())
    peek = await store.sync_mailbox(account.account_id, "INBOX")
    assert peek.status.recent_from == 1
    first = await store.sync_mailbox(account.account_id, "INBOX", claim_recent=True)
    assert first == peek
    second = await store.sync_mailbox(account.account_id, "INBOX", claim_recent=True)
    assert second.status.recent_from == second.status.uidnext == 3
    await store.append(account.account_id, "INBOX", [AppendItem(mail())], FREE, request_id=request())
    claims = await asyncio.gather(
        *(store.sync_mailbox(account.account_id, "INBOX", claim_recent=True) for _ in range(6))
    )
    assert sorted(each.status.recent_from for each in claims) == [3, 4, 4, 4, 4, 4]


async def test_bodies_by_reference(store: Store, account: Account, inbox: MailboxStatus) -> None:
    bodies = [mail(text="x" * 700_000), b"", mail("short"), mail("short")]
    items = [AppendItem(body) for body in bodies]
    await store.append(account.account_id, "INBOX", items, FREE, request_id=request())
    refs = (await store.fetch_columns(account.account_id, inbox.mailbox_id, Column.LOCATION)).locations
    assert list(await store.read_bodies(account.account_id, refs)) == bodies
    assert list(await store.read_bodies(account.account_id, [refs[2], refs[2]])) == [bodies[2]] * 2
    assert list(await store.read_bodies(account.account_id, [])) == []
    for offset in (0, 1, 650_000, len(bodies[0])):
        chunks = [chunk async for chunk in store.stream_body(account.account_id, refs[0], offset)]
        assert b"".join(chunks) == bodies[0][offset:]


async def test_nobody_reads_what_is_not_theirs(store: Store, account: Account, inbox: MailboxStatus) -> None:
    await store.append(account.account_id, "INBOX", [AppendItem(mail("secret"))], FREE, request_id=request())
    [ref] = (await store.fetch_columns(account.account_id, inbox.mailbox_id, Column.LOCATION)).locations
    other = await store.open_account("eve@example.org")
    for stolen in (ref, BodyRef(ref.digest, 5, ref.segment, ref.offset), BodyRef(b"\0" * 32, 5, 1, 0)):
        with pytest.raises(StoreError) as caught:
            await store.read_bodies(other.account_id, [stolen])
        assert caught.value.reason is Reason.MESSAGE_NOT_FOUND
        with pytest.raises(StoreError) as caught:
            async for _ in store.stream_body(other.account_id, stolen):
                pass
        assert caught.value.reason is Reason.MESSAGE_NOT_FOUND


async def test_a_wrong_place_is_looked_up_again(store: Store, account: Account, inbox: MailboxStatus) -> None:
    body = mail("moved")
    await store.append(account.account_id, "INBOX", [AppendItem(body)], FREE, request_id=request())
    [ref] = (await store.fetch_columns(account.account_id, inbox.mailbox_id, Column.LOCATION)).locations
    elsewhere = BodyRef(ref.digest, ref.length, ref.segment + 7, ref.offset + 1, ref.prefix)
    assert list(await store.read_bodies(account.account_id, [elsewhere])) == [body]
