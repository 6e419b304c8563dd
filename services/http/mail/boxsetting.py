"""Mailbox/set (RFC 8621 section 2.5)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from services.common.domain import SEPARATOR, MailboxId
from services.common.errors import Reason, StoreError
from services.http.jmap.arguments import Arguments, boolean, reference
from services.http.jmap.errors import SetError, invalid_properties
from services.http.jmap.standard import State
from services.http.mail import names
from services.http.mail.index import uids_in
from services.http.mail.mailboxes import ROLES, parent_of, parents, role_of, shown
from services.http.mail.setting import RECORD_ERRORS, Outcome, check_state, error_value, existing, read_changes

if TYPE_CHECKING:
    from services.common.domain import MailboxStatus
    from services.http.jmap.work import Answers, Work
    from services.http.mail.index import Index

_USES: Final = {role: use for use, role in ROLES.items()}
_SETTABLE: Final = frozenset({"name", "parentId", "role", "sortOrder", "isSubscribed"})


async def mailbox_set(work: Work, arguments: Arguments) -> Answers:
    """Mailbox/set."""
    account, asked = work.check_account(arguments), read_changes(arguments)
    remove = arguments.take("onDestroyRemoveEmails", boolean, False)
    arguments.end()
    old = check_state(asked, await work.index())
    outcome = Outcome.empty()
    await _create_all(work, asked.create, outcome)
    for text, patch in asked.update.items():
        try:
            index = await work.index()
            box = existing(work, "F", text, index.boxes)
            await _update(work, index, box, patch)
            outcome.updated[names.mailbox(box.mailbox_id)] = None
        except RECORD_ERRORS as error:
            outcome.not_updated[text] = error_value(error)
    await _destroy_all(work, asked.destroy, remove, outcome)
    new = await work.index()
    return {"accountId": account, "oldState": old, "newState": str(State(new.modseq, new.next_id)), **outcome.shown()}


# ---- create ---------------------------------------------------------------------------------------------------------
async def _create_all(work: Work, create: Mapping[str, Mapping[str, Any]], outcome: Outcome) -> None:
    """A mailbox may be made below another of the same call, in whichever order they stand."""
    waiting = dict(create)
    while waiting:
        ready = [key for key, value in waiting.items() if not _waits(value, waiting)]
        for key in ready or list(waiting):
            value = waiting.pop(key)
            try:
                outcome.created[key] = await _create(work, value)
                work.created[key] = outcome.created[key]["id"]
            except RECORD_ERRORS as error:
                outcome.not_created[key] = error_value(error)


def _waits(value: Mapping[str, Any], waiting: Mapping[str, Any]) -> bool:
    parent = value.get("parentId")
    return isinstance(parent, str) and parent.startswith("#") and parent[1:] in waiting


async def _create(work: Work, value: Mapping[str, Any]) -> dict[str, Any]:
    unknown = sorted(set(value) - _SETTABLE)
    if unknown:
        raise invalid_properties(unknown[0][:255])
    _check_order(value)
    index = await work.index()
    name = _full_name(index, _own_name(value.get("name")), _parent(work, index, value.get("parentId")))
    role = value.get("role")
    if role is not None and (role not in _USES or any(role_of(box) == role for box in index.boxes.values())):
        raise invalid_properties("role", description="it is not known here, or taken")
    subscribed = value.get("isSubscribed", False)
    if not isinstance(subscribed, bool):
        raise invalid_properties("isSubscribed")
    store, account_id = work.service.store, work.account_id
    try:
        made = await store.create_mailbox(account_id, name, _USES[role] if role is not None else "")
    except StoreError as error:
        raise _of_name(error) from None
    if subscribed:
        await store.subscribe(account_id, name, True)
    index = await work.index()
    complete = shown(index, index.boxes[made.mailbox_id], parents(index))
    return {key: each for key, each in complete.items() if key == "id" or key not in value}


def _of_name(error: StoreError) -> Exception:
    """A refusal that the name is the reason of says so."""
    named = (Reason.MAILBOX_EXISTS, Reason.MAILBOX_NAME_INVALID)
    return invalid_properties("name") if error.reason in named else error


def _check_order(value: Mapping[str, Any]) -> None:
    if value.get("sortOrder", 0) != 0:
        raise invalid_properties("sortOrder", description="mailboxes stand in the order of their names")


def _own_name(value: Any) -> str:
    if not isinstance(value, str) or not value.strip() or SEPARATOR in value:
        raise invalid_properties("name")
    return value


def _parent(work: Work, index: Index, value: Any) -> MailboxStatus | None:
    if value is None:
        return None
    try:
        return existing(work, "F", reference(value), index.boxes)
    except (ValueError, SetError):
        raise invalid_properties("parentId") from None


def _full_name(index: Index, name: str, parent: MailboxStatus | None) -> str:
    return name if parent is None else f"{parent.name}{SEPARATOR}{name}"


# ---- update ---------------------------------------------------------------------------------------------------------
async def _update(work: Work, index: Index, box: MailboxStatus, patch: Mapping[str, Any]) -> None:
    by_name = parents(index)
    known = shown(index, box, by_name)
    for name, value in patch.items():
        if name not in _SETTABLE | {"id"} and known.get(name, patch) != value:
            raise invalid_properties(name[:255], description="it cannot be changed")
    _check_order(patch)
    if patch.get("role", known["role"]) != known["role"]:
        raise invalid_properties("role", description="it cannot be changed")
    subscribed = patch.get("isSubscribed", known["isSubscribed"])
    if not isinstance(subscribed, bool):
        raise invalid_properties("isSubscribed")
    above = parent_of(box, by_name)
    parent = _parent(work, index, patch["parentId"]) if "parentId" in patch else index.boxes.get(above or 0)
    name = _full_name(index, _own_name(patch.get("name", known["name"])), parent)
    store, account_id = work.service.store, work.account_id
    if name != box.name:
        if role_of(box) == "inbox":
            raise SetError("forbidden", "INBOX keeps its name")
        try:
            await store.rename_mailbox(account_id, box.name, name)
        except StoreError as error:
            raise _of_name(error) from None
        await _take_subscriptions_along(work, index, box.name, name)
    if subscribed != box.subscribed:
        await store.subscribe(account_id, name, subscribed)


async def _take_subscriptions_along(work: Work, index: Index, old: str, new: str) -> None:
    """Subscriptions are names (RFC 9051 section 6.3.7): those of a mailbox and all below it follow its rename."""
    for each in index.boxes.values():
        if each.subscribed and (each.name == old or each.name.startswith(old + SEPARATOR)):
            await work.service.store.subscribe(work.account_id, each.name, False)
            await work.service.store.subscribe(work.account_id, new + each.name[len(old) :], True)


# ---- destroy --------------------------------------------------------------------------------------------------------
async def _destroy_all(work: Work, texts: list[str], remove: bool, outcome: Outcome) -> None:
    """Children before their parents, so that a whole tree may go in one call."""
    index = await work.index()
    depth = {text: _depth(work, index, text) for text in texts}
    for text in sorted(texts, key=lambda each: -depth[each]):
        try:
            index = await work.index()
            box = existing(work, "F", text, index.boxes)
            await _destroy(work, index, box, remove)
            outcome.destroyed.append(names.mailbox(box.mailbox_id))
        except RECORD_ERRORS as error:
            outcome.not_destroyed[text] = error_value(error)


def _depth(work: Work, index: Index, text: str) -> int:
    try:
        return existing(work, "F", text, index.boxes).name.count(SEPARATOR)
    except SetError:
        return 0


async def _destroy(work: Work, index: Index, box: MailboxStatus, remove: bool) -> None:
    store, account_id = work.service.store, work.account_id
    if any(parent_of(each, parents(index)) == box.mailbox_id for each in index.boxes.values()):
        raise SetError("mailboxHasChild")
    if index.count(box.mailbox_id).emails and not remove:
        raise SetError("mailboxHasEmail")
    if role_of(box) == "inbox":
        raise SetError("forbidden", "INBOX stays")
    uids = uids_in(index.emails.values(), box.mailbox_id)
    if uids:
        # One by one they are remembered as gone; a mailbox that goes with its mail makes clients begin anew.
        await store.expunge(account_id, MailboxId(box.mailbox_id), uids, regardless=True)
    if box.deleted:
        await store.expunge(account_id, MailboxId(box.mailbox_id))
    await store.delete_mailbox(account_id, box.name)
    if box.subscribed:
        await store.subscribe(account_id, box.name, False)
