"""Names of requests."""

from __future__ import annotations

import time
from uuid import RFC_4122, UUID

import pytest

from services.common.requestid import new_request_id


@pytest.mark.rfc("9562", "5.7")
def test_names_are_version_7_and_begin_with_the_time() -> None:
    before = time.time_ns() // 1_000_000
    names = [UUID(new_request_id()) for _ in range(50)]
    after = time.time_ns() // 1_000_000
    assert {(name.version, name.variant) for name in names} == {(7, RFC_4122)}
    times = [name.int >> 80 for name in names]
    assert before <= min(times)
    assert max(times) <= after
    assert times == sorted(times)
    assert len(set(names)) == 50
