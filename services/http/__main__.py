"""`python -m services.http`: the HTTP service of one process."""

from __future__ import annotations

from services.common.service import Runtime, run
from services.http.frontend import HttpFrontEnd
from services.http.service import HttpService, body_bytes


def make(runtime: Runtime) -> HttpFrontEnd:
    """The front end, in the running event loop."""
    bodies = runtime.open_bodies(body_bytes(runtime.configuration.value))
    service = HttpService(
        runtime.store, runtime.account_feed, bodies, runtime.login, runtime.directory, runtime.configuration
    )
    return HttpFrontEnd(service)


def main() -> None:
    """Run until told to stop."""
    run("http", make)


if __name__ == "__main__":
    main()
