"""Search texts: what a message says, decoded and folded, kept beside an index over three-character pieces.

The index only narrows a search down; whether a text holds the needle, the text itself decides. A text is cheap to make
and dear to index, so these are two steps; `text_queue` says which one a content waits for. What differs between engines
is behind `TextIndex`.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum
from typing import Final, Protocol, cast

from services.common.domain import AccountId
from services.common.mime.text import SearchText
from services.store.backends import Transaction, Value

COLUMNS: Final = ("subject_text", "from_text", "to_text", "cc_text", "bcc_text", "header_text", "body_text")
"""Columns of `texts`, in the order of the fields of `SearchText`."""

_PIECE: Final = 3
_MAX_PIECES: Final = 16
"""Pieces of a needle that are looked up; more of them hardly narrow a search further."""
_INSERT: Final = (
    f"INSERT INTO texts (account_id, content_id, {', '.join(COLUMNS)}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)"
)
_SELECT: Final = f"SELECT {', '.join(COLUMNS)} FROM texts WHERE account_id = $1 AND content_id = $2"

Texts = tuple[str, str, str, str, str, str, str]


def texts_of(text: SearchText) -> Texts:
    """What is stored of a message's text. NUL, which SQL text cannot hold, is never searched for."""
    fields = (text.subject, text.from_, text.to, text.cc, text.bcc, text.header, text.body)
    subject, from_, to, copied, blind, header, body = map(storable, fields)
    return subject, from_, to, copied, blind, header, body


def storable(text: str) -> str:
    """Text as every engine takes it: without NUL and lone surrogates."""
    if text.isascii():
        return text.replace("\0", "\ufffd")
    return text.replace("\0", "\ufffd").encode("utf-8", "replace").decode()


class TextIndex(Protocol):
    """One engine's index over `texts`."""

    def contains(self, column: str, parameter: int) -> str:
        """SQL: whether a column holds the text of a parameter, which is not empty."""

    def narrow(self, account_id: AccountId, needle: str, parameter: int) -> tuple[str, str, Sequence[Value]] | None:
        """What restricts a search to the texts that may hold a needle: a table to begin the join with (or ""), a
        condition on `m.content_id`, and its parameters, numbered from `parameter` on.

        None where the index cannot help.
        """

    async def add(self, tx: Transaction, account_id: AccountId, content_id: int, texts: Texts) -> None:
        """Index a text; called beside the INSERT into `texts`."""

    async def remove(self, tx: Transaction, account_id: AccountId, content_id: int) -> None:
        """Forget a text, if it was indexed."""


class SqliteTextIndex:
    """FTS5 by trigrams, contentless, without positions: `text_index` of the schema."""

    def contains(self, column: str, parameter: int) -> str:
        """By code points, as everything here."""
        return f"instr(t.{column}, ${parameter}) > 0"

    def narrow(self, account_id: AccountId, needle: str, parameter: int) -> tuple[str, str, Sequence[Value]] | None:
        """All trigrams of the needle, within the account's range of rowids."""
        if len(needle) < _PIECE:
            return None
        pieces = list(dict.fromkeys(needle[at : at + _PIECE] for at in range(len(needle) - _PIECE + 1)))
        step = -(-len(pieces) // _MAX_PIECES)
        query = " AND ".join('"' + piece.replace('"', '""') + '"' for piece in pieces[::step])
        low = _rowid(account_id, 0)
        condition = (
            f"f.text_index MATCH ${parameter} AND f.rowid BETWEEN ${parameter + 1} AND ${parameter + 2}"
            f" AND m.content_id = f.rowid - ${parameter + 1}"
        )
        return "text_index f", condition, (query, low, low + 0xFFFF_FFFF)

    async def add(self, tx: Transaction, account_id: AccountId, content_id: int, texts: Texts) -> None:
        """One document of all fields."""
        document = "\n".join(texts)
        await tx.execute(
            "INSERT INTO text_index (rowid, text) VALUES ($1, $2)", _rowid(account_id, content_id), document
        )

    async def remove(self, tx: Transaction, account_id: AccountId, content_id: int) -> None:
        """Mark the document deleted."""
        await tx.execute("DELETE FROM text_index WHERE rowid = $1", _rowid(account_id, content_id))


def _rowid(account_id: AccountId, content_id: int) -> int:
    return (account_id << 32) + content_id


class State(IntEnum):
    """What is left to do for a content in `text_queue`; one that is not there is indexed."""

    WAITING = 0
    MADE = 1
    LONG = 2
    """In `texts`, and not for the index."""
    UNKEPT = 3
    """Not in `texts`: too long for it, or the body cannot be read."""


async def keep(tx: Transaction, account_id: AccountId, content_id: int, texts: Texts) -> None:
    """Keep a content's text."""
    await tx.execute(_INSERT, account_id, content_id, *texts)


async def index_kept(tx: Transaction, index: TextIndex, account_id: AccountId, content_id: int) -> None:
    """Index a text that is kept."""
    row = await tx.fetch_row(_SELECT, account_id, content_id)
    if row is not None:
        await index.add(tx, account_id, content_id, cast("Texts", row))


async def drop(tx: Transaction, index: TextIndex, account_id: AccountId, content_id: int) -> None:
    """Drop a content's text, if it has one."""
    if await tx.execute("DELETE FROM texts WHERE account_id = $1 AND content_id = $2", account_id, content_id):
        await index.remove(tx, account_id, content_id)


async def mark(tx: Transaction, account_id: AccountId, content_id: int, state: State) -> None:
    """Note what is left to do."""
    await tx.execute(
        "UPDATE text_queue SET state = $3 WHERE account_id = $1 AND content_id = $2", account_id, content_id, int(state)
    )


async def finish(tx: Transaction, account_id: AccountId, content_id: int) -> None:
    """Nothing is left to do."""
    await tx.execute("DELETE FROM text_queue WHERE account_id = $1 AND content_id = $2", account_id, content_id)
