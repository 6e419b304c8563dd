"""Email/query, /queryChanges and SearchSnippet/get (RFC 8621 sections 4.4, 4.5 and 5)."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from email.utils import mktime_tz, parsedate_tz
from html import escape
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from services.common.domain import AccountId, Column, Columns, MailboxId
from services.common.mime.text import part_text
from services.http.jmap.arguments import Arguments, boolean, ids, mapping, objects
from services.http.jmap.errors import MethodError
from services.http.jmap.standard import MAX_LIMIT, State, Window, page, query_changes, since_query_state, window
from services.http.mail import names, parts
from services.http.mail.emails import delta_since
from services.http.mail.filters import KEYED, Comparator, Filter, Gathered, needles, read_filter, read_sort
from services.http.mail.headers import as_addresses, as_text, fields_of
from services.http.mail.index import Email, Index
from services.http.mail.names import number_of

if TYPE_CHECKING:
    from services.http.jmap.work import Answers, Work

CHUNK: Final = 2_000
"""Emails whose columns are fetched in one call."""
MAX_SNIPPETS: Final = 256
SNIPPET: Final = 240
"""Characters around what was found; RFC 8621 section 5 wants at most 255 octets of preview, mark-up apart."""
_PREFIX: Final = re.compile(r"(?:\s*(?:re|fwd?|aw|wg)(?:\[\d+\])?\s*:\s*|\s*\[[^\]]{0,64}\]\s*)+", re.IGNORECASE)
TRIES: Final = 8
STEP: Final = 4_000
"""Emails that are looked at before others have their turn."""


@dataclass(frozen=True, slots=True)
class _Asked:
    """A query: what is found, in which order, and whether a thread is shown once."""

    filter: Filter
    sort: Sequence[Comparator]
    collapse: bool
    key: str

    @property
    def newest_first(self) -> bool:
        """Whether the order is the one that the index has already."""
        return len(self.sort) == 1 and self.sort[0].name == "receivedAt" and not self.sort[0].ascending


def _asked(arguments: Arguments) -> _Asked:
    nothing: Mapping[str, Any] = {}
    unsorted: Sequence[Mapping[str, Any]] = ()
    chosen = arguments.take("filter", mapping, nothing)
    sort = arguments.take("sort", objects, unsorted)
    collapse = arguments.take("collapseThreads", boolean, False)
    key = json.dumps([chosen, sort, collapse], sort_keys=True)
    return _Asked(read_filter(chosen), read_sort(sort), collapse, key)


async def query(work: Work, arguments: Arguments) -> Answers:
    """Email/query."""
    account, part, asked = work.check_account(arguments), window(arguments), _asked(arguments)
    arguments.end()
    index = await work.index()
    answer = _first_page(index, asked, part)
    if answer is None:
        found = index.results.get(asked.key)
        if found is None:
            index, found = await _results(work, asked)
        answer = page(found, part, names.email)
    state = str(State(index.modseq, index.next_id))
    return {"accountId": account, "queryState": state, "canCalculateChanges": True, **answer}


def _first_page(index: Index, asked: _Asked, part: Window) -> dict[str, Any] | None:
    """The newest emails, found without looking at all; None where the question is another one.

    It is what every client asks after every change.
    """
    chosen = asked.filter
    known = chosen.whole and chosen.mailbox is not None
    if not asked.newest_first or chosen.texts or chosen.attachments or (part.total and not known):
        return None
    if part.anchor is not None or part.position < 0 or part.limit is None or part.limit > MAX_LIMIT:
        return None
    found = list(islice(_newest(index, asked), part.position, part.position + part.limit))
    answer: dict[str, Any] = {"position": part.position, "ids": [names.email(number) for number in found]}
    if part.total:
        counts = index.count(chosen.mailbox or 0)
        answer["total"] = counts.threads if asked.collapse else counts.emails
    return answer


def _newest(index: Index, asked: _Asked) -> Iterator[int]:
    """What is found, the newest first."""
    test, emails = asked.filter.make(index, Gathered()), index.emails
    seen: set[int] = set()
    for _, number in reversed(index.order):
        email = emails[number]
        if not test(email) or (asked.collapse and email.thread in seen):
            continue
        seen.add(email.thread)
        yield number


async def email_query_changes(work: Work, arguments: Arguments) -> Answers:
    """Email/queryChanges."""
    account, since, asked = work.check_account(arguments), since_query_state(arguments), _asked(arguments)
    for _ in range(TRIES):
        index, found = await _results(work, asked)
        modseq = index.modseq
        delta, index = await delta_since(work, since)
        if index.modseq == modseq:
            break
    else:
        raise MethodError("serverUnavailable", "the account changes too fast")
    touched = {*delta.places.content_ids, *delta.gone.content_ids}
    # What happens to one email of a thread may bring another to light, or change what is said of the whole thread.
    for thread in {*delta.places.thread_ids, *delta.gone.thread_ids}:
        touched.update(index.threads.get(thread, ()))
    answer = query_changes(arguments, found, touched, names.email)
    arguments.end()
    new = str(State(index.modseq, index.next_id))
    return {"accountId": account, "oldQueryState": str(since), "newQueryState": new, **answer}


async def _results(work: Work, asked: _Asked) -> tuple[Index, Sequence[int]]:
    """What a query finds, all of it, and the index that it was found in, until the next await."""
    for left in reversed(range(TRIES)):
        index = await work.index()
        modseq = index.modseq
        gathered = await _gather(work, index, asked)
        index = await work.index()
        if index.modseq != modseq:
            continue
        # The last try is made at once: an account in which something always happens gets its answer, too.
        found = await _found(index, asked, gathered, STEP if left else len(index.order) + 1)
        if index.modseq == modseq:
            index.keep(asked.key, found)
            return index, found
    raise MethodError("serverUnavailable", "the account changes too fast")


async def _found(index: Index, asked: _Asked, gathered: Gathered, step: int) -> Sequence[int]:
    """What a filter finds, in order; others have their turn after each `step` emails, and the index may change then."""
    test, emails, modseq = asked.filter.make(index, gathered), index.emails, index.modseq
    # Newest first: what the other sorts leave equal stands so, too.
    numbers = [number for _, number in reversed(index.order)]
    found: list[Email] = []
    for start in range(0, len(numbers), step):
        if start:
            await asyncio.sleep(0)
            if index.modseq != modseq:
                return ()
        found += [email for number in numbers[start : start + step] if test(email := emails[number])]
    if not asked.newest_first:
        for comparator in reversed(asked.sort):
            found.sort(key=comparator.key(index), reverse=not comparator.ascending)
    return _collapsed(found) if asked.collapse else [email.number for email in found]


def _collapsed(found: Iterable[Email]) -> list[int]:
    """The first email of each thread."""
    seen: set[int] = set()
    kept = []
    for email in found:
        if email.thread not in seen:
            seen.add(email.thread)
            kept.append(email.number)
    return kept


# ---- what the index does not know -----------------------------------------------------------------------------------
async def _gather(work: Work, index: Index, asked: _Asked) -> Gathered:
    gathered = Gathered()
    if asked.filter.texts:
        await _search(work, index, asked.filter, gathered)
    if asked.filter.attachments:
        candidates = _candidates(index, asked, gathered)
        await _learn_attachments(work, index, candidates)
        gathered.attachments = dict(index.attachments)
    if any(comparator.name in KEYED for comparator in asked.sort):
        await _learn_sort_keys(work, index, _candidates(index, asked, gathered))
    return gathered


def _candidates(index: Index, asked: _Asked, gathered: Gathered) -> list[int]:
    """What may be in the results, as far as it is known."""
    test = asked.filter.make(index, gathered)
    return [number for number, email in index.emails.items() if test(email)]


async def _search(work: Work, index: Index, chosen: Filter, gathered: Gathered) -> None:
    """Ask the store for the texts, in the one mailbox that counts or in all."""
    keys = list(dict.fromkeys(chosen.texts))
    boxes = [chosen.mailbox] if chosen.mailbox in index.boxes else list(index.boxes)
    by_place = {(place[0], place[1]): email.number for email in index.emails.values() for place in email.places}
    boxes = [box for box in boxes if index.count(box).emails]
    store, account_id = work.service.store, AccountId(work.account_id)
    answers = await asyncio.gather(*(store.search_text(account_id, MailboxId(box), keys) for box in boxes))
    for at, key in enumerate(keys):
        found = {
            number
            for box, answer in zip(boxes, answers, strict=True)
            for uid in answer[at]
            if (number := by_place.get((box, uid))) is not None
        }
        gathered.texts[key] = found


async def _fetched(work: Work, numbers: Iterable[int], column: Column) -> AsyncIterator[Columns]:
    """A column of these emails, some at a time."""
    left = iter(numbers)
    while chunk := list(islice(left, CHUNK)):
        yield await work.service.store.emails.fetch(work.account_id, chunk, column)


async def _learn_attachments(work: Work, index: Index, numbers: Sequence[int]) -> None:
    known = index.attachments
    unknown = [number for number in numbers if number not in known]
    async for columns in _fetched(work, unknown, Column.BODYSTRUCTURE):
        for number, structure in zip(columns.content_ids, columns.bodystructures, strict=True):
            known[number] = parts.has_attachment(structure)


async def _learn_sort_keys(work: Work, index: Index, numbers: Sequence[int]) -> None:
    known = index.sort_keys
    unknown = [number for number in numbers if number not in known]
    async for columns in _fetched(work, unknown, Column.HEADERS):
        for number, headers in zip(columns.content_ids, columns.headers, strict=True):
            known[number] = sort_keys(headers)
    for number in unknown:
        known.setdefault(number, ("", "", "", 0))


def sort_keys(headers: bytes) -> tuple[str, str, str, int]:
    """from, to, subject without its prefixes, sentAt (RFC 8621 section 4.4.2)."""
    fields = {name.lower(): value for name, value in reversed(fields_of(headers))}
    subject = as_text(fields.get("subject", b""))
    return (
        _first_address(fields.get("from", b"")),
        _first_address(fields.get("to", b"")),
        _PREFIX.sub("", subject, count=1).strip() if _PREFIX.match(subject) else subject,
        _seconds(fields.get("date", b"")),
    )


def _first_address(value: bytes) -> str:
    first = next(iter(as_addresses(value)), None)
    return str(first["name"] or first["email"]) if first else ""


def _seconds(value: bytes) -> int:
    try:
        found = parsedate_tz(value[:200].decode("ascii", "replace").strip())
        return mktime_tz(found) if found else 0
    except (ValueError, OverflowError, TypeError):
        return 0


# ---- SearchSnippet --------------------------------------------------------------------------------------------------
async def snippets(work: Work, arguments: Arguments) -> Answers:
    """SearchSnippet/get."""
    account = work.check_account(arguments)
    nothing: Mapping[str, Any] = {}
    chosen = arguments.take("filter", mapping, nothing)
    asked = list(dict.fromkeys(arguments.take("emailIds", ids, required=True)))
    arguments.end()
    read_filter(chosen)
    if len(asked) > MAX_SNIPPETS:
        raise MethodError("requestTooLarge", f"at most {MAX_SNIPPETS} emails")
    index = await work.index()
    numbers = [number for text in asked if (number := number_of("M", text) or 0) in index.emails]
    columns = await work.service.store.emails.fetch(work.account_id, numbers, Column.HEADERS | Column.LOCATION)
    words = list(dict.fromkeys(needles(chosen)))
    found = {}
    for row, number in enumerate(columns.content_ids):
        subject = as_text(dict(reversed(fields_of(columns.headers[row]))).get("Subject", b""))
        text = await _text(work, columns.locations[row]) if words else ""
        found[names.email(number)] = (marked(subject, words, len(subject)), marked(text, words, SNIPPET))
    listed = [
        {"emailId": text, "subject": found[text][0], "preview": found[text][1]} for text in asked if text in found
    ]
    missing = [text for text in asked if text not in found]
    return {"accountId": account, "list": listed, "notFound": missing or None}


async def _text(work: Work, ref: Any) -> str:
    message = await work.service.bodies.read(work.account_id, ref)
    return await asyncio.to_thread(_plain_text, message)


def _plain_text(message: bytes) -> str:
    root = parts.tree(message)
    shown = [part for part in parts.arranged(root).text if part.kind.startswith("text/")]
    return " ".join(" ".join(part_text(message, part.part, 1 << 20) for part in shown[:8]).split())


def marked(text: str, words: Sequence[str], length: int) -> str | None:
    """The text around what was found, as HTML with what was found marked; null where nothing was."""
    if not words or not text:
        return None
    pattern = re.compile("|".join(re.escape(word) for word in sorted(words, key=len, reverse=True)), re.IGNORECASE)
    first = pattern.search(text)
    if first is None:
        return None
    start = max(0, first.start() - length // 3) if len(text) > length else 0
    shown, position, pieces = text[start : start + length], 0, []
    for match in pattern.finditer(shown):
        pieces += [escape(shown[position : match.start()], quote=False), "<mark>"]
        pieces += [escape(match[0], quote=False), "</mark>"]
        position = match.end()
    return "".join([*pieces, escape(shown[position:], quote=False)])
