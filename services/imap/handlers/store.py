"""STORE and UID STORE (RFC 9051 section 6.4.6)."""

from __future__ import annotations

from services.common.domain import KEYWORD_SHIFT, FlagChange, FlagEdited, FlagOperation, FlagResult
from services.common.later import Later
from services.imap.commands import Store
from services.imap.handlers.messages import EXPUNGE_ISSUED, spans_of, writable
from services.imap.session import Answer, Session
from services.imap.view import View
from services.imap.wire.sequence import format_numbers


def store(session: Session, command: Store) -> Answer:
    """One call for the whole set; answered when it is on disk."""
    view = writable(session)
    uids = view.uids_of(spans_of(view, command.messages, uid=command.uid))
    if not uids:
        return session.ok(b"STORE completed")
    change = command.change
    if len(uids) == 1 and not change.keywords and command.unchanged_since is None:
        return _store_one(session, command, view, uids[0])
    return _store(session, command, view, list(uids))


def _store_one(session: Session, command: Store, view: View, uid: int) -> Later[FlagEdited]:
    """One message's system flags, which is what clients change nearly always."""
    shared, change = view.shared, command.change
    before = view.flags_of(uid)

    def answer(edited: FlagEdited) -> bytes:
        told = b""
        if command.silent:
            if edited.modseq > edited.previous and edited.flags == _OUTCOMES[change.operation](before, change.system):
                view.own[uid] = edited.modseq  # see `_expect`
        elif edited.modseq:
            view.own[uid] = edited.modseq
            told = view.new_keywords() + _response(view, uid, uid=command.uid)
        return told + session.ok(b"STORE completed", b"" if edited.modseq else EXPUNGE_ISSUED)

    async def rescued(edited: FlagEdited) -> bytes:
        await session.service.columns.rescue(shared)
        return answer(edited)

    future = session.service.flags.edit(shared, uid, change.operation, change.system)
    return Later(future, lambda edited: rescued(edited) if shared.doomed else answer(edited))


async def _store(session: Session, command: Store, view: View, uids: list[int]) -> bytes:
    shared = view.shared
    before = {uid: view.flags_of(uid) for uid in uids} if command.silent else {}
    result = await session.service.flags.modify(shared, uids, command.change, command.unchanged_since)
    if shared.doomed:
        await session.service.columns.rescue(shared)
    if command.silent:
        _expect(view, command.change, before, result)
        told = b""
    else:
        view.own.update(zip(result.rows.uids, result.rows.modseqs, strict=True))
        told = view.new_keywords() + _responses(view, result, uid=command.uid)
    return told + session.ok(b"STORE completed", _code(uids, result))


def _responses(view: View, result: FlagResult, *, uid: bool) -> bytes:
    return b"".join([_response(view, changed, uid=uid) for changed in result.rows.uids])


def _response(view: View, changed: int, *, uid: bool) -> bytes:
    number, text = view.place(changed) + 1, view.flag_text(changed)
    if uid:
        return b"* %d FETCH (UID %d FLAGS (%b))\r\n" % (number, changed, text)
    return b"* %d FETCH (FLAGS (%b))\r\n" % (number, text)


def _expect(view: View, change: FlagChange, before: dict[int, int], result: FlagResult) -> None:
    """With .SILENT the client works out the flags itself; where another session had a hand in them, it is told.

    A row that was as wanted before still has its older sequence, which may be that of a change not told yet.
    """
    mask = change.system | _keyword_mask(change.keywords, result.status.keywords)
    for uid, flags, modseq in zip(result.rows.uids, result.rows.flags, result.rows.modseqs, strict=True):
        if modseq > result.previous and flags == _OUTCOMES[change.operation](before[uid], mask):
            view.own[uid] = modseq


_OUTCOMES = {
    FlagOperation.REPLACE: lambda flags, mask: mask,
    FlagOperation.ADD: lambda flags, mask: flags | mask,
    FlagOperation.REMOVE: lambda flags, mask: flags & ~mask,
}


def _keyword_mask(wanted: tuple[str, ...], keywords: tuple[str, ...]) -> int:
    names = {name.lower() for name in wanted}
    return sum(1 << bit for bit, keyword in enumerate(keywords, KEYWORD_SHIFT) if keyword.lower() in names)


def _code(uids: list[int], result: FlagResult) -> bytes:
    """MODIFIED (RFC 7162 section 3.1.3), or that some messages are gone (RFC 5530)."""
    if result.conflicts:
        return b"MODIFIED " + format_numbers(list(result.conflicts))
    return EXPUNGE_ISSUED if len(result.rows) < len(uids) else b""
