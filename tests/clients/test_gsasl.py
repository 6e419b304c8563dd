"""GNU SASL's client logs in by SCRAM: what it takes by itself, and bound to its channel."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.certificates import make_certificate
from tests.support.processes import eventually
from tests.support.running import PASSWORD, USER, RunningServices, running

pytestmark = pytest.mark.clients
TLS_1_2 = ("--priority", "NORMAL:-VERS-TLS1.3")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("gsasl")


@pytest.fixture(scope="module")
def services(folder: Path) -> Iterator[RunningServices]:
    """Services with SCRAM switched on before the accounts were made, so that their passwords have secrets."""
    certificate = make_certificate(folder)
    options = {
        "MAILKEEP_SASL_SCRAM": "yes",
        "MAILKEEP_TLS_CERTFILE": str(certificate.certfile),
        "MAILKEEP_TLS_KEYFILE": str(certificate.keyfile),
        "MAILKEEP_DIRECTORY_FAILDELAY": "0",
    }
    with running(folder / "data", **options) as started:
        yield started


def log_in(services: RunningServices, folder: Path, *words: str, password: str = PASSWORD) -> tuple[bool, str]:
    """Whether it worked, and what was said."""
    done = subprocess.run(
        ["gsasl", "--imap", "--verbose", "--connect", f"localhost:{services.imap}", "-a", USER, "-p", password,
         "--x509-ca-file", str(folder / "certificate.pem"), *words],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    said = done.stdout + done.stderr
    return "server trusted" in said, said


@pytest.mark.parametrize(
    ("words", "mechanism"),
    [
        (("--no-starttls",), "SCRAM-SHA-256"),
        # Its 2.2 takes no SCRAM without a binding where it has one itself, whatever the server offers.
        (("--no-cb",), "SCRAM-SHA-256"),
        (TLS_1_2, "SCRAM-SHA-256-PLUS"),
    ],
)
def test_logs_in_by_what_it_thinks_best(
    services: RunningServices, folder: Path, words: tuple[str, ...], mechanism: str
) -> None:
    worked, said = log_in(services, folder, *words)
    assert worked, said
    assert f"AUTHENTICATE {mechanism}\n" in said
    assert not log_in(services, folder, *words, password="wrong")[0]


def test_a_new_password_counts_for_scram_too(services: RunningServices, folder: Path) -> None:
    services.command("account", "passwd", USER, "--password-stdin", given="another one\n")
    # The users file is looked at once a second.
    eventually(lambda: log_in(services, folder, "--no-starttls", password="another one")[0], pause=0.2)
    assert not log_in(services, folder, "--no-starttls")[0]
