"""`python -m services.store`: the message store."""

from __future__ import annotations

import os

# gRPC's library says on standard error what is told better elsewhere; it reads this when it is imported.
os.environ.setdefault("GRPC_VERBOSITY", "ERROR")

from services.common import process
from services.store.service import serve


def main() -> None:
    """Run until told to stop."""
    process.run("store", serve)


if __name__ == "__main__":
    main()
