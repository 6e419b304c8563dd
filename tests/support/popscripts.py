"""POP3 transcripts against a running service. The keys of their heads:

mail: names of `tests.support.pop.MESSAGES` that lie in the maildrop; user: whose it is; port: tls for the TLS port;
tls: no for a service without a certificate; plaintext: no where passwords need TLS; storewait: seconds;
access: the access rules of the account; trusted: networks of front ends; option.NAME: an option of the service,
sasl.NAME: of the group sasl.

Variables: user, password, their base64 forms user64, password64, plain64 (a PLAIN response), acting64 (one that wants
to act for another), size1, size2, ... and octets, long. Actions: unlocked (wait until no session is left), store_stop,
store_start, damage NUMBER.
"""

from __future__ import annotations

import asyncio
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any

from services.common.options import PopOptions, StoreOptions
from services.common.values import TABLE, convert
from tests.support.certificates import Certificate
from tests.support.imapscripts import sasl_options
from tests.support.people import PASSWORD
from tests.support.pop import ADMIN, MESSAGES, USER, PopService, fill, people, pop_service
from tests.support.store import StoreFixture
from tests.support.transcripts import Action, Player, Transcript


def options_of(settings: Mapping[str, str]) -> PopOptions:
    """The service's options with what the head says."""
    kinds: dict[str, Any] = {field.name: type(getattr(PopOptions(), field.name)) for field in fields(PopOptions)}
    given = {key.removeprefix("option."): value for key, value in settings.items() if key.startswith("option.")}
    changes: dict[str, Any] = {
        name: convert(TABLE[f"pop.{name}"], value) if kinds[name] is tuple else kinds[name](value)
        for name, value in given.items()
    }
    return replace(PopOptions(), **changes)


def variables_of(user: str, bodies: list[bytes]) -> dict[str, str]:
    """What a transcript may name."""

    def base64(text: str) -> str:
        return b64encode(text.encode()).decode()

    sizes = {f"size{number}": str(len(body)) for number, body in enumerate(bodies, 1)}
    return {
        "user": user,
        "password": PASSWORD,
        "user64": base64(user),
        "password64": base64(PASSWORD),
        "plain64": base64(f"\0{user}\0{PASSWORD}"),
        "admin64": base64(f"{user}\0{ADMIN}\0{PASSWORD}"),
        "acting64": base64(f"root@example.com\0{user}\0{PASSWORD}"),
        "octets": str(sum(map(len, bodies))),
        "long": "x" * 2000,
        **sizes,
    }


async def play(transcript: Transcript, certificate: Certificate) -> None:
    """Play it against a service of its own."""
    settings = transcript.settings
    bodies = [MESSAGES[name] for name in settings.get("mail", "").split()]
    user = settings.get("user", USER)
    async with StoreFixture(options=StoreOptions(storewait=int(settings.get("storewait", "5")))) as store:
        if bodies:
            await fill(store.client, bodies, user)
        offered = None if settings.get("tls") == "no" else certificate
        async with pop_service(
            store.client,
            store.bodies,
            pop=options_of(settings),
            certificate=offered,
            sasl=sasl_options(settings),
            trusted=settings.get("trusted", "").split(),
            directory=people({user: (settings["access"],)} if "access" in settings else {}),
        ) as service:
            player = Player(_connector(service, certificate, settings), variables_of(user, bodies))
            player.tls = certificate.client_context()
            player.actions = _actions(service, store)
            await player.play(transcript)


def _connector(service: PopService, certificate: Certificate, settings: Mapping[str, str]) -> Any:
    async def connect(_: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if settings.get("port") != "tls":
            return await service.connect()
        return await service.connect(tls=True, ssl=certificate.client_context(), server_hostname="localhost")

    return connect


def _actions(service: PopService, store: StoreFixture) -> dict[str, Action]:
    async def store_start() -> None:
        await store.start()
        if not store.configuration.store.storewait:
            await store.client.wait_ready(5)

    async def damage(number: str) -> None:
        store.damage(int(number))

    return {"unlocked": service.emptied, "store_stop": store.stop, "store_start": store_start, "damage": damage}
