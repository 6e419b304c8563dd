"""LMTP transcripts against a running service. The keys of their heads:

tls: no for a service without a certificate; clients: optional or required, what is asked of client certificates;
socket: yes for a Unix socket; limit: the largest message; storewait: seconds; option.NAME: an option of the service.

Variables: long. Actions: `holds ACCOUNT COUNT [FOLDER]` (so many messages lie there), `message ACCOUNT FOLDER TEXT`
(the newest one is TEXT, with the transcripts' escapes), `directory away|back`, `store_stop`, `store_start`, `drain`.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from services.common.options import LmtpOptions, StoreOptions
from services.common.tls import ClientCertificates
from tests.support.certificates import Certificate
from tests.support.lmtp import LmtpService, lmtp_service, messages
from tests.support.store import StoreFixture
from tests.support.transcripts import Action, Player, Transcript

_ESCAPES = {"\\r": "\r", "\\n": "\n", "\\s": " "}


def options_of(settings: Mapping[str, str]) -> LmtpOptions:
    """The service's options with what the head says; lists have commas."""
    kinds: dict[str, Any] = {field.name: type(getattr(LmtpOptions(), field.name)) for field in fields(LmtpOptions)}
    given = {key.removeprefix("option."): value for key, value in settings.items() if key.startswith("option.")}
    changes: dict[str, Any] = {
        name: tuple(value.split(",")) if kinds[name] is tuple else kinds[name](value) for name, value in given.items()
    }
    return replace(LmtpOptions(), **changes)


async def play(transcript: Transcript, certificate: Certificate, folder: Path) -> None:
    """Play it against a service of its own."""
    settings = transcript.settings
    limit = int(settings.get("limit", "1000000"))
    options = StoreOptions(storewait=int(settings.get("storewait", "5")), maxmessagesize=limit)
    async with (
        StoreFixture(options=options, role="lmtp") as store,
        lmtp_service(
            store.client,
            lmtp=options_of(settings),
            certificate=None if settings.get("tls") == "no" else certificate,
            clients=ClientCertificates[settings.get("clients", "none").upper()],
            maxmessagesize=limit,
            path=folder / "lmtp" if settings.get("socket") == "yes" else None,
        ) as service,
    ):

        async def connect(_: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
            return await service.connect()

        player = Player(connect, {"long": "x" * 5000}, _actions(service, store))
        player.tls = certificate.client_context()
        if "clients" in settings and settings.get("certificate") != "no":
            player.tls.load_cert_chain(certificate.certfile, certificate.keyfile)
        await player.play(transcript)


def _actions(service: LmtpService, store: StoreFixture) -> dict[str, Action]:
    draining: list[asyncio.Task[None]] = []

    async def holds(account: str, count: str, folder: str = "INBOX") -> None:
        assert len(await messages(store.store, account, folder)) == int(count)

    async def message(account: str, folder: str, text: str) -> None:
        wanted = re.sub(r"\\.", lambda match: _ESCAPES[match[0]], text)
        assert (await messages(store.store, account, folder))[-1].decode() == wanted

    async def directory(state: str) -> None:
        service.directory.away = state == "away"

    async def drain() -> None:
        draining.append(asyncio.create_task(service.server.drain(1)))

    async def store_stop() -> None:
        await store.stop()

    return {
        "holds": holds,
        "message": message,
        "directory": directory,
        "drain": drain,
        "store_stop": store_stop,
        "store_start": store.start,
    }
