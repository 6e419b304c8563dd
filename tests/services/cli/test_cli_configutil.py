"""`configutil` through real processes: the lines that administrators know, and what running services make of them."""

from __future__ import annotations

import imaplib
import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import yaml

from tests.support.processes import eventually
from tests.support.running import RunningServices, running

pytestmark = pytest.mark.running


@pytest.fixture
def idle(tmp_path: Path) -> RunningServices:
    """A data folder on which nothing runs, without the overrides that a test of services needs."""
    services = RunningServices(tmp_path)
    services.environ = {
        name: value for name, value in services.environ.items() if not name.startswith("MAILKEEP_") or "DATA" in name
    }
    return services


def said(services: RunningServices, *words: str, given: str = "") -> str:
    return services.command("configutil", *words, given=given).stdout.rstrip("\n")


def test_the_lines_of_the_chapter(idle: RunningServices) -> None:
    for service in ("pop", "imap", "http"):
        for name, value in (("enable", "no"), ("port", "2025"), ("maxsessions", "77"), ("idletimeout", "45"),
                            ("maxthreads", "12"), ("numprocesses", "3")):  # fmt: skip
            option = f"service.{service}.{name}"
            said(idle, "-o", option, "-v", value)
            assert said(idle, "-o", option) == value
            said(idle, "-o", option, "-d")
    assert said(idle, "-o", "service.imap.port") == "143"
    for name, value in (("service.loginseparator", "@+"), ("sasl.default.ldap.searchfordomain", "0"),
                        ("sasl.default.ldap.searchfilter", "(telephoneNumber=%U)")):  # fmt: skip
        said(idle, "-o", name, "-v", value)
        assert said(idle, "-o", name) == {"0": "no"}.get(value, value)
        said(idle, "-o", name, "-d")
    assert said(idle, "-l") == ""
    said(idle, "-o", "service.pop.banner", "-v", "Harbour POP: ready")
    assert said(idle, "-l", "-m") == 'service.pop.banner = "Harbour POP: ready" [REFRESHABLE]'


def test_both_names_are_one_option(idle: RunningServices) -> None:
    said(idle, "-o", "service.imap.maxsessions", "-v", "5000")
    assert said(idle, "-o", "imap.maxsessions") == "5000"
    said(idle, "-o", "imap.maxsessions", "-v", "6000")
    assert said(idle, "-o", "service.imap.maxsessions") == "6000"
    assert yaml.safe_load((idle.data / "mailkeep.yaml").read_text()) == {"imap": {"maxsessions": 6000}}


def test_the_console_script_is_the_same_command(idle: RunningServices) -> None:
    script = Path(sys.executable).with_name("configutil")
    done = subprocess.run(
        [script, "-o", "service.pop.maxsessions", "-v", "9"],
        env=idle.environ,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "pop.maxsessions" in done.stdout
    assert said(idle, "-o", "pop.maxsessions") == "9"


def test_lists_by_prefix_with_and_without_what_is_empty(idle: RunningServices) -> None:
    names = [line.split(" = ")[0] for line in said(idle, "-p", "tls.").splitlines()]
    assert "tls.minversion" in names
    assert "tls.certfile" not in names
    assert "tls.certfile = " in said(idle, "-e", "-p", "tls.").splitlines()[0] + " "
    assert all(line.startswith("service.imap.max") for line in said(idle, "-p", "service.imap.max").splitlines())
    code, text = idle.refused("configutil", "-p", "nothing")
    assert (code, text) == (1, "no option begins with nothing\n")


def test_help_names_default_meaning_and_whether_it_is_live(idle: RunningServices) -> None:
    text = said(idle, "-H", "-o", "service.imap.idletimeout")
    for part in ("service.imap.idletimeout (imap.idletimeout)", "default: 30", "never lowered below 30", "taken up"):
        assert part in text
    assert "needs a restart of imap" in said(idle, "-H", "-o", "imap.port")
    [facts] = idle.json("configutil", "-o", "imap.port")
    assert (facts["legacy"], facts["value"], facts["refreshable"]) == ("service.imap.port", 143, False)


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (("-o", "service.imap.maxsesions"), 2, "did you mean service.imap.maxsessions?"),
        (("-o", "service.imap.banner;lang-de", "-v", "x"), 2, "no language variants"),
        (("-v", "x"), 2, "-v needs -o NAME"),
        (("-d",), 2, "-d needs -o NAME"),
        (("-o", "imap.port", "-d", "-v", "1"), 2, "exclude each other"),
        (("-o", "imap.idletimeout", "-v", "5"), 78, "never lowered below 30"),
        (("-o", "imap.port", "-v", "110"), 78, "is one port for two listeners"),
    ],
)
def test_what_cannot_be_is_refused(idle: RunningServices, words: tuple[str, ...], code: int, text: str) -> None:
    got, told = idle.refused("configutil", *words)
    assert got == code
    assert text in told
    assert not (idle.data / "mailkeep.yaml").exists()


def test_a_batch_is_all_or_nothing(idle: RunningServices, tmp_path: Path) -> None:
    batch = tmp_path / "config.cfg"
    batch.write_text("# ours\nservice.imap.maxsessions=10\nservice.pop.idletimeout = 3\nservice.imap.prot=1\nwhat\n")
    code, told = idle.refused("configutil", "-i", str(batch))
    assert code == 78
    assert "line 4" in told
    assert "did you mean service.imap.port?" in told
    assert "is not NAME=VALUE" in told
    batch.write_text('service.imap.maxsessions=10\nservice.pop.banner = "Harbour [x]"\n')
    said(idle, "-i", str(batch))
    said(idle, "-i", "-", given="imap.maxthreads = 5 [NOT REFRESHABLE]\n")
    listed = 'service.pop.banner = "Harbour [x]"\nservice.imap.maxthreads = 5\nservice.imap.maxsessions = 10'
    assert said(idle, "-l") == listed


def test_another_file_and_a_folder_that_cannot_be_written(idle: RunningServices, tmp_path: Path) -> None:
    other = tmp_path / "other.yaml"
    said(idle, "-f", str(other), "-o", "imap.port", "-v", "2143")
    assert said(idle, "-f", str(other), "-l") == "service.imap.port = 2143"
    # Nobody, not even root, makes a file there.
    code, told = idle.refused("configutil", "-f", "/sys/mailkeep.yaml", "-o", "service.imap.port", "-v", "2143")
    assert code == 1
    assert "configutil --mailservice NAMESPACE/NAME -o imap.port -v 2143" in told
    assert """kubectl patch mailservice NAME --type merge -p '{"spec": {"imap": {"port": 2143}}}'""" in told


def test_changes_at_the_same_time_are_all_kept(idle: RunningServices) -> None:
    names = ("imap.maxsessions", "imap.maxthreads", "pop.maxsessions", "pop.maxthreads", "lmtp.maxsessions")
    with ThreadPoolExecutor(len(names)) as pool:
        list(pool.map(lambda name: said(idle, "-o", name, "-v", "321"), names))
    assert {said(idle, "-o", name) for name in names} == {"321"}


def greeting(services: RunningServices) -> bytes:
    client = imaplib.IMAP4("127.0.0.1", services.imap, timeout=90)
    client.logout()
    return client.welcome


def test_running_services_take_up_what_is_live(tmp_path: Path) -> None:
    with running(tmp_path / "data", MAILKEEP_LMTP_ENABLE="no") as services:
        (services.data / "mailkeep.yaml").write_text("# ours\nimap: {banner: old}  # the greeting\n")
        done = services.command("configutil", "-o", "service.imap.banner", "-v", "Harbour mail")
        assert "live, taken up by running services within seconds: imap.banner" in done.stdout
        assert (services.data / "mailkeep.yaml").read_text() == "# ours\nimap: {banner: Harbour mail}  # the greeting\n"
        eventually(lambda: b"Harbour mail" in greeting(services))
        done = services.command("configutil", "-o", "service.imap.port", "-v", "2143")
        assert "imap.port is overruled by MAILKEEP_IMAP_PORT" in done.stderr
        done = services.command("configutil", "-o", "imap.literal", "-v", "LITERAL-", "--json")
        assert json.loads(done.stdout) == {"live": [], "restart": ["imap.literal"], "overruled": []}


def test_without_kubectl_a_mailservice_is_out_of_reach(idle: RunningServices) -> None:
    path = idle.environ["PATH"]
    try:
        idle.environ["PATH"] = str(idle.data)
        code, told = idle.refused("configutil", "--mailservice", "mail/site", "-l")
    finally:
        idle.environ["PATH"] = path
    assert (code, "kubectl is not installed here" in told) == (78, True)
