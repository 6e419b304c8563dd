"""Push by server-sent events (RFC 8620 section 7.3)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Final

from aiohttp import web

from services.common.errors import StoreError
from services.common.limits import without_slot
from services.http.handlers.exchange import Exchange
from services.http.jmap.errors import MethodError
from services.http.jmap.standard import State, read_state
from services.http.mail import names
from services.http.replies import Problem

if TYPE_CHECKING:
    from services.common.domain import AccountId, EmailDelta
    from services.common.store import Emails

TYPES: Final = ("Email", "Mailbox", "Thread")
MIN_PING: Final = 30
MAX_PING: Final = 300
PAUSE: Final = 0.1
"""Between two events: what happens meanwhile goes as one."""


async def stream(exchange: Exchange) -> web.StreamResponse:
    """GET /jmap/eventsource."""
    query = exchange.request.query
    types = _types(query.get("types", "*"))
    close_after = query.get("closeafter", "no")
    if close_after not in ("no", "state"):
        raise Problem(400, "closeafter is state or no.")
    ping = _ping(query.get("ping", "0"))
    follower = Follower(exchange.service.store.emails, exchange.known.account_id, types)
    await follower.start(exchange.request.headers.get("Last-Event-ID", ""), exchange)
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "X-Accel-Buffering": "no"})
    await exchange.begin(response)
    async with without_slot():
        await _tell(exchange, response, follower, ping, once=close_after == "state")
    response.force_close()
    return response


def _types(text: str) -> Collection[str]:
    if text == "*":
        return TYPES
    found = text.split(",")
    # Types of others may be asked for; they never change here (RFC 8620 section 7.3).
    if not all(each.isascii() and each.isalnum() for each in found):
        raise Problem(400, "types: names with commas between them, or *.")
    return found


def _ping(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise Problem(400, "ping is a number of seconds.")
    return min(max(int(text), MIN_PING), MAX_PING) if int(text) else 0


async def _tell(exchange: Exchange, response: web.StreamResponse, follower: Follower, ping: int, *, once: bool) -> None:
    connection, push = exchange.connection, exchange.service.push
    wake = asyncio.Event()
    connection.when_gone(wake.set)
    push.listen(follower.account_id, wake.set)
    try:
        while not connection.leaving:
            event = await follower.next()
            if event:
                await response.write(event)
                if once:
                    return
                await asyncio.sleep(PAUSE)
            if not await _woken(wake, ping):
                await response.write(b'event: ping\ndata: {"interval":%d}\n\n' % ping)
    finally:
        push.forget(follower.account_id, wake.set)
        connection.forget(wake.set)


async def _woken(wake: asyncio.Event, ping: int) -> bool:
    """Wait until something may have happened; False where it is time for a ping first."""
    try:
        async with asyncio.timeout(ping or None):
            await wake.wait()
    except TimeoutError:
        return False
    wake.clear()
    return True


class Follower:
    """What a client has been told of an account, and what there is to tell."""

    def __init__(self, emails: Emails, account_id: AccountId, types: Collection[str]) -> None:
        self._emails = emails
        self.account_id = account_id
        self._types = types
        self._known = State(0, 0)

    async def start(self, last_event: str, exchange: Exchange) -> None:
        """From the last event that the client saw, or from now on."""
        try:
            self._known = read_state(last_event)
        except MethodError:
            account = await exchange.service.store.open_account(exchange.known.name)
            self._known = _state(await self._emails.sync(self.account_id, account.modseq))

    async def next(self) -> bytes:
        """The event to send; b"" where nothing of interest changed. A store that is away is asked again later."""
        try:
            delta = await self._emails.sync(self.account_id, self._known.modseq)
        except StoreError:
            return b""
        changed = changed_types(delta, self._known)
        self._known = _state(delta)
        return self._event([name for name in self._types if name in changed])

    def _event(self, changed: Collection[str]) -> bytes:
        if not changed:
            return b""
        told: Mapping[str, object] = {
            "@type": "StateChange",
            "changed": {names.account(self.account_id): dict.fromkeys(changed, str(self._known))},
        }
        return f"event: state\nid: {self._known}\ndata: {json.dumps(told)}\n\n".encode()


def _state(delta: EmailDelta) -> State:
    return State(delta.modseq, delta.next_id)


def changed_types(delta: EmailDelta, known: State) -> frozenset[str]:
    """Types of which something changed."""
    if delta.modseq == known.modseq:
        return frozenset()
    if delta.since == 0:
        return frozenset(TYPES)
    found = set()
    if delta.places.content_ids or delta.gone.content_ids:
        found.add("Email")
    if delta.mailboxes or delta.gone_mailboxes:
        found.add("Mailbox")
    if delta.gone.content_ids or any(number >= known.next_id for number in delta.places.content_ids):
        found.add("Thread")
    return frozenset(found)
