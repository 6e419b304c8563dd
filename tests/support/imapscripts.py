"""IMAP transcripts against a running service.

Keys of the head beside `title` and `rfc`: `mail` (how many messages INBOX has), `tls` (`no`: there is no certificate),
`plaintext` (`directory.allowplaintext`), `literal` (`imap.literal`), `message` (`store.maxmessagesize`).
"""

from __future__ import annotations

from base64 import b64encode
from dataclasses import replace
from typing import Final

from services.common.options import ImapOptions
from tests.support.certificates import Certificate
from tests.support.imap import OTHER, USER, RunningImap, local_imap
from tests.support.people import PASSWORD
from tests.support.transcripts import Player, Transcript


def _base64(text: str) -> str:
    return b64encode(text.encode()).decode()


VARIABLES: Final = {
    "user": USER,
    "other": OTHER,
    "password": PASSWORD,
    "login": f'LOGIN {USER} "{PASSWORD}"',
    "plain64": _base64(f"\0{USER}\0{PASSWORD}"),
    "wrong64": _base64(f"\0{USER}\0wrong"),
    "acting64": _base64(f"{OTHER}\0{USER}\0{PASSWORD}"),
    "user64": _base64(USER),
    "password64": _base64(PASSWORD),
    "large": "x" * 4097,
}
MESSAGE: Final = b"From: anna@example.com\r\nSubject: number %d\r\n\r\nThis is message %d.\r\n"


async def play(transcript: Transcript, certificate: Certificate) -> None:
    """Start what the head asks for and go through the session."""
    settings = transcript.settings
    messages = [MESSAGE % (number, number) for number in range(1, int(settings.get("mail", "0")) + 1)]
    async with local_imap(
        messages,
        imap=ImapOptions(literal=settings.get("literal", "LITERAL+")),
        certificate=None if settings.get("tls") == "no" else certificate,
        plaintext=settings.get("plaintext", "always"),
    ) as running:
        _resize(running, int(settings.get("message", "0")))
        player = Player(lambda _: running.connect(), variables=dict(VARIABLES), tls=certificate.client_context())
        await player.play(transcript)


def _resize(running: RunningImap, size: int) -> None:
    value = running.configuration.value
    if size:
        running.configuration.replace(replace(value, store=replace(value.store, maxmessagesize=size)))
