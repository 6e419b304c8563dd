"""`mailkeep store` on a running store, and a backup that is started from."""

from __future__ import annotations

import json
import smtplib
import threading
import time
from pathlib import Path

import apsw
import pytest

from tests.support.running import USER, RunningServices, running

pytestmark = pytest.mark.running


def deliver(services: RunningServices, number: int) -> None:
    with smtplib.LMTP("127.0.0.1", services.lmtp, timeout=60) as lmtp:
        body = b"Subject: message %d\r\n\r\n%s\r\n" % (number, b"text " * 1000)
        lmtp.sendmail("a@example.org", [USER], body)


def test_a_backup_under_load_is_a_store_to_start_from(services: RunningServices, tmp_path: Path) -> None:
    for number in range(20):
        deliver(services, number)
    enough = threading.Event()
    delivered: list[int] = []

    def go_on() -> None:
        while not enough.is_set():
            deliver(services, 20 + len(delivered))
            delivered.append(1)

    load = threading.Thread(target=go_on)
    load.start()
    try:
        told = services.json("store", "backup", str(tmp_path / "backup"))
    finally:
        enough.set()
        load.join()
    assert told["bytes"] > 20 * 5000
    assert "is not empty" in services.refused("store", "backup", str(tmp_path / "backup"))[1]

    other = RunningServices(tmp_path / "data", MAILKEEP_POP_ENABLE="no")
    other.data.mkdir()
    assert other.json("store", "restore", str(tmp_path / "backup")) == {"findings": []}
    assert "is not empty" in other.refused("store", "restore", str(tmp_path / "backup"))[1]
    with running(other.data, MAILKEEP_POP_ENABLE="no") as second:
        used = {row["account"]: row["messages"] for row in second.json("account", "list")}
        assert 20 <= used[USER] <= 20 + len(delivered)
        assert second.json("store", "check") == {"findings": []}
        deliver(second, 0)


def test_check_and_compact(services: RunningServices) -> None:
    assert services.command("store", "check").stdout == "nothing is wrong\n"
    assert set(services.json("store", "compact")) == {"bytes", "segments"}
    assert "given back" in services.command("store", "compact").stdout


def test_backups_by_date_of_which_the_newest_stay_and_the_newest_is_restored(
    services: RunningServices, tmp_path: Path
) -> None:
    folder = tmp_path / "backups"
    (folder / "something else").mkdir(parents=True)
    made = []
    for _ in range(3):
        made.append(Path(services.json("store", "backup", str(folder), "--dated", "--keep", "2")["path"]))
        time.sleep(1.1)  # the names have seconds
    assert {path.name for path in folder.iterdir()} == {made[1].name, made[2].name, "something else"}
    assert "--keep needs --dated" in services.refused("store", "backup", str(folder / "x"), "--keep", "2")[1]
    other = RunningServices(tmp_path / "other")
    assert "no finished backup" in other.refused("store", "restore", "--latest", str(tmp_path))[1]
    done = other.command("store", "restore", "--latest", str(folder), "--json", check=False)
    assert json.loads(done.stdout) == {"findings": []}
    assert other.json("store", "restore", "--latest", "--if-absent", str(folder))["restored"] is False
    assert "is not empty" in other.refused("store", "restore", "--latest", str(folder))[1]


def test_damage_is_named_and_counts(services: RunningServices) -> None:
    deliver(services, 99)
    segment = max((services.data / "store" / "segments").iterdir())
    content = segment.read_bytes()
    with open(segment, "r+b") as file:
        file.seek(content.rindex(b"message 99"))
        file.write(b"MESSAGE")
    done = services.command("store", "check", "--json", check=False)
    assert done.returncode == 1
    assert segment.name in done.stdout
    assert services.json("store", "check", "--no-bodies") == {"findings": []}


def test_what_is_no_backup_is_refused(services: RunningServices, tmp_path: Path) -> None:
    stopped = RunningServices(tmp_path / "data")
    stopped.data.mkdir()
    code, said = stopped.refused("store", "restore", str(tmp_path))
    assert (code, "is not a backup" in said) == (1, True)
    assert services.refused("store", "backup", "/proc/nowhere")[0] == 1


def test_repair_needs_a_stopped_store(services: RunningServices, tmp_path: Path) -> None:
    code, said = services.refused("store", "repair")
    assert (code, "in use by process" in said) == (1, True)
    stopped = RunningServices(tmp_path / "data")
    backup = tmp_path / "backup"
    services.command("store", "backup", str(backup), check=False)  # the damage of the test above may be told
    stopped.data.mkdir()
    stopped.command("store", "restore", str(backup), check=False)
    metadata = stopped.data / "store" / "metadata.db"
    connection = apsw.Connection(str(metadata))
    connection.execute("UPDATE mailboxes SET messages = messages + 7")
    connection.close()
    assert stopped.json("store", "repair")["rows"] > 0
    assert stopped.json("store", "repair") == {"rows": 0}
