"""One API server, and one cluster with nodes, for the folder; each is started when a test asks for it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from mailoperator.crd import GROUP, PLURAL, definition
from tests.support.apiserver import ApiServer, api_server
from tests.support.cluster import IMAGE, cluster
from tests.support.site import RealSite, install_operator

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    """Without nodes. Started once."""
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


@pytest.fixture(scope="session")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    """A cluster of two nodes with this tree's image on them and the operator installed by its chart."""
    if os.geteuid() != 0:
        pytest.skip("nodes need root")
    archive = tmp_path_factory.mktemp("image") / "mailkeep.tar"
    subprocess.run([ROOT / "scripts/build-image", archive, IMAGE], check=True, stdout=sys.stderr)
    with cluster([archive]) as started:
        install_operator(started)
        yield started


@pytest.fixture(scope="session")
def site(nodes: ApiServer) -> RealSite:
    """A site by its chart, ready, with an account and a message in it."""
    made = RealSite(nodes, "site")
    made.install()
    made.deliver("first")
    return made
