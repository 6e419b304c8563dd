"""IMAP transcripts against a running service.

Keys of the head beside `title` and `rfc`: `mail` (how many messages INBOX has), `tls` (`no`: there is no certificate),
`plaintext` (`no`: not without TLS), `message` (`store.maxmessagesize`), `quota` (bytes that everybody may have),
`access` (the access rules of the account), `trusted` (networks of front ends),
`option.NAME` (an option of the service), `sasl.NAME` (one of `sasl`).

Actions: `directory away|back`, `drain`, `damage UID` (of INBOX, whose bodies are the store's first), `steal UID`.
"""

from __future__ import annotations

import asyncio
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any, Final

from services.common.directory import Status
from services.common.domain import INBOX, Quota
from services.common.options import ImapOptions
from services.common.sasloptions import SaslOptions
from services.common.values import TABLE, convert
from tests.support.certificates import Certificate
from tests.support.imap import OTHER, USER, LocalFeed, RunningImap, local_imap
from tests.support.people import PASSWORD, People
from tests.support.store import spoil
from tests.support.transcripts import Action, Player, Transcript


def _base64(text: str) -> str:
    return b64encode(text.encode()).decode()


CLOSED: Final = "closed@example.com"
ADMIN: Final = "admin@example.com"
VARIABLES: Final = {
    "user": USER,
    "other": OTHER,
    "password": PASSWORD,
    "login": f'LOGIN {USER} "{PASSWORD}"',
    "plain64": _base64(f"\0{USER}\0{PASSWORD}"),
    "wrong64": _base64(f"\0{USER}\0wrong"),
    "admin": ADMIN,
    "admin64": _base64(f"{USER}\0{ADMIN}\0{PASSWORD}"),
    "nobody64": _base64(f"nobody\0{ADMIN}\0{PASSWORD}"),
    "closed64": _base64(f"{CLOSED}\0{ADMIN}\0{PASSWORD}"),
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
    people = People(
        dict.fromkeys((USER, OTHER, CLOSED, ADMIN), PASSWORD),
        {CLOSED: Status.INACTIVE},
        quota=Quota(max_bytes=int(settings["quota"])) if "quota" in settings else Quota(),
        secrets={USER: (f"{{CLEARTEXT}}{PASSWORD}",)},
        administrators=frozenset({ADMIN}),
        access={USER: (settings["access"],)} if "access" in settings else {},
    )
    async with local_imap(
        messages,
        imap=_options(settings),
        certificate=None if settings.get("tls") == "no" else certificate,
        sasl=sasl_options(settings),
        trusted=settings.get("trusted", "").split(),
        people=people,
    ) as running:
        _resize(running, int(settings.get("message", "0")))
        player = Player(lambda _: running.connect(), dict(VARIABLES), _actions(running, people))
        player.tls = certificate.client_context()
        await player.play(transcript)


def sasl_options(settings: Mapping[str, str]) -> SaslOptions:
    """The `sasl` options with what the head says."""
    given = {key: value for key, value in settings.items() if key.startswith("sasl.")}
    changes = {key.removeprefix("sasl."): convert(TABLE[key], value) for key, value in given.items()}
    return replace(SaslOptions(localplaintext=settings.get("plaintext") != "no"), **changes)


def _options(settings: Mapping[str, str]) -> ImapOptions:
    kinds: dict[str, Any] = {field.name: type(getattr(ImapOptions(), field.name)) for field in fields(ImapOptions)}
    given = {key.removeprefix("option."): value for key, value in settings.items() if key.startswith("option.")}
    changes: dict[str, Any] = {
        name: convert(TABLE[f"imap.{name}"], value) if kinds[name] is tuple else kinds[name](value)
        for name, value in given.items()
    }
    return replace(ImapOptions(), **changes)


def _actions(running: RunningImap, people: People) -> dict[str, Action]:
    draining: list[asyncio.Task[None]] = []
    store = running.store

    async def directory(state: str) -> None:
        people.away = state == "away"

    async def drain() -> None:
        draining.append(asyncio.create_task(running.server.drain(1)))

    async def damage(uid: str) -> None:
        spoil(store._body_store, int(uid))  # type: ignore[attr-defined]

    async def steal(uid: str) -> None:
        """Another process expunges a message, and nobody tells ours of it."""
        assert isinstance(running.feed, LocalFeed)
        await running.feed.close()
        account_id = (await store.open_account(USER)).account_id
        inbox = await store.get_mailbox(account_id, INBOX)
        await store.copy_messages(
            account_id, inbox.mailbox_id, [int(uid)], "Trash", Quota(), move=True, request_id=f"steal-{uid}"
        )

    return {"directory": directory, "drain": drain, "damage": damage, "steal": steal}


def _resize(running: RunningImap, size: int) -> None:
    value = running.configuration.value
    if size:
        running.configuration.replace(replace(value, store=replace(value.store, maxmessagesize=size)))
