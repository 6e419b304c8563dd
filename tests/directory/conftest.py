"""Two real directory servers with the tree of the login cases, for the whole run."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.authority import Authority
from tests.support.ldaptree import DOMAIN_TREE, TREE
from tests.support.slapd import Slapd


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Signs the servers' certificates."""
    return Authority(tmp_path_factory.mktemp("directory-authority"))


@pytest.fixture(scope="session")
def slapd(tmp_path_factory: pytest.TempPathFactory, authority: Authority) -> Iterator[Slapd]:
    """A server that tests only ask."""
    server = Slapd(tmp_path_factory.mktemp("slapd") / "shared", authority, TREE, DOMAIN_TREE)
    server.start()
    yield server
    server.stop()


@pytest.fixture
def pair(tmp_path: Path, authority: Authority) -> Iterator[tuple[Slapd, Slapd]]:
    """Two servers with the demo tree that a test may change, stop and kill."""
    one, other = Slapd(tmp_path / "one", authority), Slapd(tmp_path / "other", authority)
    for server in (one, other):
        server.start()
    yield one, other
    for server in (one, other):
        server.stop()
