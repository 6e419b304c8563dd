"""A JMAP client library that others wrote (jmapc) has its usual session with the service, by HTTPS."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import jmapc
import pytest
from jmapc import methods

from services.common.options import HttpOptions
from tests.support.certificates import make_certificate
from tests.support.http import USER, http_service
from tests.support.people import PASSWORD
from tests.support.store import StoreFixture
from tests.support.stores import mail

ATTACHED = (
    b"Subject: with a file\r\nFrom: J <j@example.org>\r\nContent-Type: multipart/mixed; boundary=m\r\n\r\n"
    b"--m\r\nContent-Type: text/plain\r\n\r\nhello\r\n"
    b"--m\r\nContent-Type: application/pdf\r\nContent-Disposition: attachment; filename=a.pdf\r\n\r\nabc\r\n--m--\r\n"
)


async def test_the_usual_session_of_a_client(
    store: StoreFixture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate = make_certificate(tmp_path)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate.certfile))
    await store.account(USER, mail("first"), ATTACHED)
    async with http_service(store, certificate=certificate, http=HttpOptions()) as http:
        host = f"localhost:{http.port(tls=True)}"
        client = jmapc.Client.create_with_password(host, USER, PASSWORD)
        try:
            await asyncio.to_thread(_session, client, tmp_path)
        finally:
            client.requests_session.close()


def _session(client: Any, folder: Path) -> None:
    """Mailboxes, search, reading, an attachment, a draft, changes."""
    assert client.jmap_session.username == USER
    assert client.request(methods.CoreEcho(data={"hello": "world"})).data == {"hello": "world"}
    inbox = next(box for box in client.request(methods.MailboxGet(ids=None)).data if box.role == "inbox")
    assert (inbox.name, inbox.total_emails, inbox.unread_emails) == ("INBOX", 2, 2)
    results = client.request([
        methods.EmailQuery(
            filter=jmapc.EmailQueryFilterCondition(in_mailbox=inbox.id, has_attachment=True),
            sort=[jmapc.Comparator(property="receivedAt", is_ascending=False)], limit=1,
        ),
        methods.EmailGet(ids=jmapc.Ref("/ids"), fetch_all_body_values=True),
        methods.ThreadGet(ids=jmapc.Ref("/list/*/threadId")),
        methods.SearchSnippetGet(
            filter=jmapc.EmailQueryFilterCondition(text="file"), ids=jmapc.ResultReference(
                name="Email/query", path="/ids", result_of="0.Email/query",
            ),
        ),
    ], raise_errors=True)  # fmt: skip
    [email] = results[1].response.data
    assert (email.subject, email.mail_from[0].email, email.has_attachment) == ("with a file", "j@example.org", True)
    assert email.body_values["1"].value == "hello"
    assert results[2].response.data[0].email_ids == [email.id]
    assert "<mark>file</mark>" in results[3].response.data[0].subject
    client.download_attachment(email.attachments[0], folder / "a.pdf")
    assert (folder / "a.pdf").read_bytes() == b"abc"
    (folder / "b.txt").write_bytes(b"text")
    blob = client.upload_blob(folder / "b.txt")
    assert (blob.type, blob.size) == ("text/plain", 4)
    made = client.request(methods.EmailSet(create={"draft": jmapc.Email(
        mail_from=[jmapc.EmailAddress(name="Anna", email=USER)], subject="a draft", keywords={"$draft": True},
        mailbox_ids={inbox.id: True}, body_values={"b": jmapc.EmailBodyValue(value="hello")},
        text_body=[jmapc.EmailBodyPart(part_id="b", type="text/plain")],
    )}))  # fmt: skip
    assert made.created["draft"].id
    changes = client.request(methods.EmailChanges(since_state=made.old_state))
    assert changes.created == [made.created["draft"].id]
    gone = client.request(methods.EmailSet(destroy=[email.id]))
    assert gone.destroyed == [email.id]
