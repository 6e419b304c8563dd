"""Running services that the tests of a file share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.running import RunningServices, running


@pytest.fixture(scope="module")
def services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServices]:
    """Running services, fresh for each test file."""
    with running(tmp_path_factory.mktemp("cli") / "data") as started:
        yield started
