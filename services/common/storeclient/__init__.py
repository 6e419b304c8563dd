"""The store over gRPC: all that a front end knows of it. `connect` gives a `StoreClient`."""

from __future__ import annotations

import os

# gRPC's library says on standard error what is told better elsewhere; it reads this when it is imported.
os.environ.setdefault("GRPC_VERBOSITY", "ERROR")

from services.common.options import Configuration
from services.common.storeclient.channel import Target, metadata_of, process_name, target_of
from services.common.storeclient.client import StoreClient
from services.common.storeclient.connection import CallObserver, Connection
from services.common.storeclient.maintenance import Compacted, Finding

__all__ = ["CallObserver", "Compacted", "Finding", "StoreClient", "Target", "connect"]


def connect(
    configuration: Configuration, role: str, observer: CallObserver | None = None, *, target: Target | None = None
) -> StoreClient:
    """A client for the store that `store.target` names; it connects, and connects again, by itself.

    `role` is who calls: pop, imap, lmtp, http or admin. To be called in a running event loop. Raises OSError where a
    certificate file cannot be read.
    """
    metadata = metadata_of(role, process_name())
    connection = Connection(target or target_of(configuration), metadata, configuration.store.storewait, observer)
    return StoreClient(connection)
