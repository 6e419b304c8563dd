"""One set of running services for all that watches."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest

from tests.support.running import RunningServices
from tests.support.traffic import traffic, watched


@pytest.fixture(scope="session")
def services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServices]:
    """Store, lmtp, pop and imap, used a little."""
    with watched(tmp_path_factory.mktemp("watched")) as running:
        traffic(running)
        yield running


@pytest.fixture(scope="session")
def promtool() -> str:
    """The program of Debian's package."""
    found = shutil.which("promtool")
    assert found, "promtool is missing: scripts/install-debian"
    return found
