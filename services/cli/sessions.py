"""`mailkeep who` and `mailkeep kick`: sessions over all front-end processes."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from services.cli.connecting import with_store
from services.cli.output import JsonOption, fail, say, show
from services.common.domain import SessionInfo
from services.common.storeclient import StoreClient

User = Annotated[str, typer.Option(help="Only sessions of this account.")]
Service = Annotated[str, typer.Option(help="Only sessions of this service: pop, imap or lmtp.")]
Address = Annotated[str, typer.Option(help="Only sessions from this client address.")]


def who(user: User = "", service: Service = "", address: Address = "", as_json: JsonOption = False) -> None:
    """Who is connected: user, service, address, since when."""

    async def work(client: StoreClient) -> list[SessionInfo]:
        return list(await client.sessions.list_sessions(user=user, service=service, address=address))

    columns = ("session_id", "service", "user", "address", "process", "started")
    show(as_json, columns, [_row(session, as_json) for session in with_store(work)])


def _row(session: SessionInfo, as_json: bool) -> tuple[object, ...]:
    started = session.started if as_json else time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(session.started))
    return (session.session_id, session.service, session.user, session.address, session.process, started)


def kick(
    user: User = "",
    service: Service = "",
    address: Address = "",
    session: Annotated[str, typer.Option(help="Only this session (an id of `mailkeep who`).")] = "",
    as_json: JsonOption = False,
) -> None:
    """End the sessions that match; at least one choice is needed. Clients are told goodbye and may log in again."""
    if not (user or service or address or session):
        fail("say which sessions: --user, --service, --address or --session", 2)

    async def work(client: StoreClient) -> int:
        return await client.sessions.kick_sessions(user=user, service=service, address=address, session_id=session)

    kicked = with_store(work)
    say(as_json, f"{kicked} sessions ended", kicked=kicked)
