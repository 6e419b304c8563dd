"""A restored store gives no number a second time.

What happened after the backup was made is forgotten, and clients and front ends remember it: a UID, a modification
sequence or an account number that was given then must not come to mean something else. So all counters skip ahead, and
every message counts as changed, since its flags may be older than those that a client knows. What came and went since
the backup is known to nobody: whoever asks what is new gets each mailbox whole, once. HTTP clients log in again.
"""

from __future__ import annotations

from contextlib import closing
from typing import Final

import apsw

from services.store.backends.sqliteconnection import migrate
from services.store.mailstore.uidranges import MAX_UID

GIVEN: Final = 1 << 20
"""UIDs of one mailbox, ids of one account, or accounts that may have been given since the backup."""
CHANGES: Final = 1 << 32
"""Changes of one account since then."""

_STATEMENTS: Final = (
    f"UPDATE accounts SET modseq = modseq + {CHANGES}, next_id = next_id + {GIVEN}",  # noqa: S608 - constants
    f"UPDATE sqlite_sequence SET seq = seq + {GIVEN} WHERE name = 'accounts'",  # noqa: S608
    f"UPDATE mailboxes AS b SET uidnext = min(uidnext + {GIVEN}, {MAX_UID}),"  # noqa: S608
    " modseq = (SELECT a.modseq FROM accounts a WHERE a.account_id = b.account_id)",
    "UPDATE mailboxes SET history_floor = modseq",
    "UPDATE messages AS m SET modseq = (SELECT a.modseq FROM accounts a WHERE a.account_id = m.account_id)"
    " WHERE EXISTS (SELECT 1 FROM accounts a WHERE a.account_id = m.account_id)",
    # Some of them were ended since.
    "DELETE FROM logins",
)


def skip_ahead(path: str) -> None:
    """Raise the counters of the metadata at `path`, which nobody has open; an older schema becomes the present one.

    Blocks. Raises apsw.Error.
    """
    with closing(apsw.Connection(path, flags=apsw.SQLITE_OPEN_READWRITE)) as connection:
        migrate(connection)
        with connection:
            for statement in _STATEMENTS:
                connection.execute(statement)
