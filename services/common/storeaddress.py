"""Where the store is called, from the options."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from services.common.options import Configuration

UNIX: Final = "unix:"
"""How the address of a Unix socket begins."""


def store_address(configuration: Configuration) -> str:
    """Where `store.target` says, by default the Unix socket of this machine."""
    options = configuration.store
    return options.target or f"{UNIX}{Path(configuration.data, options.socket).absolute()}"
