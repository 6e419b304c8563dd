"""The file that processes share: what one writes the others see, a crash leaves nothing broken, and it never grows."""

from __future__ import annotations

import errno
import fcntl
import os
import random
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from services.common import markfile
from services.common.access.marks import FOR_EVER, RECORD, Ban, Key, Mark, MarkRules, network_key
from services.common.markfile import BUCKETS, HEADER, MAX_BANS, SIZE, WAYS, MarkFile
from tests.support.processes import eventually

NOW = 1_000_000.0
RULES = MarkRules(failures=3)
KEY = network_key("192.0.2.7")


def fail(file: MarkFile, key: Key = KEY, now: float = NOW) -> Mark | None:
    return file.change(key, lambda mark: mark.failed(2, RULES, now), RULES, now)


def failures(file: MarkFile) -> int:
    mark = file.find(KEY)
    return 0 if mark is None else mark.failures


def has_failed(file: MarkFile, times: int) -> bool:
    return failures(file) > times


def key(number: int) -> Key:
    return Key(0x20010DB8 << 96 | number << 64, 64)


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "run" / "access.state")


def test_what_one_process_writes_another_sees(path: str) -> None:
    mine, other = MarkFile(path), MarkFile(path)
    assert other.find(KEY) is None
    assert other.horizon == 0
    mark = fail(mine)
    assert mark is not None
    assert other.find(KEY) == mark
    assert other.horizon == mark.matters(RULES)
    fail(other)
    again = mine.find(KEY)
    assert again is not None
    assert (again.failures, again.badness) == (2, 4)
    assert os.stat(path).st_size == SIZE
    assert os.stat(path).st_mode & 0o777 == 0o600


def test_it_survives_the_processes(path: str) -> None:
    file = MarkFile(path)
    mark = fail(file)
    file.close()
    assert MarkFile(path).find(KEY) == mark


def test_without_a_file_it_is_memory_of_one_process() -> None:
    mine, other = MarkFile(), MarkFile()
    fail(mine)
    assert mine.find(KEY) is not None
    assert other.find(KEY) is None


WRITER = """
import os, sys
from services.common.access.marks import MarkRules, network_key
from services.common.markfile import MarkFile
rules, parent = MarkRules(), os.getppid()
file, key, done = MarkFile(sys.argv[1]), network_key("192.0.2.7"), 0
print("ready", flush=True)
while done < int(sys.argv[2]) and os.getppid() == parent:
    done += file.change(key, lambda mark: mark.failed(2, rules, 1e6), rules, 1e6) is not None
"""


def writer(path: str, times: int) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", WRITER, path, str(times)], stdout=subprocess.PIPE, text=True)


def test_processes_that_write_at_once_lose_nothing(path: str) -> None:
    MarkFile(path)
    with writer(path, 2000) as one, writer(path, 2000) as other:
        assert [each.wait(100) for each in (one, other)] == [0, 0]
    mark = MarkFile(path).find(KEY)
    assert mark is not None
    assert mark.failures == 4000


def test_a_process_that_is_killed_while_it_writes_breaks_nothing(path: str) -> None:
    file = MarkFile(path)
    for _ in range(3):
        wanted = failures(file) + 100
        with writer(path, 10**9) as process:
            try:
                assert process.stdout is not None
                assert process.stdout.readline() == "ready\n"
                eventually(partial(has_failed, file, wanted))
            finally:
                process.send_signal(signal.SIGKILL)
        mark = file.change(KEY, lambda old: old.failed(2, MarkRules(), NOW), MarkRules(), NOW)
        assert mark is not None, "its lock went with it"
        assert file.find(KEY) == mark


def test_a_record_that_was_half_written_counts_as_none(path: str) -> None:
    file = MarkFile(path)
    fail(file)
    with open(path, "r+b") as raw:
        data = raw.read()
        at = next(at for at in range(HEADER + MAX_BANS * RECORD, SIZE, RECORD) if any(data[at : at + RECORD]))
        raw.seek(at + 30)
        raw.write(b"\xff\xff")
    assert file.find(KEY) is None
    mark = fail(file)
    assert mark is not None
    assert mark.failures == 1


def test_a_bucket_that_another_process_holds_is_not_waited_for(path: str) -> None:
    file = MarkFile(path)
    holder = subprocess.Popen(
        [sys.executable, "-c", "import fcntl,sys; f=open(sys.argv[1],'r+b'); fcntl.lockf(f, fcntl.LOCK_EX); "
         "print('held', flush=True); sys.stdin.read()", path],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    with holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        assert fail(file) is None
        assert not file.add_ban(Ban(KEY, FOR_EVER), NOW)
        holder.communicate("")
    assert fail(file) is not None


def test_a_flood_of_addresses_takes_no_more_room_and_pushes_out_no_ban() -> None:
    file, generator = MarkFile(), random.Random(1)
    banned = [key(generator.getrandbits(32)) for _ in range(100)]
    for each in banned:
        for _ in range(RULES.failures):
            fail(file, each)
    for number in range(BUCKETS * WAYS * 3 // 2):
        fail(file, key(1 << 31 | number), NOW + 1)
    assert sum(1 for _ in file.marks()) <= BUCKETS * WAYS
    assert all((mark := file.find(each)) is not None and mark.banned(NOW + 1) for each in banned)


def test_what_is_over_makes_room_first() -> None:
    file, rules = MarkFile(), MarkRules(failures=1)
    for number in range(BUCKETS * WAYS * 3 // 2):
        file.change(key(number), lambda mark: mark.failed(2, rules, NOW), rules, NOW)
    later = NOW + 10 * RULES.ban
    assert not any(mark.banned(later) for mark in file.marks())
    fail(file, KEY, later)
    assert file.find(KEY) is not None


def test_bans(path: str) -> None:
    mine, other = MarkFile(path), MarkFile(path)
    net = network_key("192.0.2.0/24")
    assert other.bans() == ()
    assert mine.add_ban(Ban(net, FOR_EVER, "spam"), NOW)
    assert other.bans() == (Ban(net, FOR_EVER, "spam"),)
    assert mine.add_ban(Ban(net, NOW + 60, "again"), NOW)
    assert other.bans() == (Ban(net, NOW + 60, "again"),)
    assert not mine.remove_ban(KEY)
    assert mine.remove_ban(net)
    assert other.bans() == ()


def test_bans_have_a_number() -> None:
    file = MarkFile()
    assert all(file.add_ban(Ban(key(number), NOW + 60), NOW) for number in range(MAX_BANS))
    assert not file.add_ban(Ban(KEY, FOR_EVER), NOW)
    assert file.add_ban(Ban(key(3), FOR_EVER), NOW), "the same network again"
    assert file.add_ban(Ban(KEY, FOR_EVER), NOW + 60), "those that are over make room"


@pytest.mark.parametrize("content", [b"", b"something else", bytes(SIZE)])
def test_a_file_of_another_kind_is_replaced(path: str, content: bytes) -> None:
    """Not changed: who has it mapped would die of a file that became shorter."""
    Path(path).parent.mkdir()
    Path(path).write_bytes(content)
    before = os.stat(path).st_ino
    file = MarkFile(path)
    fail(file)
    assert os.stat(path).st_ino != before
    assert MarkFile(path).find(KEY) is not None


def test_a_disk_that_is_full_is_told_when_it_is_opened(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(OSError, match="No space"):
        MarkFile(path)
    assert not Path(path).exists()


def test_a_person_waits_for_a_lock(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    file = MarkFile(path, patient=True)
    released: list[int] = []
    real = fcntl.lockf

    def busy_at_first(*arguments: int) -> None:
        if len(released) < 50:
            released.append(1)
            raise BlockingIOError
        real(*arguments)

    monkeypatch.setattr(markfile, "PAUSE", 0.0)
    monkeypatch.setattr(fcntl, "lockf", busy_at_first)
    assert file.add_ban(Ban(KEY, FOR_EVER), NOW)
