"""Sessions counted over the processes of a service: what one counts the others see, and the dead do not count."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from services.common.domain import SessionInfo
from services.common.sessions import SessionRegistry
from services.common.sharedcounts import LOOK_SECONDS, Kind, SharedCounts, open_counts


class Clock:
    """A clock that the test moves: siblings are looked at once a second."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        self.now += LOOK_SECONDS
        return self.now


def counts(folder: Path, worker: int, workers: int = 3) -> SharedCounts:
    return SharedCounts(folder, "imap", worker, workers, Clock())


def test_each_counts_for_itself_and_sees_the_others(tmp_path: Path) -> None:
    one, two, three = (counts(tmp_path, worker) for worker in range(3))
    one.add(Kind.USER, "anna", 2)
    two.add(Kind.USER, "anna", 3)
    two.add(Kind.ADDRESS, "anna", 7)
    assert [each.elsewhere(Kind.USER, "anna") for each in (one, two, three)] == [3, 2, 5]
    two.add(Kind.USER, "anna", -3)
    assert one.elsewhere(Kind.USER, "anna") == 0
    assert three.elsewhere(Kind.ADDRESS, "anna") == 7
    assert three.elsewhere(Kind.USER, "bert") == 0


def test_services_do_not_count_each_others_sessions(tmp_path: Path) -> None:
    imap, pop = counts(tmp_path, 0), SharedCounts(tmp_path, "pop", 1, 2, Clock())
    pop.add(Kind.USER, "anna", 3)
    assert imap.elsewhere(Kind.USER, "anna") == 0


def test_a_count_is_never_too_low_and_hardly_ever_too_high(tmp_path: Path) -> None:
    one, two = counts(tmp_path, 0), counts(tmp_path, 1)
    for number in range(4000):
        one.add(Kind.USER, f"user{number}@example.com", 1)
    found = [two.elsewhere(Kind.USER, f"user{number}@example.com") for number in range(4000)]
    assert min(found) == 1
    assert sum(count > 1 for count in found) < 20
    for number in range(4000):
        one.add(Kind.USER, f"user{number}@example.com", -1)
    assert not any(two.elsewhere(Kind.USER, f"user{number}@example.com") for number in range(4000))


HOLDER = """
import sys
from pathlib import Path
from services.common.sharedcounts import Kind, SharedCounts
counts = SharedCounts(Path(sys.argv[1]), "imap", 1, 2)
counts.add(Kind.USER, "anna", 5)
print("ready", flush=True)
sys.stdin.read()
"""


def holder(folder: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def test_what_a_killed_process_counted_counts_no_more_and_its_successor_begins_at_none(tmp_path: Path) -> None:
    mine = counts(tmp_path, 0, 2)
    assert mine.elsewhere(Kind.USER, "anna") == 0
    for _ in range(2):
        with holder(tmp_path) as process:
            assert mine.elsewhere(Kind.USER, "anna") == 5
            process.send_signal(signal.SIGKILL)
            process.wait(60)
            assert mine.elsewhere(Kind.USER, "anna") == 0
    again = counts(tmp_path, 1, 2)
    assert mine.elsewhere(Kind.USER, "anna") == 0
    again.add(Kind.USER, "anna", 1)
    assert mine.elsewhere(Kind.USER, "anna") == 1


@pytest.mark.parametrize("content", [b"", b"x" * 5000])
def test_a_file_that_is_none_is_left_alone(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "sessions-imap-1").write_bytes(content)
    assert counts(tmp_path, 0, 2).elsewhere(Kind.USER, "anna") == 0
    assert (tmp_path / "sessions-imap-1").read_bytes() == content


def test_it_is_opened_where_there_is_something_to_share(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    state = str(tmp_path / "run" / "access.state")
    assert open_counts(state, "imap", 0, 1) is None
    assert open_counts("", "imap", 0, 2) is None
    assert open_counts(state, "imap", 0, 2) is not None
    assert os.listdir(tmp_path / "run") == ["sessions-imap-0"]
    (tmp_path / "file").write_text("")
    assert open_counts(str(tmp_path / "file" / "state"), "imap", 0, 2) is None
    assert "sessions are counted by each process alone" in caplog.messages


def test_limits_of_users_and_addresses_hold_over_processes(tmp_path: Path) -> None:
    one, two = (SessionRegistry(shared=counts(tmp_path, worker)) for worker in range(2))

    def come(registry: SessionRegistry, session: str, address: str) -> None:
        registry.opened(SessionInfo(session, "imap", "", address, 0, ""), lambda: None)

    come(one, "a", "192.0.2.7")
    come(one, "b", "2001:db8::1")
    come(two, "c", "2001:db8::2")
    assert two.from_address("192.0.2.7") == 1
    assert (one.from_address("2001:db8::9"), two.from_address("2001:db8::9")) == (2, 2)
    assert one.authenticated("a", "anna", 2)
    assert one.authenticated("b", "anna", 2)
    assert not two.authenticated("c", "anna", 2)
    assert two.of_user("anna") == 2
    one.closed("a")
    assert two.authenticated("c", "anna", 2)
    assert two.from_address("192.0.2.7") == 0
