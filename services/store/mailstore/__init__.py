"""The store's rules: accounts, mailboxes, messages, delivery, maildrops, search.

Each topic is a module of rules: coroutines over a `Transaction` that await nothing else. An engine must run them as if
one after the other, and may run one more than once, so a rule changes nothing outside its transaction; it hands back
an `Outcome`. `MailStore` ties them to the outside: time, bodies, the change hub.
"""

from services.store.mailstore.store import MailStore

__all__ = ["MailStore"]
