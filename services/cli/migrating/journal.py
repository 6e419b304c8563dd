"""How far a copy of an account's mailboxes has come, so that it goes on where it was stopped.

JSON lines, the last one of a mailbox counts. What is lost of it (a crash between a message and its line) costs a second
look at some messages and no duplicate: the importer knows messages by their bytes.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from services.cli.transfer.message import SourceError
from services.common.replacing import replace_file

FOLDER: Final = "migrate"
MAX_BYTES: Final = 64 << 20


@dataclass(frozen=True, slots=True)
class Place:
    """All of a mailbox at the source up to the UID `upto` is here, in the mailbox with `here_validity` up to `here`."""

    mailbox: str
    uidvalidity: int
    upto: int
    here_validity: int
    here: int


class Journal:
    """One account's copy from one account of one server. Held by one run at a time."""

    def __init__(self, data: str, account: str, source: str) -> None:
        """Raises SourceError where another run has it, OSError."""
        folder = Path(data, FOLDER)
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        key = hashlib.sha256(f"{account}\0{source}".encode()).hexdigest()[:32]
        self.path = folder / f"{key}.jsonl"
        self._lock = os.open(folder / f"{key}.lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._lock)
            raise SourceError(f"{account} is being copied from there already") from None
        self._places = _read(self.path)
        head = json.dumps({"account": account, "source": source})
        lines = [head, *(json.dumps(asdict(place)) for place in self._places.values())]
        replace_file(self.path, "".join(f"{line}\n" for line in lines).encode())
        self._file = open(self.path, "a", encoding="utf-8")  # noqa: SIM115 - closed by close()

    def close(self) -> None:
        """Let another run have it."""
        self._file.close()
        os.close(self._lock)

    def place(self, mailbox: str, uidvalidity: int, here_validity: int) -> Place:
        """How far this mailbox has come; from the beginning where it, or ours, is not the one of then."""
        known = self._places.get(mailbox)
        if known and (known.uidvalidity, known.here_validity) == (uidvalidity, here_validity):
            return known
        return Place(mailbox, uidvalidity, 0, here_validity, 0)

    def note(self, place: Place) -> None:
        """It has come further."""
        self._places[place.mailbox] = place
        self._file.write(json.dumps(asdict(place)) + "\n")
        self._file.flush()


def _read(path: Path) -> dict[str, Place]:
    """The last line of each mailbox; lines that are none (a torn last one) are left out."""
    found: dict[str, Place] = {}
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            text = file.read(MAX_BYTES)
    except FileNotFoundError:
        return {}
    for line in text.splitlines():
        try:
            place = Place(**json.loads(line))
        except (ValueError, TypeError):
            continue
        found[place.mailbox] = place
    return found
