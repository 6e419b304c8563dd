"""When the certificates of a process end, for whoever watches it."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from services.common.certificatedates import expiry
from services.common.options import Configuration
from services.common.tls import CertificateError, sni_pairs

_OF_THE_STORE: Final = "store"


def certificate_files(name: str, configuration: Configuration) -> dict[str, str]:
    """The certificate files that the service `name` uses, by their options; those that are not set are left out."""
    store = configuration.store
    if name == _OF_THE_STORE:
        files = {"store.certfile": store.certfile if store.listen else ""}
    else:
        files = {"tls.certfile": configuration.tls.certfile, "store.clientcertfile": store.clientcertfile}
        files |= {f"tls.snifolder {pair.name}": str(pair / "tls.crt") for pair in _pairs(configuration)}
    return {option: str(Path(configuration.data, file)) for option, file in files.items() if file}


def _pairs(configuration: Configuration) -> list[Path]:
    try:
        return sni_pairs(configuration.tls.snifolder)
    except CertificateError:
        return []


class Expiries:
    """Reads the files again when they change."""

    def __init__(self, files: Callable[[], Mapping[str, str]]) -> None:
        self._files = files
        self._known: dict[str, tuple[tuple[int, int], float]] = {}

    def read(self) -> dict[str, float]:
        """Option -> seconds since the epoch; a file that cannot be read is left out. May run in a thread."""
        found = {option: self._of(file) for option, file in self._files().items()}
        return {option: end for option, end in found.items() if end is not None}

    def _of(self, file: str) -> float | None:
        try:
            status = os.stat(file)
            stamp = status.st_mtime_ns, status.st_ino
            known = self._known.get(file)
            if known is None or known[0] != stamp:
                known = self._known[file] = stamp, expiry(Path(file).read_bytes()).timestamp()
        except (OSError, ValueError):
            return None
        return known[1]
