"""`python -m services.lmtp`: delivery in by LMTP, for one process."""

from __future__ import annotations

from services.common.service import Runtime, run
from services.lmtp.frontend import LmtpFrontEnd


def make(runtime: Runtime) -> LmtpFrontEnd:
    """The front end, in the running event loop."""
    return LmtpFrontEnd(runtime.configuration, runtime.store, runtime.directory, worker=runtime.worker)


def main() -> None:
    """Run until told to stop."""
    run("lmtp", make)


if __name__ == "__main__":
    main()
