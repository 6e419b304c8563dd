"""Email/get, /changes and /parse, Thread/get and /changes (RFC 8621 sections 3 and 4)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from services.common.domain import DELETED, Columns, EmailDelta
from services.common.mime.analysis import analyse
from services.http.jmap.arguments import Arguments, ids, positive, string
from services.http.jmap.errors import MethodError
from services.http.jmap.standard import MAX_OBJECTS_IN_GET, Changed, State, changes, read_state, wanted
from services.http.mail import names, parts
from services.http.mail.headers import fields_of
from services.http.mail.names import BlobName, number_of
from services.http.mail.properties import META, USUAL, USUAL_PARSED, Material, Plan, plan, record

if TYPE_CHECKING:
    from services.http.jmap.work import Answers, Work
    from services.http.mail.index import Index

BATCH_BYTES: Final = 16 << 20
"""Octets of messages that are held at once for one call."""
AT_ONCE: Final = 256 << 10
"""Octets of messages that are read in the event loop; more in a thread."""
BATCH: Final = 64
"""Emails that are made before others have their turn."""
MAX_PARSED: Final = 100
TRIES: Final = 8
"""How often a delta is asked for again, where the account changed between it and the index."""


# ---- Email/get ------------------------------------------------------------------------------------------------------
async def get(work: Work, arguments: Arguments) -> Answers:
    """Email/get."""
    account = work.check_account(arguments)
    asked = arguments.take("ids", ids)
    wanted_properties = plan(arguments, USUAL)
    arguments.end()
    index = await work.index()
    asked = named(asked, index.emails, names.email)
    state = str(State(index.modseq, index.next_id))
    numbers = [number for text in asked if (number := number_of("M", text)) is not None and number in index.emails]
    meta = {number: _meta(index, number, wanted_properties) for number in numbers}
    found = await records(work, index, numbers, meta, wanted_properties)
    return {
        "accountId": account,
        "state": state,
        "list": [found[text] for text in asked if text in found],
        "notFound": [text for text in asked if text not in found],
    }


def named(asked: list[str] | None, known: Collection[int], name: Callable[[int], str]) -> list[str]:
    """The ids that are asked for, each once; None: all there are. Raises MethodError requestTooLarge."""
    if len(known if asked is None else asked) > MAX_OBJECTS_IN_GET:
        raise MethodError("requestTooLarge", f"at most {MAX_OBJECTS_IN_GET} ids")
    return [name(number) for number in known] if asked is None else list(dict.fromkeys(asked))


def _meta(index: Index, number: int, wanted: Plan) -> dict[str, Any]:
    """What the index knows, taken at once: it may change while the rest is read."""
    email = index.emails[number]
    chosen = {name: META[name](index, email) for name in wanted.properties if name in META}
    return {"id": names.email(number), "size": email.size, **chosen}


async def records(
    work: Work, index: Index, numbers: Sequence[int], meta: Mapping[int, Mapping[str, Any]], wanted: Plan
) -> dict[str, dict[str, Any]]:
    """The emails by their ids; one that is gone meanwhile is left out."""
    if not wanted.columns:
        return {names.email(number): _shown(wanted, Material(), meta[number], number) for number in numbers}
    columns = await work.service.store.emails.fetch(work.account_id, numbers, wanted.columns)
    found: dict[str, dict[str, Any]] = {}
    for rows in _batches(columns, meta):
        messages: Sequence[bytes | None] = [None] * len(rows)
        if wanted.needs_body:
            refs = [columns.locations[row] for row in rows]
            messages = await work.service.bodies.read_many(work.account_id, refs)
        made = partial(_made, wanted, columns, rows, messages, meta)
        held = sum(len(message) for message in messages if message is not None)
        found |= await asyncio.to_thread(made) if held > AT_ONCE else made()
        await asyncio.sleep(0)
    return found


def _made(
    wanted: Plan,
    columns: Columns,
    rows: Sequence[int],
    messages: Sequence[bytes | None],
    meta: Mapping[int, Mapping[str, Any]],
) -> dict[str, dict[str, Any]]:
    """Some of the emails."""
    found = {}
    for row, message in zip(rows, messages, strict=True):
        number = columns.content_ids[row]
        found[names.email(number)] = _shown(wanted, _material(columns, row, message), meta[number], number)
    return found


def _shown(wanted: Plan, material: Material, meta: Mapping[str, Any], number: int) -> dict[str, Any]:
    chosen = {"id": meta["id"], **record(wanted, material, meta, BlobName(number))}
    if "size" not in wanted.properties:
        chosen.pop("size", None)
    return chosen


def _batches(columns: Columns, meta: Mapping[int, Mapping[str, Any]]) -> Iterator[list[int]]:
    """Rows that are made together, so that neither memory nor time is taken without measure."""
    rows: list[int] = []
    held = 0
    for row, number in enumerate(columns.content_ids):
        size = int(meta[number]["size"]) if columns.locations else 0
        if rows and (len(rows) >= BATCH or held + size > BATCH_BYTES):
            yield rows
            rows, held = [], 0
        rows.append(row)
        held += size
    if rows:
        yield rows


def _material(columns: Columns, row: int, message: bytes | None) -> Material:
    return Material(
        message,
        fields_of(columns.headers[row]) if columns.headers else (),
        columns.previews[row] if columns.previews else "",
        parts.has_attachment(columns.bodystructures[row]) if columns.bodystructures else False,
    )


# ---- Email/changes, Thread/changes ----------------------------------------------------------------------------------
async def _changed(work: Work, arguments: Arguments) -> tuple[State, int | None, EmailDelta, Index]:
    """What both begin with. Raises MethodError cannotCalculateChanges."""
    since = read_state(arguments.take("sinceState", string, required=True))
    most = arguments.take("maxChanges", positive)
    arguments.end()
    return since, most, *await delta_since(work, since)


async def delta_since(work: Work, since: State) -> tuple[EmailDelta, Index]:
    """What the store knows to have happened, and the account as it is after that, until the next await.

    Raises MethodError cannotCalculateChanges.
    """
    for _ in range(TRIES):
        delta = await work.service.store.emails.sync(work.account_id, since.modseq)
        if since.modseq and delta.since == 0:
            raise MethodError("cannotCalculateChanges", "too much has happened since")
        index = await work.index()
        if index.modseq == delta.modseq:
            return delta, index
    raise MethodError("serverUnavailable", "the account changes too fast")


def changed_emails(delta: EmailDelta, index: Index, next_id: int) -> Changed:
    """Numbers of emails by what happened to them; what came and went is not told."""
    touched = {*delta.places.content_ids, *delta.gone.content_ids}
    visible = {number for number in touched if number in index.emails}
    return Changed(
        [number for number in visible if number >= next_id],
        [number for number in visible if number < next_id],
        [number for number in touched - visible if number < next_id],
    )


async def email_changes(work: Work, arguments: Arguments) -> Answers:
    """Email/changes."""
    account = work.check_account(arguments)
    since, most, delta, index = await _changed(work, arguments)
    changed = changed_emails(delta, index, since.next_id)
    now = State(delta.modseq, delta.next_id)
    return {"accountId": account, **changes(since, now, changed, most, names.email)}


def changed_threads(delta: EmailDelta, index: Index, next_id: int) -> Changed:
    """Threads that emails came to or went from; flags alone do not change a thread."""
    places = delta.places
    touched = {*delta.gone.thread_ids}
    for number, thread, flags in zip(places.content_ids, places.thread_ids, places.flags, strict=True):
        if number >= next_id or flags & DELETED:
            touched.add(thread)
    alive = {number for number in touched if number in index.threads}
    return Changed(
        [number for number in alive if number >= next_id],
        [number for number in alive if number < next_id],
        [number for number in touched - alive if number < next_id],
    )


async def thread_changes(work: Work, arguments: Arguments) -> Answers:
    """Thread/changes."""
    account = work.check_account(arguments)
    since, most, delta, index = await _changed(work, arguments)
    changed = changed_threads(delta, index, since.next_id)
    now = State(delta.modseq, delta.next_id)
    return {"accountId": account, **changes(since, now, changed, most, names.thread)}


async def thread_get(work: Work, arguments: Arguments) -> Answers:
    """Thread/get."""
    account = work.check_account(arguments)
    asked = wanted(arguments, ("id", "emailIds"))
    arguments.end()
    index = await work.index()
    texts = named(asked.ids, index.threads, names.thread)
    found = [text for text in texts if number_of("T", text) in index.threads]
    return {
        "accountId": account,
        "state": str(State(index.modseq, index.next_id)),
        "list": [_thread(index, text, asked.properties) for text in found],
        "notFound": [text for text in texts if number_of("T", text) not in index.threads],
    }


def _thread(index: Index, text: str, properties: list[str] | None) -> dict[str, Any]:
    shown: dict[str, Any] = {"id": text}
    if properties is None or "emailIds" in properties:
        shown["emailIds"] = [names.email(number) for number in index.in_thread(number_of("T", text) or 0)]
    return shown


# ---- Email/parse ----------------------------------------------------------------------------------------------------
async def parse(work: Work, arguments: Arguments) -> Answers:
    """Email/parse: messages that are blobs, such as attached ones."""
    account = work.check_account(arguments)
    blob_ids = arguments.take("blobIds", ids, required=True)
    wanted_properties = plan(arguments, USUAL_PARSED)
    arguments.end()
    if len(blob_ids) > MAX_PARSED:
        raise MethodError("requestTooLarge", f"at most {MAX_PARSED} blobs")
    parsed: dict[str, Any] = {}
    missing: list[str] = []
    unparsable: list[str] = []
    for text in dict.fromkeys(blob_ids):
        message = await work.service.blobs.read(work.account_id, text)
        if message is None:
            missing.append(text)
        elif not _is_message(message):
            unparsable.append(text)
        else:
            parsed[text] = await asyncio.to_thread(_parsed, wanted_properties, message, text)
    return {
        "accountId": account,
        "parsed": parsed or None,
        "notParsable": unparsable or None,
        "notFound": missing or None,
    }


def _is_message(message: bytes) -> bool:
    """Whether it begins with a header field."""
    return bool(fields_of(message[:8192].partition(b"\r\n\r\n")[0].partition(b"\n\n")[0] + b"\r\n"))


def _parsed(wanted_properties: Plan, message: bytes, text: str) -> dict[str, Any]:
    analysis = analyse(message)
    material = Material(message, (), analysis.preview, parts.has_attachment(analysis.bodystructure))
    nothing = dict.fromkeys(("id", "threadId", "mailboxIds", "keywords", "receivedAt"))
    meta = {**nothing, "blobId": text, "size": len(message)}
    return record(wanted_properties, material, meta, None)
