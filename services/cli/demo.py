"""What `mailkeep run --demo` adds: high ports, a certificate, and an account with a few hundred varied messages."""

from __future__ import annotations

import random
import time
from itertools import islice
from pathlib import Path
from typing import Final

from services.cli.endpoints import reachable
from services.common import configuration as configurations
from services.common.directory.usersfile import UsersFile, UsersFileError
from services.common.domain import ANSWERED, DRAFT, FLAGGED, INBOX, SEEN, AppendItem, Quota
from services.common.options import Configuration
from services.common.problems import ConfigurationError, Problem
from services.common.requestid import new_request_id
from services.common.samplemail import sample_mails
from services.common.store import Store
from services.common.tls import write_self_signed
from services.common.values import variable

ACCOUNT: Final = "demo@example.com"
PASSWORD: Final = "demo"  # noqa: S105 - printed for everyone to use, on loopback
FOLDERS: Final[dict[str, int]] = {
    "Archive": 60,
    "Sent": 40,
    "Drafts": 4,
    "Junk": 10,
    "Projects/Harbour": 30,
    INBOX: 240,
}
CERTIFICATE: Final = "demo-certificate.pem"
KEY: Final = "demo-key.pem"
_DAY: Final = 86_400
_SEED: Final = 20


def overrides(known: Configuration) -> dict[str, str]:
    """Environment for the services: ports below 1024 raised by 1000, and a certificate where none is configured.

    Makes the certificate and the account where they are missing. Raises ConfigurationError, OSError.
    """
    if known.directory.kind != "users":
        raise ConfigurationError([Problem("directory.kind", known.directory.kind, "has no room for a demo account")])
    _make_account(Path(known.directory.usersfile))
    changed = {
        variable(name): str(number + 1000) for name, number in configurations.ports(known).items() if number < 1024
    }
    if not known.tls.certfile:
        certificate, key = Path(known.data, CERTIFICATE), Path(known.data, KEY)
        if not (certificate.exists() and key.exists()):
            write_self_signed(certificate, key)
        changed |= {variable("tls.certfile"): str(certificate), variable("tls.keyfile"): str(key)}
    return changed


def _make_account(path: Path) -> None:
    users = UsersFile(path)
    try:
        if ACCOUNT not in users.names():
            users.add(ACCOUNT, PASSWORD)
    except UsersFileError as error:
        raise ConfigurationError([Problem("directory.usersfile", "", text) for text in error.problems]) from None


def lines_to_paste(known: Configuration) -> str:
    """What to type to read the demo account's mail; services that are not enabled left out."""
    imap = f"imap://{reachable(known.imap.listen)}:{known.imap.port}"
    pop = f"pop3://{reachable(known.pop.listen)}:{known.pop.port}"
    user = f"curl -u {ACCOUNT}:{PASSWORD}"
    lines = [f"\nRead the demo account (password: {PASSWORD}) from another terminal:"]
    if known.imap.enable:
        lines += [
            f"  {user} {imap}/                            # folders",
            f"  {user} '{imap}/INBOX;MAILINDEX=1'         # the first message",
            f"  {user} {imap}/INBOX -X 'SEARCH UNSEEN'    # what is new",
        ]
    if known.pop.enable:
        lines.append(f"  {user} {pop}/                            # the same by POP3")
    if known.http.enable:
        lines += ["\nOr in a browser:", f"  http://{reachable(known.http.listen)}:{known.http.port}/"]
    return "\n".join(lines)


async def fill(store: Store) -> int:
    """Fill the demo account where its INBOX never held anything. Returns how many messages it was given.

    A folder is filled in one piece and INBOX last, so that a start that was cut short is made good by the next one.
    """
    account = await store.open_account(ACCOUNT)
    known = {status.name: status for status in await store.list_mailboxes(account.account_id)}
    if known[INBOX].uidnext > 1:
        return 0
    chance = random.Random(_SEED)  # noqa: S311 - sample data
    mails = iter(sample_mails(seed=_SEED))
    given = 0
    for name, count in FOLDERS.items():
        items = [_item(body, name, chance) for body in islice(mails, count)]
        if name not in known:
            await store.create_mailbox(account.account_id, name)
            await store.subscribe(account.account_id, name, True)
        elif known[name].uidnext > 1:
            continue
        items.sort(key=lambda item: item.internaldate or 0)
        await store.append(account.account_id, name, items, Quota(), request_id=new_request_id())
        given += count
    return given


def _item(body: bytes, folder: str, chance: random.Random) -> AppendItem:
    age = int(chance.expovariate(1 / 60) * _DAY)
    return AppendItem(body, _flags(folder, age, chance), _keywords(folder, chance), int(time.time()) - age)


def _flags(folder: str, age: int, chance: random.Random) -> int:
    """Old mail is mostly read, some of it answered or flagged."""
    if folder == "Drafts":
        return SEEN | DRAFT
    read = folder == "Sent" or chance.random() < (0.95 if age > 7 * _DAY else 0.4)
    flags = SEEN if read else 0
    flags |= ANSWERED if read and chance.random() < 0.2 else 0
    return flags | (FLAGGED if chance.random() < 0.07 else 0)


def _keywords(folder: str, chance: random.Random) -> tuple[str, ...]:
    if folder == "Junk":
        return ("$Junk",)
    return ("$Forwarded",) if chance.random() < 0.05 else ()
