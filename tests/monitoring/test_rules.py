"""Alert and recording rules: valid, tested one by one, each alert with its page."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

pytestmark = pytest.mark.running

ROOT = Path(__file__).parents[2]
RULES = sorted((ROOT / "deploy" / "monitoring" / "rules").glob("*.yaml"))
CASES = sorted((Path(__file__).parent / "rules").glob("*.yaml"))
RUNBOOKS = ROOT / "docs" / "runbooks"
SECTIONS = ("## Meaning", "## Impact", "## Find out", "## Mend")
MAILKEEP = re.compile(r"\bmailkeep ((?:[a-z]+ )?[a-z]+)")


def alerts() -> Iterator[dict[str, Any]]:
    """Every alert of the files."""
    for file in RULES:
        for group in yaml.safe_load(file.read_text())["groups"]:
            yield from (rule for rule in group["rules"] if "alert" in rule)


def samples() -> Iterator[tuple[str, dict[str, str] | None]]:
    """What the cases expect: the alert's name, and the labels with which it fires; None: it does not."""
    for file in CASES:
        for case in yaml.safe_load(file.read_text())["tests"]:
            for check in case["promql_expr_test"]:
                name = re.search(r'alertname="(\w+)"', check["expr"])
                assert name, check
                for sample in check["exp_samples"]:
                    yield name[1], dict(re.findall(r'(\w+)="([^"]*)"', sample["labels"]))
                if not check["exp_samples"]:
                    yield name[1], None


def promtool_says(promtool: str, *words: str) -> None:
    """Fails with what promtool has to say, if it does."""
    done = subprocess.run([promtool, *words], capture_output=True, text=True, check=False)
    assert not done.returncode, done.stdout + done.stderr


def test_promtool_finds_the_rules_valid(promtool: str) -> None:
    promtool_says(promtool, "check", "rules", "--lint=all", "--lint-fatal", *map(str, RULES))


@pytest.mark.parametrize("cases", CASES, ids=lambda path: path.stem)
def test_alerts_fire_when_they_should(promtool: str, cases: Path) -> None:
    promtool_says(promtool, "test", "rules", str(cases))


def test_every_alert_is_seen_to_fire_and_not_to_fire() -> None:
    fired = {(name, labels["severity"]) for name, labels in samples() if labels is not None}
    quiet = {name for name, labels in samples() if labels is None}
    assert fired == {(alert["alert"], alert["labels"]["severity"]) for alert in alerts()}
    assert quiet == {alert["alert"] for alert in alerts()}


def test_texts_name_labels_that_the_alert_has() -> None:
    known: dict[str, set[str]] = {}
    for name, labels in samples():
        known.setdefault(name, set()).update(labels or {})
    for alert in alerts():
        for text in alert["annotations"].values():
            named = set(re.findall(r"\$labels\.(\w+)", text))
            assert named <= known[alert["alert"]], f"{alert['alert']}: {text}"


def test_every_alert_has_its_page_and_every_page_its_alert() -> None:
    for alert in alerts():
        assert alert["annotations"]["runbook_url"] == f"docs/runbooks/{alert['alert']}.md"
        assert alert["labels"]["severity"] in ("critical", "warning")
    names = {alert["alert"] for alert in alerts()}
    assert {page.stem for page in RUNBOOKS.glob("*.md")} - {"README"} == names
    listed = re.findall(r"\((\w+)\.md\)", (RUNBOOKS / "README.md").read_text())
    assert sorted(listed) == sorted(names)


def commands() -> set[str]:
    """Every command that docs/cli.md has."""
    return set(re.findall(r"^## mailkeep (.+)$", (ROOT / "docs" / "cli.md").read_text(), re.MULTILINE))


@pytest.mark.parametrize("page", sorted(RUNBOOKS.glob("Mailkeep*.md")), ids=lambda page: page.stem)
def test_a_page_says_what_how_and_by_which_commands(page: Path) -> None:
    text = page.read_text()
    assert text.startswith(f"# {page.stem}\n")
    assert [line for line in text.splitlines() if line.startswith("## ")] == list(SECTIONS)
    known = commands()
    for named in MAILKEEP.findall("\n".join(re.findall(r"`(mailkeep [^`]+)`", text))):
        assert named in known or named.split()[0] in known, f"there is no command mailkeep {named}"


def queries(page: Path) -> list[str]:
    """The PromQL of a page."""
    return re.findall(r"```promql\n(.*?)```", page.read_text(), re.DOTALL)


def test_queries_of_the_pages_are_valid(promtool: str, tmp_path: Path) -> None:
    found = [query for page in sorted(RUNBOOKS.glob("*.md")) for text in queries(page) for query in text.splitlines()]
    rules = [{"record": f"query:{number}", "expr": query} for number, query in enumerate(found)]
    file = tmp_path / "queries.yaml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "queries", "rules": rules}]}))
    assert found
    promtool_says(promtool, "check", "rules", str(file))


def test_the_configuration_on_the_page_is_one(promtool: str, tmp_path: Path) -> None:
    page = (ROOT / "docs" / "monitoring.md").read_text()
    [example] = [text for text in re.findall(r"```yaml\n(.*?)```", page, re.DOTALL) if "scrape_configs" in text]
    file = tmp_path / "prometheus.yaml"
    file.write_text(example)
    promtool_says(promtool, "check", "config", "--syntax-only", str(file))
    components = {config["labels"]["component"] for config in _targets(example)}
    assert components == {"pop", "imap", "http", "lmtp", "store"}


def _targets(example: str) -> list[dict[str, Any]]:
    configs: list[dict[str, Any]] = yaml.safe_load(example)["scrape_configs"][0]["static_configs"]
    return configs
