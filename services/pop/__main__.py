"""`python -m services.pop`: the POP3 service of one process."""

from __future__ import annotations

from services.common.service import Runtime, run
from services.pop.frontend import PopFrontEnd


def make(runtime: Runtime) -> PopFrontEnd:
    """The front end, in the running event loop."""
    return PopFrontEnd(runtime.configuration, runtime.store, runtime.open_bodies(), runtime.login)


def main() -> None:
    """Run until told to stop."""
    run("pop", make)


if __name__ == "__main__":
    main()
