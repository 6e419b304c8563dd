"""Debian's Prometheus as a process of the test, scraping once a second."""

from __future__ import annotations

import json
import math
import shutil
import subprocess
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from tests.support.processes import eventually
from tests.support.running import free_ports

RULES = Path(__file__).parents[2] / "deploy" / "monitoring" / "rules"
STANDING = {"$namespace": ".*", "$mailservice": ".*", "$__rate_interval": "20s"}
"""What Grafana would put for the variables."""


class Prometheus:
    """One that runs."""

    def __init__(self, port: int) -> None:
        self._address = f"http://127.0.0.1:{port}"

    def ready(self) -> bool:
        """Whether it answers."""
        try:
            urllib.request.urlopen(f"{self._address}/-/ready", timeout=5).close()
        except OSError:
            return False
        return True

    def ask(self, query: str) -> list[dict[str, Any]]:
        """The series that a query finds now. Raises HTTPError where it is no query."""
        for variable, value in STANDING.items():
            query = query.replace(variable, value)
        words = urllib.parse.urlencode({"query": query})
        with urllib.request.urlopen(f"{self._address}/api/v1/query?{words}", timeout=30) as response:
            found: list[dict[str, Any]] = json.load(response)["data"]["result"]
        return found

    def has_data(self, query: str) -> bool:
        """Whether a graph of it would show anything."""
        return any(not math.isnan(float(series["value"][1])) for series in self.ask(query))


@contextmanager
def prometheus(folder: Path, targets: Mapping[str, int], labels: Mapping[str, str]) -> Iterator[Prometheus]:
    """Scrapes `targets` (component -> port on loopback), whose series get `labels`, with all rules loaded."""
    program = shutil.which("prometheus")
    assert program, "prometheus is missing: scripts/install-debian"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "rules.yaml").write_text(yaml.safe_dump({"groups": _hurried()}))
    jobs = [
        {"targets": [f"127.0.0.1:{port}"], "labels": {**labels, "component": component}}
        for component, port in targets.items()
    ]
    configuration = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(folder / "rules.yaml")],
        "scrape_configs": [{"job_name": "mailkeep", "static_configs": jobs}],
    }
    (folder / "prometheus.yaml").write_text(yaml.safe_dump(configuration))
    (port,) = free_ports(1)
    words = [
        f"--config.file={folder / 'prometheus.yaml'}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    with open(folder / "prometheus.log", "wb") as log:
        process = subprocess.Popen([program, *words], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        started = Prometheus(port)
        eventually(lambda: started.ready() or _ended(process, folder))
        yield started
    finally:
        process.terminate()
        process.wait(30)


def _ended(process: subprocess.Popen[bytes], folder: Path) -> bool:
    assert process.poll() is None, (folder / "prometheus.log").read_text()[-4000:]
    return False


def _hurried() -> list[dict[str, Any]]:
    """The rules, with groups that are looked at each second."""
    groups = [group for file in sorted(RULES.glob("*.yaml")) for group in yaml.safe_load(file.read_text())["groups"]]
    return [{**group, "interval": "1s"} for group in groups]
