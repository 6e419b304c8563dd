"""`python -m services.imap`: the IMAP service of one process."""

from __future__ import annotations

from services.common.service import Runtime, run
from services.imap.frontend import ImapFrontEnd
from services.imap.service import ImapService, body_bytes


def make(runtime: Runtime) -> ImapFrontEnd:
    """The front end, in the running event loop."""
    bodies = runtime.open_bodies(body_bytes(runtime.configuration.value))
    return ImapFrontEnd(ImapService(runtime.store, runtime.feed, bodies, runtime.login, runtime.configuration))


def main() -> None:
    """Run until told to stop."""
    run("imap", make)


if __name__ == "__main__":
    main()
