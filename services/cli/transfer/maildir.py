"""Maildir (and Maildir++ folders: `.Work.2026` beside `cur`), as Dovecot, Courier and mbsync keep it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from services.cli.transfer.message import Folder, Message, SourceError, is_raw, with_crlf
from services.common.domain import ANSWERED, DELETED, DRAFT, FLAGGED, INBOX, SEEN
from services.common.mailboxnames import InvalidName, decode_utf7, encode_utf7

_FLAGS = {"D": DRAFT, "F": FLAGGED, "R": ANSWERED, "S": SEEN, "T": DELETED}
_RAW = ",L=raw"
_DOVECOT_KEYWORDS = "dovecot-keywords"
_DOT = "&AC4-"
"""A dot inside a level's name: modified UTF-7 that no encoder makes, as other servers write it."""


class MaildirSource:
    """Reads a Maildir; a folder's name is its Maildir++ name with the dots as levels."""

    def __init__(self, root: Path, folder: str = INBOX) -> None:
        if not (root / "cur").is_dir():
            raise SourceError(f"{root} is no Maildir: it has no folder cur")
        self._root = root
        self._folder = folder

    def folders(self) -> Iterator[Folder]:
        """The Maildir itself, then its sub-folders by name."""
        yield self._open(self._root, self._folder)
        for path in sorted(self._root.iterdir()):
            if path.name.startswith(".") and (path / "cur").is_dir():
                yield self._open(path, _folder_name(path.name[1:]))

    def _open(self, path: Path, name: str) -> Folder:
        files = [entry for part in ("cur", "new") if (path / part).is_dir() for entry in (path / part).iterdir()]
        files.sort(key=lambda entry: (entry.stat().st_mtime, entry.name))
        return Folder(name, len(files), self._read(files, _keywords(path)))

    @staticmethod
    def _read(files: list[Path], letters: dict[str, str]) -> Iterator[Message]:
        for file in files:
            unique, _, info = file.name.partition(":2,")
            body = file.read_bytes()
            yield Message(
                body if _RAW in unique else with_crlf(body),
                sum(_FLAGS.get(letter, 0) for letter in set(info)),
                tuple(letters[letter] for letter in info if letter in letters),
                int(file.stat().st_mtime),
            )


class MaildirTarget:
    """Writes a Maildir. File names are made from UIDVALIDITY and UID, so a second run knows what is there."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._path = root
        self._uidvalidity = 0
        self._have: set[str] = set()
        self._keywords: dict[str, str] = {}

    def begin(self, folder: str, uidvalidity: int) -> None:
        """Make the folder's directories and see what they hold."""
        encoded = encode_utf7(folder).replace(".", _DOT).replace("/", ".")
        self._path = self._root if folder == INBOX else self._root / f".{encoded}"
        self._uidvalidity = uidvalidity
        for part in ("tmp", "new", "cur"):
            (self._path / part).mkdir(parents=True, exist_ok=True)
        self._have = {name.partition(":")[0].removesuffix(_RAW) for name in os.listdir(self._path / "cur")}
        self._keywords = {keyword: letter for letter, keyword in _keywords(self._path).items()}

    def has(self, uid: int) -> bool:
        """Whether a file with this UID's name is there."""
        return self._unique(uid) in self._have

    def write(self, uid: int, message: Message) -> None:
        """tmp, fsync, rename: the Maildir way."""
        name = self._unique(uid) + (_RAW if is_raw(message.body) else "")
        temporary = self._path / "tmp" / name
        with open(temporary, "wb") as file:
            file.write(message.body)
            file.flush()
            os.fsync(file.fileno())
        if message.internaldate is not None:
            os.utime(temporary, (message.internaldate, message.internaldate))
        temporary.rename(self._path / "cur" / f"{name}:2,{self._info(message)}")

    def end(self) -> None:
        """Nothing to do: every message is complete in itself."""

    def abandon(self) -> None:
        """Nothing to do, for the same reason."""

    def _unique(self, uid: int) -> str:
        return f"{self._uidvalidity}.{uid}.mailkeep"

    def _info(self, message: Message) -> str:
        letters = {letter for letter, flag in _FLAGS.items() if message.system & flag}
        return "".join(sorted(letters | {letter for word in message.keywords if (letter := self._letter(word))}))

    def _letter(self, keyword: str) -> str:
        """A letter a-z for the keyword, kept in dovecot-keywords; "" once the 26 are used up."""
        if keyword not in self._keywords and len(self._keywords) < 26:
            self._keywords[keyword] = chr(ord("a") + len(self._keywords))
            lines = (f"{ord(letter) - ord('a')} {word}\n" for word, letter in self._keywords.items())
            (self._path / _DOVECOT_KEYWORDS).write_text("".join(lines), encoding="utf-8")
        return self._keywords.get(keyword, "")


def _folder_name(encoded: str) -> str:
    """The mailbox of a Maildir++ folder; a name that is no modified UTF-7 is taken as it stands."""
    levels = encoded.replace(".", "/")
    try:
        return ".".join(decode_utf7(part) for part in levels.split(_DOT))
    except InvalidName:
        return levels


def _keywords(path: Path) -> dict[str, str]:
    """Letter -> keyword, from the file in which Dovecot keeps the names of the letters a-z."""
    try:
        lines = (path / _DOVECOT_KEYWORDS).read_text(encoding="utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        return {}
    pairs = (line.split(" ", 1) for line in lines if " " in line)
    return {chr(ord("a") + int(number)): word for number, word in pairs if number.isdigit() and int(number) < 26}
