"""What must hold among the rows of a store, as queries that find the rows where it does not.

Each query yields (account, mailbox, UID, detail), of which the first three may be NULL. A deleted mailbox or account
leaves rows behind that are cleared in the background; a note in `meta` (`reap/ACCOUNT` or `reap/ACCOUNT/MAILBOX`)
says so for as long as there are any.
"""

from __future__ import annotations

from typing import Final

_COUNTED: Final = (
    "SELECT account_id, mailbox_id, COUNT(*) AS messages, SUM(flags & 1 = 0) AS unseen, SUM(flags & 8 <> 0) AS deleted,"
    " SUM(size) AS size, MAX(uid) AS uid, MAX(modseq) AS modseq FROM messages GROUP BY account_id, mailbox_id"
)
_USED: Final = (
    "SELECT account_id, mailbox_id, MAX(uid) AS uid FROM (SELECT account_id, mailbox_id, uid FROM messages"
    " UNION ALL SELECT account_id, mailbox_id, uid FROM expunged) AS used GROUP BY account_id, mailbox_id"
)
"""The highest UID that each mailbox has given, also to what is gone."""
_ACCOUNT: Final = "(SELECT name FROM accounts a WHERE a.account_id = {0}.account_id)"
_REAPED: Final = (
    "EXISTS (SELECT 1 FROM meta r WHERE r.key = 'reap/' || {0}.account_id"
    " OR r.key = 'reap/' || {0}.account_id || '/' || {0}.mailbox_id)"
)
_ACCOUNT_REAPED: Final = "EXISTS (SELECT 1 FROM meta r WHERE r.key = 'reap/' || {0}.account_id)"


def _counter(column: str) -> str:
    return (
        f"SELECT {_ACCOUNT.format('b')}, b.name, NULL, 'counter {column} is ' || b.{column} || ', the messages give '"  # noqa: S608
        f" || COALESCE(n.{column}, 0) FROM mailboxes b LEFT JOIN ({_COUNTED}) n USING (account_id, mailbox_id)"
        f" WHERE b.{column} <> COALESCE(n.{column}, 0)"
    )


def _usage(column: str, of: str) -> str:
    return (
        f"SELECT a.name, NULL, NULL, '{column} is ' || a.{column} || ', not ' || COALESCE(SUM(b.{of}), 0)"  # noqa: S608
        f" FROM accounts a LEFT JOIN mailboxes b USING (account_id) GROUP BY a.account_id"
        f" HAVING a.{column} <> COALESCE(SUM(b.{of}), 0)"
    )


def _without_content(table: str, condition: str) -> str:
    return (
        f"SELECT {_ACCOUNT.format('x')}, NULL, NULL, 'content ' || x.content_id || ' of {table} {condition}'"  # noqa: S608
        f" FROM {table} x LEFT JOIN contents c USING (account_id, content_id)"
    )


INVARIANTS: Final[dict[str, str]] = {
    "mailbox messages": _counter("messages"),
    "mailbox unseen": _counter("unseen"),
    "mailbox deleted": _counter("deleted"),
    "mailbox size": _counter("size"),
    "account bytes": _usage("used_bytes", "size"),
    "account messages": _usage("used_messages", "messages"),
    "uidnext": (
        f"SELECT {_ACCOUNT.format('b')}, b.name, n.uid, 'UIDNEXT is ' || b.uidnext"  # noqa: S608
        f" FROM mailboxes b JOIN ({_USED}) n USING (account_id, mailbox_id) WHERE b.uidnext <= n.uid"
    ),
    "mailbox modseq": (
        f"SELECT {_ACCOUNT.format('b')}, b.name, NULL, 'HIGHESTMODSEQ is ' || b.modseq || ', not ' || n.modseq"  # noqa: S608
        f" FROM mailboxes b JOIN ({_COUNTED}) n USING (account_id, mailbox_id) WHERE b.modseq < n.modseq"
    ),
    "account modseq": (
        "SELECT a.name, b.name, NULL, 'the account is at ' || a.modseq || ', its mailbox at ' || b.modseq"
        " FROM accounts a JOIN mailboxes b USING (account_id) WHERE a.modseq < b.modseq"
    ),
    "ids": (
        "SELECT a.name, NULL, NULL, 'next id is ' || a.next_id || ', ' || n.used || ' is in use' FROM accounts a JOIN ("
        " SELECT account_id, MAX(id) AS used FROM (SELECT account_id, content_id AS id FROM contents UNION ALL"
        " SELECT account_id, mailbox_id FROM mailboxes) AS ids GROUP BY account_id"
        ") n USING (account_id) WHERE a.next_id <= n.used"
    ),
    "mailbox without account": (
        "SELECT NULL, b.name, NULL, 'account ' || b.account_id FROM mailboxes b"
        " LEFT JOIN accounts a USING (account_id) WHERE a.account_id IS NULL"
    ),
    "message without mailbox": (
        f"SELECT {_ACCOUNT.format('m')}, NULL, m.uid, 'mailbox ' || m.mailbox_id FROM messages m"  # noqa: S608
        " LEFT JOIN mailboxes b USING (account_id, mailbox_id)"
        f" WHERE b.mailbox_id IS NULL AND NOT {_REAPED.format('m')}"
    ),
    "message without content": (
        f"SELECT {_ACCOUNT.format('m')}, (SELECT name FROM mailboxes b WHERE b.account_id = m.account_id"  # noqa: S608
        " AND b.mailbox_id = m.mailbox_id), m.uid, 'content ' || m.content_id FROM messages m"
        " LEFT JOIN contents c USING (account_id, content_id) WHERE c.content_id IS NULL"
    ),
    "message expunged and present": (
        f"SELECT {_ACCOUNT.format('m')}, NULL, m.uid, 'mailbox ' || m.mailbox_id"  # noqa: S608
        " FROM messages m JOIN expunged e USING (account_id, mailbox_id, uid)"
    ),
    "references": (
        f"SELECT {_ACCOUNT.format('c')}, NULL, NULL, 'content ' || c.content_id || ' counts ' || c.refs || ' places, '"  # noqa: S608
        " || (SELECT COUNT(*) FROM messages m WHERE m.account_id = c.account_id AND m.content_id = c.content_id)"
        " || ' messages have it' FROM contents c WHERE c.refs <> (SELECT COUNT(*) FROM messages m"
        " WHERE m.account_id = c.account_id AND m.content_id = c.content_id)"
    ),
    "content without account": (
        "SELECT NULL, NULL, NULL, 'content ' || c.content_id || ' of account ' || c.account_id FROM contents c"  # noqa: S608
        " LEFT JOIN accounts a USING (account_id)"
        f" WHERE a.account_id IS NULL AND NOT {_ACCOUNT_REAPED.format('c')}"
    ),
    "content dead and alive": _without_content("dead_contents", "is alive too") + " WHERE c.content_id IS NOT NULL",
}
"""Kind of finding -> the query for it."""

REPAIRS: Final[tuple[str, ...]] = (
    f"UPDATE mailboxes AS b SET messages = n.messages, unseen = n.unseen, deleted = n.deleted, size = n.size"  # noqa: S608
    f" FROM ({_COUNTED}) AS n WHERE n.account_id = b.account_id AND n.mailbox_id = b.mailbox_id"
    " AND (b.messages <> n.messages OR b.unseen <> n.unseen OR b.deleted <> n.deleted OR b.size <> n.size)",
    "UPDATE mailboxes AS b SET messages = 0, unseen = 0, deleted = 0, size = 0"
    " WHERE (messages <> 0 OR unseen <> 0 OR deleted <> 0 OR size <> 0) AND NOT EXISTS"
    " (SELECT 1 FROM messages m WHERE m.account_id = b.account_id AND m.mailbox_id = b.mailbox_id)",
    f"UPDATE mailboxes AS b SET uidnext = n.uid + 1"  # noqa: S608
    f" FROM ({_USED}) AS n WHERE n.account_id = b.account_id AND n.mailbox_id = b.mailbox_id AND b.uidnext <= n.uid",
    f"UPDATE mailboxes AS b SET modseq = n.modseq"  # noqa: S608
    f" FROM ({_COUNTED}) AS n WHERE n.account_id = b.account_id AND n.mailbox_id = b.mailbox_id"
    " AND b.modseq < n.modseq",
    "UPDATE accounts AS a SET modseq = n.modseq FROM (SELECT account_id, MAX(modseq) AS modseq FROM mailboxes"
    " GROUP BY account_id) AS n WHERE n.account_id = a.account_id AND a.modseq < n.modseq",
    "UPDATE accounts AS a SET used_bytes = n.size, used_messages = n.messages FROM ("
    " SELECT account_id, SUM(size) AS size, SUM(messages) AS messages FROM mailboxes GROUP BY account_id) AS n"
    " WHERE n.account_id = a.account_id AND (a.used_bytes <> n.size OR a.used_messages <> n.messages)",
    "UPDATE contents AS c SET refs = n.refs FROM (SELECT account_id, content_id, COUNT(*) AS refs FROM messages"
    " GROUP BY account_id, content_id) AS n"
    " WHERE n.account_id = c.account_id AND n.content_id = c.content_id AND c.refs <> n.refs",
)
"""Statements that set each counter to what the rows say, each changing only rows that are wrong; order matters."""
