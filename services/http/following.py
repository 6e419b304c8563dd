"""What a client has been told of its account, and what there is to tell (RFC 8620 section 7.1)."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Final

from services.common.errors import StoreError
from services.http.jmap.errors import MethodError
from services.http.jmap.quotas import state_of, uses
from services.http.jmap.standard import State, read_state
from services.http.mail import names

if TYPE_CHECKING:
    from services.common.domain import EmailDelta
    from services.common.store import Store
    from services.http.callers import Caller

TYPES: Final = ("Email", "Mailbox", "Thread", "Quota")
"""Types whose changes are told."""


class Follower:
    """What a client has been told of an account, and what there is to tell."""

    def __init__(self, store: Store, caller: Caller, types: Collection[str]) -> None:
        self._store = store
        self._caller = caller
        self.account_id = caller.account_id
        self._types = types
        self._known = State(0, 0)
        self._quota = ""

    async def start(self, last_event: str) -> None:
        """From the last event that the client saw, or from now on."""
        try:
            self._known = read_state(last_event)
        except MethodError:
            account = await self._store.open_account(self._caller.name)
            self._known = _state(await self._store.emails.sync(self.account_id, account.modseq))
        else:
            # What was used then is not in the state: it is told once.
            return
        self._quota = await self._quota_state()

    @property
    def position(self) -> str:
        """What the client may come back with."""
        return str(self._known)

    async def next(self) -> Mapping[str, object] | None:
        """The StateChange to send; None where nothing of interest changed.

        A store that is away is asked again later.
        """
        try:
            delta = await self._store.emails.sync(self.account_id, self._known.modseq)
            quota = await self._quota_state() if delta.modseq != self._known.modseq else self._quota
        except StoreError:
            return None
        changed = dict.fromkeys(changed_types(delta, self._known), str(_state(delta)))
        if quota != self._quota:
            changed["Quota"] = quota
        self._known, self._quota = _state(delta), quota
        told = {name: changed[name] for name in self._types if name in changed}
        return {"@type": "StateChange", "changed": {names.account(self.account_id): told}} if told else None

    async def _quota_state(self) -> str:
        quota = self._caller.entry.quota
        if "Quota" not in self._types or (quota.max_bytes is None and quota.max_messages is None):
            return ""
        return state_of(uses(await self._store.open_account(self._caller.name), quota))


def _state(delta: EmailDelta) -> State:
    return State(delta.modseq, delta.next_id)


def changed_types(delta: EmailDelta, known: State) -> frozenset[str]:
    """Types of which something changed."""
    if delta.modseq == known.modseq:
        return frozenset()
    if delta.since == 0:
        return frozenset(("Email", "Mailbox", "Thread"))
    found = set()
    if delta.places.content_ids or delta.gone.content_ids:
        found.add("Email")
    if delta.mailboxes or delta.gone_mailboxes:
        found.add("Mailbox")
    if delta.gone.content_ids or any(number >= known.next_id for number in delta.places.content_ids):
        found.add("Thread")
    return frozenset(found)
