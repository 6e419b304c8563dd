"""`mailkeep who` and `mailkeep kick`: sessions over all front-end processes."""

from __future__ import annotations

import time
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from services.cli.connecting import with_store
from services.cli.output import EXIT_USAGE, JsonOption, counted, fail, say, show
from services.cli.people import UserOption
from services.common.domain import SessionInfo

if TYPE_CHECKING:
    from services.common.storeclient import StoreClient


class Service(StrEnum):
    """Services that have sessions."""

    HTTP = "http"
    IMAP = "imap"
    LMTP = "lmtp"
    POP = "pop"


ServiceOption = Annotated[
    Service | None, typer.Option("--service", help="Only sessions of this service.", metavar="|".join(Service))
]
AddressOption = Annotated[
    str, typer.Option("--address", help="Only sessions from this client address.", metavar="ADDRESS")
]
SessionOption = Annotated[
    str, typer.Option("--session", help="Only this session (an id of `mailkeep who`).", metavar="ID")
]
COLUMNS = ("session_id", "service", "user", "address", "process", "started")


def who(
    user: UserOption = "",
    service: ServiceOption = None,
    address: AddressOption = "",
    session: SessionOption = "",
    as_json: JsonOption = False,
) -> None:
    """Who is connected: user, service, address, since when."""

    async def work(client: StoreClient) -> list[SessionInfo]:
        return list(
            await client.sessions.list_sessions(user=user, service=service or "", address=address, session_id=session)
        )

    found = sorted(with_store(work), key=lambda each: (each.started, each.session_id))
    show(as_json, COLUMNS, [_row(each, as_json) for each in found])


def _row(session: SessionInfo, as_json: bool) -> tuple[object, ...]:
    started = session.started if as_json else time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(session.started))
    return (session.session_id, session.service, session.user, session.address, session.process, started)


def kick(
    user: UserOption = "",
    service: ServiceOption = None,
    address: AddressOption = "",
    session: SessionOption = "",
    as_json: JsonOption = False,
) -> None:
    """End the sessions that match all that is given. Clients are told goodbye and may log in again."""
    if not (user or service or address or session):
        fail("say which sessions: --user, --service, --address or --session", EXIT_USAGE)

    async def work(client: StoreClient) -> int:
        return await client.sessions.kick_sessions(
            user=user, service=service or "", address=address, session_id=session
        )

    kicked = with_store(work)
    say(as_json, f"{counted(kicked, 'session')} ended", kicked=kicked)
