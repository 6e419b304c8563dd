"""Email/set, /import and /copy (RFC 8621 sections 4.6, 4.7 and 4.8)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeVar

from services.common.domain import AppendItem, Column, FlagChange, FlagOperation, MailboxId
from services.common.errors import Reason, StoreError
from services.common.requestid import new_request_id
from services.http.jmap.arguments import Arguments, an_id, date, mapping, objects_by_id, reference, references, string
from services.http.jmap.errors import SET_ERRORS, InvalidArguments, MethodError, SetError, invalid_properties
from services.http.jmap.standard import MAX_OBJECTS_IN_SET, State
from services.http.mail import names
from services.http.mail.composing import draft
from services.http.mail.index import SYSTEM_KEYWORDS, Email, Index
from services.http.mail.names import BlobName, number_of
from services.http.mail.properties import META

if TYPE_CHECKING:
    from services.http.jmap.work import Answers, Work

T = TypeVar("T")

MAX_KEYWORD: Final = 255
_FORBIDDEN: Final = frozenset('(){]%*"\\')
_FILED: Final = ("mailboxIds", "keywords", "receivedAt")


# ---- what is common to all types that can be set --------------------------------------------------------------------
def existing(work: Work, kind: str, text: str, records: Mapping[int, T]) -> T:
    """The record of `kind` (`names`) that an id, or a creation id, means. Raises SetError notFound."""
    try:
        number = number_of(kind, work.resolved(text))
    except InvalidArguments:
        number = None
    found = records.get(number or 0)
    if found is None:
        raise SetError("notFound")
    return found


@dataclass(slots=True)
class Changes:
    """What a /set asks for, and what comes of it (RFC 8620 section 5.3)."""

    create: Mapping[str, Mapping[str, Any]]
    update: Mapping[str, Mapping[str, Any]]
    destroy: list[str]
    if_in_state: str | None

    def __post_init__(self) -> None:
        if len(self.create) + len(self.update) + len(self.destroy) > MAX_OBJECTS_IN_SET:
            raise MethodError("requestTooLarge", f"at most {MAX_OBJECTS_IN_SET} records")


def read_changes(arguments: Arguments) -> Changes:
    """Raises InvalidArguments, MethodError requestTooLarge."""
    nothing: Mapping[str, Mapping[str, Any]] = {}
    unchanged: Mapping[str, Any] = {}
    kept: list[str] = []
    update = arguments.take("update", mapping, unchanged)
    for key, value in update.items():
        try:
            reference(key)
            mapping(value)
        except ValueError as error:
            raise InvalidArguments(f"update: {error}") from None
    return Changes(
        arguments.take("create", objects_by_id, nothing),
        update,
        list(dict.fromkeys(arguments.take("destroy", references, kept))),
        arguments.take("ifInState", string),
    )


@dataclass(slots=True)
class Outcome:
    """The lists of a /set response."""

    created: dict[str, Any]
    updated: dict[str, Any]
    destroyed: list[str]
    not_created: dict[str, Any]
    not_updated: dict[str, Any]
    not_destroyed: dict[str, Any]

    @classmethod
    def empty(cls) -> Outcome:
        """Nothing yet."""
        return cls({}, {}, [], {}, {}, {})

    def shown(self) -> dict[str, Any]:
        """As JSON; what is empty is null."""
        return {
            "created": self.created or None,
            "updated": self.updated or None,
            "destroyed": self.destroyed or None,
            "notCreated": self.not_created or None,
            "notUpdated": self.not_updated or None,
            "notDestroyed": self.not_destroyed or None,
        }


def error_value(error: Exception) -> dict[str, Any]:
    """What an exception of one record becomes. Other exceptions are raised on."""
    if isinstance(error, SetError):
        return error.value()
    if isinstance(error, InvalidArguments):
        return SetError("invalidProperties", error.description).value()
    if isinstance(error, StoreError):
        return {"type": SET_ERRORS[error.reason]}
    raise error


RECORD_ERRORS: Final = (SetError, InvalidArguments, StoreError)


def check_state(asked: Changes, index: Index) -> str:
    """The state before. Raises MethodError stateMismatch."""
    state = str(State(index.modseq, index.next_id))
    if asked.if_in_state is not None and asked.if_in_state != state:
        raise MethodError("stateMismatch")
    return state


# ---- where an email is filed, and how marked ------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Filing:
    """mailboxIds, keywords and receivedAt of a new email."""

    mailboxes: tuple[int, ...]
    keywords: frozenset[str]
    received: int | None

    def item(self, body: bytes) -> AppendItem:
        """The message as the store takes it."""
        system, own = masks(self.keywords)
        return AppendItem(body, system, own, self.received)


def masks(keywords: frozenset[str] | set[str]) -> tuple[int, tuple[str, ...]]:
    """System flags as bits, and the other keywords."""
    system = sum(bit for name, bit in SYSTEM_KEYWORDS.items() if name in keywords)
    return system, tuple(sorted(keywords - SYSTEM_KEYWORDS.keys()))


def read_filing(work: Work, index: Index, values: Mapping[str, Any]) -> Filing:
    """Raises SetError."""
    received = values.get("receivedAt")
    try:
        seconds = None if received is None else date(received)
    except ValueError:
        raise invalid_properties("receivedAt") from None
    return Filing(
        tuple(read_mailboxes(work, index, values.get("mailboxIds"))),
        read_keywords(values.get("keywords") or {}),
        seconds,
    )


def read_mailboxes(work: Work, index: Index, value: Any) -> list[int]:
    """The mailboxes of a set of ids; at least one. Raises SetError."""
    if not isinstance(value, dict) or not value or not all(each is True for each in value.values()):
        raise invalid_properties("mailboxIds", description="at least one, each true")
    found = []
    for text in value:
        try:
            number = number_of("F", work.resolved(reference(text)))
        except (ValueError, InvalidArguments):
            number = None
        if number is None or number not in index.boxes:
            raise invalid_properties("mailboxIds", description="there is no such mailbox")
        found.append(number)
    return found


def read_keywords(value: Any) -> frozenset[str]:
    """Keywords of a set, in small letters. Raises SetError."""
    if not isinstance(value, dict) or not all(each is True for each in value.values()):
        raise invalid_properties("keywords", description="each is true")
    return frozenset(read_keyword(name) for name in value)


def read_keyword(name: str) -> str:
    """Raises SetError (RFC 8621 section 4.1.1)."""
    right = 0 < len(name) <= MAX_KEYWORD and all("!" <= c <= "~" and c not in _FORBIDDEN for c in name)
    if not right:
        raise invalid_properties("keywords", description="this is no keyword")
    return name.lower()


# ---- making emails --------------------------------------------------------------------------------------------------
async def _file(work: Work, index: Index, filing: Filing, body: bytes) -> dict[str, Any]:
    """Put a message into its mailboxes. Raises StoreError."""
    store, account_id = work.service.store, work.account_id
    first, *others = filing.mailboxes
    result = await store.append(
        account_id, index.boxes[first].name, [filing.item(body)], work.quota, request_id=new_request_id()
    )
    uid = result.uids[0]
    for number in others:
        await store.copy_messages(
            account_id, MailboxId(first), [uid], index.boxes[number].name, work.quota, request_id=new_request_id()
        )
    columns = await store.fetch_columns(account_id, MailboxId(first), Column.CONTENT, [uid])
    if not columns.content_ids:
        raise StoreError(Reason.MESSAGE_NOT_FOUND)
    number = columns.content_ids[0]
    return {
        "id": names.email(number),
        "blobId": str(BlobName(number)),
        "threadId": names.thread(columns.thread_ids[0]),
        "size": len(body),
    }


async def _composed(work: Work, value: Mapping[str, Any]) -> bytes:
    """The message of a new email's properties. Raises SetError, StoreError."""
    rest = {name: each for name, each in value.items() if name not in _FILED}
    made = draft(rest, work.caller.entry.domain, time.time())
    missing = []
    for leaf in made.leaves():
        if leaf.blob:
            data = await work.service.blobs.read(work.account_id, leaf.blob)
            if data is None:
                missing.append(leaf.blob)
            leaf.data = data or b""
    if missing:
        raise SetError("blobNotFound", notFound=missing)
    return await asyncio.to_thread(made.octets)


async def email_set(work: Work, arguments: Arguments) -> Answers:
    """Email/set."""
    account, asked = work.check_account(arguments), read_changes(arguments)
    arguments.end()
    index = await work.index()
    old = check_state(asked, index)
    outcome = Outcome.empty()
    for key, value in asked.create.items():
        try:
            index = await work.index()
            filing = read_filing(work, index, value)
            outcome.created[key] = await _file(work, index, filing, await _composed(work, value))
            work.created[key] = outcome.created[key]["id"]
        except RECORD_ERRORS as error:
            outcome.not_created[key] = error_value(error)
    await _update_all(work, asked, outcome)
    await _destroy_all(work, asked.destroy, outcome)
    new = await work.index()
    return {"accountId": account, "oldState": old, "newState": str(State(new.modseq, new.next_id)), **outcome.shown()}


async def _update_all(work: Work, asked: Changes, outcome: Outcome) -> None:
    for text, patch in asked.update.items():
        try:
            index = await work.index()
            email = existing(work, "M", text, index.emails)
            if text in asked.destroy:
                raise SetError("willDestroy")
            await _update(work, index, email, patch)
            outcome.updated[names.email(email.number)] = None
        except RECORD_ERRORS as error:
            outcome.not_updated[text] = error_value(error)


async def _update(work: Work, index: Index, email: Email, patch: Mapping[str, Any]) -> None:
    """Raises SetError, StoreError."""
    mailboxes = {number: None for number, _, _ in email.places}
    keywords = index.keywords(email)
    wanted_boxes, wanted_words = dict(mailboxes), set(keywords)
    for path, value in patch.items():
        head, slash, rest = path.partition("/")
        if head == "keywords":
            wanted_words = _patched_words(wanted_words, rest, value) if slash else set(read_keywords(value or {}))
        elif head == "mailboxIds":
            wanted_boxes = (
                _patched_boxes(work, index, wanted_boxes, rest, value)
                if slash
                else dict.fromkeys(read_mailboxes(work, index, value))
            )
        elif not _is_same(index, email, path, value):
            raise invalid_properties(path[:255], description="it cannot be changed")
    if not wanted_boxes:
        raise invalid_properties("mailboxIds", description="an email is in one mailbox at least")
    if wanted_words != keywords:
        await _mark(work, email, keywords, wanted_words)
    if wanted_boxes.keys() != mailboxes.keys():
        await _refile(work, index, email, list(wanted_boxes))


def _patched_words(words: set[str], name: str, value: Any) -> set[str]:
    if value not in (True, None):
        raise SetError("invalidPatch", "true or null")
    word = read_keyword(name.replace("~1", "/").replace("~0", "~"))
    return words | {word} if value else words - {word}


def _patched_boxes(work: Work, index: Index, boxes: dict[int, None], name: str, value: Any) -> dict[int, None]:
    if value not in (True, None):
        raise SetError("invalidPatch", "true or null")
    (number,) = read_mailboxes(work, index, {name: True})
    return {**boxes, number: None} if value else {each: None for each in boxes if each != number}


def _is_same(index: Index, email: Email, path: str, value: Any) -> bool:
    """Whether a property that cannot change is set to what it is (RFC 8620 section 5.3 allows that)."""
    return path in META and META[path](index, email) == value


async def _mark(work: Work, email: Email, before: set[str], after: set[str]) -> None:
    """Change keywords in every place of the email."""
    store, account_id = work.service.store, work.account_id
    for operation, words in ((FlagOperation.ADD, after - before), (FlagOperation.REMOVE, before - after)):
        if not words:
            continue
        system, own = masks(words)
        for box in dict.fromkeys(place[0] for place in email.places):
            uids = [uid for mailbox, uid, _ in email.places if mailbox == box]
            await store.modify_flags(account_id, MailboxId(box), uids, FlagChange(operation, system, own))


async def _refile(work: Work, index: Index, email: Email, wanted: list[int]) -> None:
    """Copy into mailboxes where it is not yet, then take it out of the others; one for one is a move."""
    store, account_id = work.service.store, work.account_id
    present = list(dict.fromkeys(place[0] for place in email.places))
    added = [number for number in wanted if number not in present]
    removed = [number for number in present if number not in wanted]
    source, uid, _ = next((each for each in email.places if each[0] in removed), email.places[0])
    for number in added:
        move = source in removed and number == added[-1]
        uids = [each[1] for each in email.places if each[0] == source] if move else [uid]
        await store.copy_messages(
            account_id, MailboxId(source), uids, index.boxes[number].name, work.quota,
            move=move, request_id=new_request_id(),
        )  # fmt: skip
        if move:
            removed.remove(source)
    for number in removed:
        uids = [each[1] for each in email.places if each[0] == number]
        await store.expunge(account_id, MailboxId(number), uids, regardless=True)


async def _destroy_all(work: Work, texts: list[str], outcome: Outcome) -> None:
    """By mailboxes: a thousand emails of one are one call."""
    index = await work.index()
    found: dict[str, Email] = {}
    for text in texts:
        try:
            found[text] = existing(work, "M", text, index.emails)
        except SetError as error:
            outcome.not_destroyed[text] = error.value()
    by_box: dict[int, list[int]] = {}
    for email in found.values():
        for box, uid, _ in (*email.places, *email.hidden):
            by_box.setdefault(box, []).append(uid)
    failed: dict[int, dict[str, Any]] = {}
    for box, uids in by_box.items():
        try:
            await work.service.store.expunge(work.account_id, MailboxId(box), uids, regardless=True)
        except StoreError as error:
            failed[box] = error_value(error)
    for text, email in found.items():
        why = next((failed[place[0]] for place in email.places if place[0] in failed), None)
        if why is None:
            outcome.destroyed.append(names.email(email.number))
        else:
            outcome.not_destroyed[text] = why


# ---- Email/import, Email/copy ---------------------------------------------------------------------------------------
async def email_import(work: Work, arguments: Arguments) -> Answers:
    """Email/import."""
    account = work.check_account(arguments)
    emails = arguments.take("emails", objects_by_id, required=True)
    asked = Changes(emails, {}, [], arguments.take("ifInState", string))
    arguments.end()
    old = check_state(asked, await work.index())
    outcome = Outcome.empty()
    for key, value in emails.items():
        try:
            outcome.created[key] = await _import(work, value)
            work.created[key] = outcome.created[key]["id"]
        except RECORD_ERRORS as error:
            outcome.not_created[key] = error_value(error)
    new = await work.index()
    return {
        "accountId": account,
        "oldState": old,
        "newState": str(State(new.modseq, new.next_id)),
        "created": outcome.created or None,
        "notCreated": outcome.not_created or None,
    }


async def _import(work: Work, value: Mapping[str, Any]) -> dict[str, Any]:
    unknown = sorted(set(value) - {"blobId", *_FILED})
    if unknown:
        raise invalid_properties(unknown[0])
    try:
        blob = an_id(value.get("blobId"))
    except ValueError:
        raise invalid_properties("blobId") from None
    index = await work.index()
    filing = read_filing(work, index, value)
    message = await work.service.blobs.read(work.account_id, blob)
    if message is None:
        raise SetError("blobNotFound", notFound=[blob])
    if b":" not in message[:8192]:
        raise SetError("invalidEmail", "it does not begin with a header")
    return await _file(work, index, filing, message)


async def email_copy(work: Work, arguments: Arguments) -> Answers:
    """Email/copy: between accounts, and there is but one."""
    source = arguments.take("fromAccountId", an_id, required=True)
    account = work.check_account(arguments)
    if source == account:
        raise InvalidArguments("fromAccountId and accountId must differ")
    raise MethodError("fromAccountNotFound")
