"""Mail for a JMAP client of the tests, and what queries of it find."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

from services.common.domain import AppendItem, Quota
from tests.support.http import USER, Jmap
from tests.support.store import StoreFixture

MIXED = (
    b"Received: from x by y; Mon, 2 Jan 2006 15:04:05 -0700\r\n"
    b'From: =?utf-8?q?J=C3=BCrgen?= <j@example.org>, Team: a@x.org, "B, C" <b@x.org>;\r\n'
    b"To: Anna <anna@example.com>\r\nSubject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\n from afar\r\n"
    b"Date: Mon, 2 Jan 2006 15:04:05 -0700\r\nMessage-ID: <one@example.org>\r\n"
    b"References: <zero@example.org>\r\n <half@example.org>\r\nList-Post: <mailto:list@example.org>\r\n"
    b"X-Twice: one\r\nX-Twice: =?utf-8?q?zw=C3=B6lf?=\r\nMIME-Version: 1.0\r\n"
    b"Content-Type: multipart/mixed; boundary=m\r\n\r\n--m\r\nContent-Type: multipart/alternative; boundary=a\r\n\r\n"
    b"--a\r\nContent-Type: text/plain; charset=iso-8859-1\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n"
    b"Gr=FC=DFe\r\n--a\r\nContent-Type: text/html; charset=utf-8\r\n\r\n<p>Gr\xc3\xbc\xc3\x9fe</p>\r\n--a--\r\n"
    b'--m\r\nContent-Type: application/pdf; name="a b.pdf"\r\nContent-Disposition: attachment\r\n'
    b"Content-Transfer-Encoding: base64\r\nContent-ID: <c1@x>\r\n\r\nYWJj\r\n--m--\r\n"
)


async def filled(store: StoreFixture, *bodies: bytes, mailbox: str = "INBOX", **what: Any) -> None:
    """Messages for anna, one after the other."""
    account = await store.store.open_account(USER)
    for number, body in enumerate(bodies):
        item = AppendItem(body, **{"internaldate": 1_700_000_000 + number, **what})
        await store.store.append(account.account_id, mailbox, [item], Quota(), request_id=str(uuid4()))


async def ids(jmap: Jmap, **what: Any) -> list[str]:
    """What a query finds."""
    found: list[str] = (await jmap.call("Email/query", **what))["ids"]
    return found


async def subjects(jmap: Jmap, **what: Any) -> list[str]:
    """The subjects of what a query finds, in its order."""
    answer = await jmap.call("Email/get", ids=await ids(jmap, **what), properties=["subject"])
    return [email["subject"] for email in answer["list"]]
