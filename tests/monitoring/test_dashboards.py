"""Every panel of every dashboard shows something, asked of a real Prometheus that scrapes real services."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.prometheus import Prometheus, prometheus
from tests.support.running import RunningServices
from tests.support.traffic import traffic

pytestmark = pytest.mark.running

ROOT = Path(__file__).parents[2]
FILES = sorted((ROOT / "deploy" / "monitoring" / "dashboards").glob("*.json"))
ELSEWHERE = {"operator": "tests/cluster", "ldap": "tests/directory"}
"""Dashboards whose panels are asked where there is what they show."""
PATIENCE_SECONDS = 90


def panels(file: Path) -> Iterator[dict[str, Any]]:
    """Those that ask something."""
    yield from (panel for panel in json.loads(file.read_text())["panels"] if panel["type"] != "row")


def queries(file: Path) -> list[tuple[str, str]]:
    """Panel and PromQL."""
    return [(panel["title"], target["expr"]) for panel in panels(file) for target in panel["targets"]]


@pytest.fixture(scope="session")
def watcher(services: RunningServices, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """Prometheus on the running services."""
    folder = tmp_path_factory.mktemp("prometheus")
    with prometheus(folder, services.admin, {"namespace": "mail", "mailservice": "main"}) as started:
        yield started


def test_every_panel_has_data(services: RunningServices, watcher: Prometheus) -> None:
    wanted = {
        (file.stem, title, query) for file in FILES if file.stem not in ELSEWHERE for title, query in queries(file)
    }
    assert len(wanted) > 50
    deadline = time.monotonic() + PATIENCE_SECONDS
    while wanted:
        assert time.monotonic() < deadline, f"no data: {sorted(wanted)}"
        traffic(services)
        wanted = {one for one in wanted if not watcher.has_data(one[2])}


def test_all_services_are_scraped_and_no_alert_fires(watcher: Prometheus) -> None:
    up = {series["metric"]["component"]: series["value"][1] for series in watcher.ask("up")}
    assert up == dict.fromkeys(("imap", "pop", "http", "lmtp", "store"), "1")
    names = {series["metric"]["alertname"] for series in watcher.ask('ALERTS{alertstate="firing"}')}
    assert not names, "these services are well"


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_panels_say_what_they_show_and_lie_beside_one_another(file: Path) -> None:
    board = json.loads(file.read_text())
    assert board["uid"] == f"mailkeep-{file.stem}"
    assert not board["editable"]
    seen: set[tuple[int, int]] = set()
    for panel in board["panels"]:
        place = panel["gridPos"]
        cells = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
        assert place["x"] + place["w"] <= 24
        assert not cells & seen, panel["title"]
        seen |= cells
    for panel in panels(file):
        assert panel["description"] or len(panel["targets"]) > 1, panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"]


def test_every_metric_is_watched() -> None:
    """By a panel, a rule or a runbook: what nobody looks at need not be counted."""
    rules = (ROOT / "deploy" / "monitoring" / "rules").glob("*.yaml")
    watched = "".join(file.read_text() for file in (*FILES, *rules, *(ROOT / "docs" / "runbooks").glob("*.md")))
    page = (ROOT / "docs" / "metrics.md").read_text()
    listed = set(re.findall(r"^\| `(mailkeep_\w+)` \|", page, re.MULTILINE))
    assert listed
    assert {name for name in listed if name not in watched} == set()


def test_the_files_are_what_the_code_makes() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "deploy.dashboards", "--check"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
