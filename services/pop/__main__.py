"""`python -m services.pop`: the POP3 service of one process."""

from __future__ import annotations

from services.common.bodyreader import open_reader
from services.common.service import Runtime, run
from services.pop.frontend import PopFrontEnd


def make(runtime: Runtime) -> PopFrontEnd:
    """The front end, in the running event loop."""
    bodies = open_reader(runtime.configuration.value, runtime.store, observer=runtime.observer)
    return PopFrontEnd(runtime.configuration, runtime.store, bodies, runtime.login)


def main() -> None:
    """Run until told to stop."""
    run("pop", make)


if __name__ == "__main__":
    main()
