"""One API server for the folder, with the definition of MailService in it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from mailoperator.crd import GROUP, PLURAL, definition
from tests.support.apiserver import ApiServer, api_server


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    """Started once."""
    with api_server(tmp_path_factory.mktemp("apiserver")) as started:
        started.apply(definition())
        started.kubectl("wait", "--for=condition=Established", "--timeout=60s", f"crd/{PLURAL}.{GROUP}")
        yield started


@pytest.fixture
def namespace(server: ApiServer, request: pytest.FixtureRequest) -> str:
    """A namespace of the test's own."""
    name = f"t-{abs(hash(request.node.nodeid)) % 10**10}"
    server.kubectl("create", "namespace", name)
    return name
