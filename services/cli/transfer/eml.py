"""Single message files: a directory tree of .eml files, a directory a folder."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from services.cli.transfer.message import Folder, Message, SourceError, file_name, folder_name, is_raw, with_crlf
from services.common.domain import INBOX, SYSTEM_FLAGS

_SUFFIX = ".eml"
_RAW_SUFFIX = ".raw.eml"
_BITS = {name: bit for bit, name in SYSTEM_FLAGS.items()}


class EmlSource:
    """Reads .eml files; flags and dates from the .json file beside one where an export left it."""

    def __init__(self, root: Path, folder: str = "") -> None:
        self._root = root
        self._folder = folder

    def folders(self) -> Iterator[Folder]:
        """A single file, or every directory that holds .eml files."""
        if self._root.is_file():
            yield Folder(self._folder or INBOX, 1, _read([self._root]))
            return
        by_directory: dict[Path, list[Path]] = {}
        for path in sorted(self._root.rglob(f"*{_SUFFIX}")):
            if path.name.startswith("."):
                continue
            by_directory.setdefault(path.parent, []).append(path)
        if not by_directory:
            raise SourceError(f"{self._root} holds no {_SUFFIX} file")
        for directory, files in by_directory.items():
            name = str(directory.relative_to(self._root))
            yield Folder(self._folder or INBOX if name == "." else folder_name(name), len(files), _read(files))


class EmlTarget:
    """Writes `FOLDER/UIDVALIDITY-UID.eml` with a .json file of flags and date beside it."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._path = root
        self._uidvalidity = 0

    def begin(self, folder: str, uidvalidity: int) -> None:
        """Make the folder's directory."""
        self._path = self._root / file_name(folder)
        self._uidvalidity = uidvalidity
        self._path.mkdir(parents=True, exist_ok=True)

    def has(self, uid: int) -> bool:
        """Whether the message's .json file, which is written last, is there."""
        return self._name(uid, ".json").exists()

    def write(self, uid: int, message: Message) -> None:
        """The message first, then its .json file."""
        _write(self._name(uid, _RAW_SUFFIX if is_raw(message.body) else _SUFFIX), message.body)
        flags = [name for bit, name in SYSTEM_FLAGS.items() if message.system & bit] + list(message.keywords)
        beside = json.dumps({"flags": flags, "internaldate": message.internaldate})
        _write(self._name(uid, ".json"), beside.encode())

    def end(self) -> None:
        """Nothing to do: every message is complete in itself."""

    def abandon(self) -> None:
        """Nothing to do, for the same reason."""

    def _name(self, uid: int, suffix: str) -> Path:
        return self._path / f"{self._uidvalidity}-{uid:010d}{suffix}"


def _write(path: Path, data: bytes) -> None:
    temporary = path.with_name(f".{path.name}.part")
    with open(temporary, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    temporary.rename(path)


def _read(files: list[Path]) -> Iterator[Message]:
    for path in files:
        data = path.read_bytes()
        raw = path.name.endswith(_RAW_SUFFIX)
        beside = _beside(path.with_name(path.name.removesuffix(_RAW_SUFFIX if raw else _SUFFIX) + ".json"))
        flags = _flags(beside)
        date = beside.get("internaldate")
        yield Message(
            data if raw else with_crlf(data),
            sum(_BITS.get(flag, 0) for flag in set(flags)),
            tuple(flag for flag in flags if flag not in _BITS),
            date if isinstance(date, int) else int(path.stat().st_mtime),
        )


def _flags(beside: dict[str, Any]) -> list[str]:
    found = beside.get("flags")
    return [flag for flag in found if isinstance(flag, str)] if isinstance(found, list) else []


def _beside(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise SourceError(f"{path} is no JSON: {error}") from None
    return found if isinstance(found, dict) else {}
