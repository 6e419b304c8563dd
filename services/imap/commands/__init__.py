"""IMAP commands as values: frozen, comparable, one class per command; UID forms are the field `uid`.

Neither the tag nor the word it was given by (`UID FETCH`, `EXAMINE`) is part of a command: `Request` of
`services.imap.events` carries them, so that equal commands can be shared.
"""

from __future__ import annotations

from services.imap.commands.fetch import Fetch
from services.imap.commands.mailbox import (
    Append,
    Create,
    Delete,
    List,
    Lsub,
    Namespace,
    Rename,
    Select,
    Status,
    Subscribe,
    Unsubscribe,
)
from services.imap.commands.message import Check, Close, Copy, Expunge, Move, Store, Unselect
from services.imap.commands.search import Search
from services.imap.commands.sequence import SequenceSet
from services.imap.commands.session import (
    Authenticate,
    Capability,
    Enable,
    Id,
    Idle,
    Login,
    Logout,
    Noop,
    ProxyAuth,
    StartTls,
)

__all__ = [
    "Append",
    "Authenticate",
    "Capability",
    "Check",
    "Close",
    "Command",
    "Copy",
    "Create",
    "Delete",
    "Enable",
    "Expunge",
    "Fetch",
    "Id",
    "Idle",
    "List",
    "Login",
    "Logout",
    "Lsub",
    "Move",
    "Namespace",
    "Noop",
    "ProxyAuth",
    "Rename",
    "Search",
    "Select",
    "SequenceSet",
    "StartTls",
    "Status",
    "Store",
    "Subscribe",
    "Unselect",
    "Unsubscribe",
]

Command = (
    Append
    | Authenticate
    | Capability
    | Check
    | Close
    | Copy
    | Create
    | Delete
    | Enable
    | Expunge
    | Fetch
    | Id
    | Idle
    | List
    | Login
    | Logout
    | Lsub
    | Move
    | Namespace
    | Noop
    | ProxyAuth
    | Rename
    | Search
    | Select
    | StartTls
    | Status
    | Store
    | Subscribe
    | Unselect
    | Unsubscribe
)
