"""Who may call what: one table.

Over TCP the role is the name of the client's certificate, over the Unix socket (mode 0600: the same user) what the
client says. Either way the table holds.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final

_READ: Final = frozenset({"OpenAccount", "GetMailbox", "ReadBodies", "StreamBody"})
_STREAMS: Final = frozenset({"Exchange", "AttachSessions"})
_MAILDROP: Final = frozenset({"OpenMaildrop", "CommitMaildrop", "ReleaseMaildrop"})
_LOGINS: Final = frozenset({"OpenLogin", "UseLogin", "ListLogins", "EndLogin", "EndLogins"})
_EMAILS: Final = frozenset({"SyncEmails", "FetchContents", "UploadBlob", "FindBlobs"})
_DELIVERY: Final = frozenset({"DeliverMessage", "UploadDelivery"})
_MAILBOXES: Final = frozenset(
    {
        "ListMailboxes", "CreateMailbox", "RenameMailbox", "DeleteMailbox", "ListSubscriptions", "ModifySubscription",
        "SyncMailbox", "FetchColumns", "ModifyFlags", "BatchModifyFlags", "AppendMessages",
        "UploadMessages", "CopyMessages", "ExpungeMessages", "SearchMessages", "WatchChanges",
    }
)  # fmt: skip
_ADMINISTRATION: Final = frozenset(
    {
        "ListAccounts", "DeleteAccount", "ListSessions", "KickSessions", "CheckStore", "CompactStore", "BackupStore",
    }
)  # fmt: skip

ROLES: Final[Mapping[str, frozenset[str]]] = {
    "pop": _READ | _STREAMS | _MAILDROP,
    "imap": _READ | _STREAMS | _MAILBOXES,
    "http": _READ | _STREAMS | _MAILBOXES | _EMAILS | _LOGINS,
    "lmtp": frozenset({"OpenAccount", "GetMailbox"}) | _STREAMS | _DELIVERY,
    # By the stream, in which every call is judged by itself, a client learns that the store is there.
    "backup": frozenset({"Exchange", "BackupStore"}),
    "admin": _READ | _STREAMS | _MAILBOXES | _MAILDROP | _DELIVERY | _EMAILS | _LOGINS | _ADMINISTRATION,
}
"""Role -> names of methods. A role that is not here may call nothing."""


_is_host: Final = re.compile(r"[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*").fullmatch


def role_of_names(names: Iterable[str]) -> str:
    """The role that a certificate's names give: the first label of one of them; "" for none or more than one.

    So `imap`, `imap.mail.svc` and `imap.mail.svc.cluster.local` in one certificate are the role imap. Only names of
    hosts count: the mail address admin.smith@example.com of a person's certificate makes nobody an administrator.
    """
    roles = {name.partition(".")[0].lower() for name in names if _is_host(name)} & ROLES.keys()
    return roles.pop() if len(roles) == 1 else ""
