"""Text search: the same answers whether texts are made, not made yet, or remembered."""

from __future__ import annotations

import random

import pytest

from services.common.domain import (
    DELETED,
    Account,
    AppendItem,
    FlagChange,
    FlagOperation,
    MailboxId,
    MailboxStatus,
    Recipient,
    TextField,
    TextKey,
)
from services.common.errors import Reason, StoreError
from services.common.store import Store
from services.store.mailstore import indexing, search
from tests.support.stores import FREE, OpenStore, mail, request

MESSAGES = [
    mail("Straße nach Köln", "Der Zug fährt um neun."),
    mail("=?utf-8?q?Caf=C3=A9?= menu", 'soup 10% and "quotes"', extra="Cc: Eve <eve@example.net>"),
    mail("plain", "STRASSE in the body", extra="X-Tag: caf\r\nBcc: "),
    b"From: x@y.z\r\n\r\nno subject; a_b",
    b"Subject: html\r\nContent-Type: text/html; charset=iso-8859-1\r\n\r\n<b>Gr\xfc\xdfe</b> &amp; mehr",
    b"Subject: two\r\nX-Tag: other\r\nX-Tag: second caf\xc3\xa9\r\n\r\n",
]

CASES = [
    (TextKey(TextField.SUBJECT, "STRASSE"), [1]),
    (TextKey(TextField.SUBJECT, "straße"), [1]),
    (TextKey(TextField.SUBJECT, "café"), [2]),
    (TextKey(TextField.SUBJECT, "cafe\u0301"), [2]),
    (TextKey(TextField.SUBJECT, "pl"), [3]),
    (TextKey(TextField.SUBJECT, ""), [1, 2, 3, 5, 6]),
    (TextKey(TextField.SUBJECT, "x-tag"), []),
    (TextKey(TextField.FROM, "ada <ADA@example.org>"), [1, 2, 3]),
    (TextKey(TextField.FROM, "y.z"), [4]),
    (TextKey(TextField.TO, "bob"), [1, 2, 3]),
    (TextKey(TextField.CC, "eve@example"), [2]),
    (TextKey(TextField.BCC, ""), [3]),
    (TextKey(TextField.BODY, "strasse"), [3]),
    (TextKey(TextField.BODY, "10%"), [2]),
    (TextKey(TextField.BODY, 'and "quot'), [2]),
    (TextKey(TextField.BODY, "a_b"), [4]),
    (TextKey(TextField.BODY, "a%b"), []),
    (TextKey(TextField.BODY, "grüsse & m"), [5]),
    (TextKey(TextField.BODY, "<b>"), []),
    (TextKey(TextField.BODY, "e"), [1, 2, 3, 4, 5]),
    (TextKey(TextField.BODY, ""), [1, 2, 3, 4, 5, 6]),
    (TextKey(TextField.TEXT, "strasse"), [1, 3]),
    (TextKey(TextField.TEXT, ""), [1, 2, 3, 4, 5, 6]),
    (TextKey(TextField.TEXT, "caf"), [2, 3, 6]),
    (TextKey(TextField.HEADER, "caf", "x-tag"), [3, 6]),
    (TextKey(TextField.HEADER, "café", "X-TAG"), [6]),
    (TextKey(TextField.HEADER, "", "X-Tag"), [3, 6]),
    (TextKey(TextField.HEADER, "tag", "X-Tag"), []),
    (TextKey(TextField.HEADER, "", "X-T"), []),
    (TextKey(TextField.HEADER, "", "x.tag"), []),
    (TextKey(TextField.TEXT, "no such thing"), []),
    (TextKey(TextField.TEXT, "\0"), []),
]


@pytest.fixture
async def filled(store: Store, account: Account, inbox: MailboxStatus) -> None:
    """The messages above in INBOX."""
    items = [AppendItem(body) for body in MESSAGES]
    await store.append(account.account_id, inbox.name, items, FREE, request_id=request())


def fresh(opened: OpenStore) -> None:
    """Forget answers that were given."""
    opened.rules.forget_searches()


@pytest.mark.rfc("9051", "6.4.4")
@pytest.mark.usefixtures("filled")
@pytest.mark.parametrize("state", ["unmade", "kept", "made", "mixed", "remembered"])
async def test_keys(opened: OpenStore, account: Account, inbox: MailboxStatus, state: str) -> None:
    store = opened.store
    if state == "kept":
        await opened.rules.index(1)
    if state in ("made", "remembered"):
        await opened.rules.index()
    if state == "mixed":
        await opened.rules.index()
        await store.append(account.account_id, inbox.name, [AppendItem(MESSAGES[2])], FREE, request_id=request())
    keys = [key for key, _ in CASES]
    answers = await store.search_text(account.account_id, inbox.mailbox_id, keys)
    if state == "remembered":
        answers = await store.search_text(account.account_id, inbox.mailbox_id, keys)
    also = [7] if state == "mixed" else []
    expected = [uids + (also if 3 in uids else []) for _, uids in CASES]
    assert [list(answer) for answer in answers] == expected


@pytest.mark.usefixtures("filled")
async def test_from_a_uid_on(opened: OpenStore, account: Account, inbox: MailboxStatus) -> None:
    for _ in range(2):
        for uid_from in (1, 3, 4, 7):
            [answer] = await opened.store.search_text(
                account.account_id, inbox.mailbox_id, [TextKey(TextField.TEXT, "caf")], uid_from
            )
            assert list(answer) == [uid for uid in (2, 3, 6) if uid >= uid_from]
        await opened.rules.index()


@pytest.mark.usefixtures("filled")
async def test_answers_follow_the_mailbox(opened: OpenStore, account: Account, inbox: MailboxStatus) -> None:
    store, key = opened.store, [TextKey(TextField.TEXT, "strasse")]
    assert [list(uids) for uids in await store.search_text(account.account_id, inbox.mailbox_id, key)] == [[1, 3]]
    await store.append(account.account_id, "INBOX", [AppendItem(MESSAGES[0])], FREE, request_id=request())
    assert [list(uids) for uids in await store.search_text(account.account_id, inbox.mailbox_id, key)] == [[1, 3, 7]]
    await store.modify_flags(account.account_id, inbox.mailbox_id, [1], FlagChange(FlagOperation.ADD, DELETED))
    await store.expunge(account.account_id, inbox.mailbox_id)
    assert [list(uids) for uids in await store.search_text(account.account_id, inbox.mailbox_id, key)] == [[3, 7]]
    await opened.rules.index()
    fresh(opened)
    assert [list(uids) for uids in await store.search_text(account.account_id, inbox.mailbox_id, key)] == [[3, 7]]
    await store.copy_messages(account.account_id, inbox.mailbox_id, [7], "Archive", FREE, request_id=request())
    archive = await store.get_mailbox(account.account_id, "Archive")
    assert [list(uids) for uids in await store.search_text(account.account_id, archive.mailbox_id, key)] == [[1]]


async def test_lines_put_before_the_message_are_searched(opened: OpenStore, account: Account) -> None:
    prefix = b"Delivered-To: peculiar@example.org\r\n"
    [result] = await opened.store.deliver([Recipient(account.name, "", prefix)], mail(), request_id=request())
    keys = [TextKey(TextField.HEADER, "peculiar", "Delivered-To"), TextKey(TextField.TEXT, "peculiar")]
    for _ in range(2):
        answers = await opened.store.search_text(account.account_id, result.mailbox_id, keys)
        assert [list(uids) for uids in answers] == [[1], [1]]
        await opened.rules.index()
        fresh(opened)


@pytest.mark.parametrize("bound", ["MAX_INDEXED", "MAX_KEPT"])
async def test_long_texts_are_found_without_the_index(
    opened: OpenStore, account: Account, inbox: MailboxStatus, monkeypatch: pytest.MonkeyPatch, bound: str
) -> None:
    body = mail(text="lorem ipsum " * 20_000 + "needle in the hay")
    monkeypatch.setattr(indexing, bound, 100_000)
    monkeypatch.setattr(search, "SMALL", 0)
    await opened.store.append(account.account_id, "INBOX", [AppendItem(body)], FREE, request_id=request())
    await opened.rules.index()
    keys = [TextKey(TextField.BODY, "needle in"), TextKey(TextField.BODY, "ipsum lorem"), TextKey(TextField.BODY, "no")]
    answers = await opened.store.search_text(account.account_id, inbox.mailbox_id, keys)
    assert [list(uids) for uids in answers] == [[1], [1], []]


async def test_an_unknown_mailbox(store: Store, account: Account) -> None:
    with pytest.raises(StoreError) as caught:
        await store.search_text(account.account_id, MailboxId(999), [TextKey(TextField.TEXT, "x")])
    assert caught.value.reason is Reason.MAILBOX_NOT_FOUND


@pytest.mark.parametrize("seed", range(2))
async def test_large_mailboxes_answer_as_a_scan_would(
    opened: OpenStore, account: Account, inbox: MailboxStatus, seed: int
) -> None:
    """More messages than are scanned, so that the index decides; checked against Python's own `in`."""
    chance = random.Random(seed)
    letters = "abcdé ßü\"'%_*"
    texts = ["".join(chance.choices(letters, k=chance.randrange(60))) for _ in range(230)]
    items = [AppendItem(f"Subject: s\r\n\r\n{text}".encode()) for text in texts]
    await opened.store.append(account.account_id, "INBOX", items, FREE, request_id=request())
    await opened.rules.index(6)
    for _ in range(40):
        source = chance.choice(texts) or "a"
        at = chance.randrange(len(source))
        needle = source[at : at + chance.randrange(1, 8)]
        [found] = await opened.store.search_text(
            account.account_id, inbox.mailbox_id, [TextKey(TextField.BODY, needle.upper())]
        )
        folded = needle.casefold()
        assert list(found) == [uid for uid, text in enumerate(texts, 1) if folded in text.casefold()]
