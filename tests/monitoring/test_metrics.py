"""What the services tell Prometheus: well named, and as docs/metrics.md says."""

from __future__ import annotations

import base64
import re
import subprocess
import urllib.request
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.support.running import PASSWORD, USER, RunningServices
from tests.support.traffic import deliver, http_session

pytestmark = pytest.mark.running

PAGE = Path(__file__).parents[2] / "docs" / "metrics.md"
SERVICES = ("store", "lmtp", "pop", "imap", "http")
BELOW_A_LABEL = {"le", "quantile"}
LIBRARIES = ("process_", "python_")


def exposition(services: RunningServices, name: str) -> bytes:
    """/metrics of a service."""
    with urllib.request.urlopen(f"http://127.0.0.1:{services.admin[name]}/metrics", timeout=10) as response:
        return bytes(response.read())


@pytest.mark.parametrize("name", SERVICES)
def test_names_units_and_texts_satisfy_promtool(services: RunningServices, promtool: str, name: str) -> None:
    text = exposition(services, name)
    done = subprocess.run([promtool, "check", "metrics"], input=text, capture_output=True, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, b"")


def test_what_goes_on_for_as_long_as_a_client_likes_is_not_timed(services: RunningServices) -> None:
    login = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
    asked = urllib.request.Request(
        f"http://127.0.0.1:{services.http}/jmap/eventsource?types=*&closeafter=state&ping=0",
        headers={"Authorization": f"Basic {login}"},
    )
    with urllib.request.urlopen(asked, timeout=60) as events:
        deliver(services)
        assert b"event: state" in events.read()  # which ends it
    http_session(services)
    page = exposition(services, "http")
    assert b'command="login",result="ok",service="http"' in page
    assert b"jmap-eventsource" not in page


def told(services: RunningServices) -> dict[str, str]:
    """Name -> row of the page, from what the services say."""
    rows: dict[str, tuple[str, str, set[str], set[str]]] = {}
    for service in SERVICES:
        for family in text_string_to_metric_families(exposition(services, service).decode()):
            if family.name.startswith(LIBRARIES) or not family.samples:
                continue
            name = f"{family.name}_total" if family.type == "counter" else family.name
            _, _, labels, of = rows.setdefault(name, (family.type, family.documentation, set(), set()))
            labels.update(label for sample in family.samples for label in sample.labels if label not in BELOW_A_LABEL)
            of.add(service)
    return {name: row(name, kind, labels, of, text) for name, (kind, text, labels, of) in rows.items()}


def row(name: str, kind: str, labels: set[str], of: set[str], text: str) -> str:
    """A line of the table."""
    where = "all" if of == set(SERVICES) else ", ".join(sorted(of))
    return f"| `{name}` | {kind} | {', '.join(sorted(labels))} | {where} | {text} |"


def test_the_page_lists_what_the_services_tell_and_nothing_else(services: RunningServices) -> None:
    listed = re.findall(r"^\| `mailkeep_(?!operator_|ldap_).*$", PAGE.read_text(), re.MULTILINE)
    assert "\n".join(sorted(listed)) == "\n".join(sorted(told(services).values()))
