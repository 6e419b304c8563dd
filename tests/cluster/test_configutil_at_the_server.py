"""`configutil --mailservice`: a MailService's options by Messaging Server's names, judged by the API server."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from mailoperator.crd import API_VERSION, KIND
from tests.support.apiserver import TOOLS, ApiServer

pytestmark = pytest.mark.cluster


@pytest.fixture
def place(server: ApiServer, namespace: str) -> str:
    """A MailService that sets little."""
    server.apply(
        {
            "apiVersion": API_VERSION,
            "kind": KIND,
            "metadata": {"name": "mail", "namespace": namespace},
            "spec": {"image": "registry.example/mailkeep:1", "imap": {"maxsessions": 5000}},
        }
    )
    return f"{namespace}/mail"


def configutil(
    server: ApiServer, place: str, *words: str, command: tuple[str, ...] = ("configutil",), given: str = ""
) -> subprocess.CompletedProcess[str]:
    environ = {
        **{name: value for name, value in os.environ.items() if not name.startswith("MAILKEEP_")},
        "PATH": f"{TOOLS}:{os.environ['PATH']}", "KUBECONFIG": str(server.kubeconfig),
        "KUBECACHEDIR": str(server.folder / "kubectl"),
    }  # fmt: skip
    return subprocess.run(
        [sys.executable, "-m", "services.cli", *command, "--mailservice", place, *words],
        env=environ, input=given, text=True, capture_output=True, timeout=100, check=False,
    )  # fmt: skip


def spec(server: ApiServer, place: str) -> dict[str, dict[str, object]]:
    namespace, _, name = place.partition("/")
    found: dict[str, dict[str, object]] = server.get("msvc", name, namespace)["spec"]
    return found


def test_options_are_read_set_and_put_back(server: ApiServer, place: str) -> None:
    assert configutil(server, place, "-l").stdout == "service.imap.maxsessions = 5000\n"
    done = configutil(server, place, "-o", "service.imap.banner", "-v", "Harbour mail")
    assert done.stdout == "live, taken up by running services within seconds: imap.banner\n"
    assert configutil(server, place, "-o", "service.imap.banner").stdout == "Harbour mail\n"
    assert spec(server, place)["imap"]["banner"] == "Harbour mail"
    done = configutil(server, place, "-o", "imap.literal", "-v", "LITERAL-")
    assert done.stdout == "by the operator, which replaces the pods of imap: imap.literal\n"
    filters = "imap: 10.1. $ imap: .siroe.com"
    assert configutil(server, place, "-o", "service.imap.domainallowed", "-v", filters).returncode == 0
    assert spec(server, place)["imap"]["domainallowed"] == ["imap: 10.1.", "imap: .siroe.com"]
    assert configutil(server, place, "-o", "service.imap.maxsessions", "-d").returncode == 0
    assert spec(server, place)["imap"]["maxsessions"] == 4000
    told = json.loads(configutil(server, place, "-l", "--json").stdout)
    assert {each["option"] for each in told} == {"imap.banner", "imap.literal", "imap.domainallowed"}


def test_what_cannot_be_is_refused_and_changes_nothing(server: ApiServer, place: str) -> None:
    before = spec(server, place)
    for words, text in (
        (("-o", "service.imap.idletimeout", "-v", "5"), "never lowered below 30 min"),
        (("-o", "service.imap.port", "-v", "993"), "port and sslport must differ"),
        (("-o", "imap.adminport", "-v", "9000"), "a MailService has no such field"),
        (("-o", "store.path", "-v", "/elsewhere"), "a MailService has no such field"),
    ):
        done = configutil(server, place, *words)
        assert (done.returncode, text in done.stderr) == (78, True), done.stderr
        assert "Traceback" not in done.stderr
    assert spec(server, place) == before
    assert "not found" in configutil(server, f"{place}s", "-l").stderr
    for wrong in ("mail", "/", "-n/mail"):
        assert "is not NAMESPACE/NAME" in configutil(server, wrong, "-l").stderr
    assert configutil(server, place, "-f", "x", "-l").returncode == 2


def test_a_dump_is_carried_over(server: ApiServer, place: str) -> None:
    migrate = ("migrate", "configutil", "-")
    dump = "service.imap.maxsessions = 6000\nservice.pop.idletimeout = 20\nlocal.imta.x = 1\n"
    done = configutil(server, place, command=migrate, given=dump)
    assert "nothing is changed; --write sets 2 of them" in done.stdout
    assert spec(server, place)["imap"]["maxsessions"] == 5000
    done = configutil(server, place, "--write", command=migrate, given=dump)
    assert "live, taken up by running services within seconds: pop.idletimeout, imap.maxsessions" in done.stdout
    assert spec(server, place)["imap"]["maxsessions"] == 6000
    assert spec(server, place)["pop"]["idletimeout"] == 20
    done = configutil(server, place, "--write", command=migrate, given="service.imap.numprocesses = 0\n")
    assert done.returncode == 78
