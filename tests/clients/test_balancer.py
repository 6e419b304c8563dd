"""Behind a real balancer: haproxy with PROXY headers of both versions, its TLS and ours, and its checks of health."""

from __future__ import annotations

import http.client
import imaplib
import poplib
import shutil
import smtplib
import socket
import ssl
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
import yaml

from tests.support.certificates import Certificate, make_certificate
from tests.support.running import OTHER, PASSWORD, USER, RunningServices, free_ports

pytestmark = [pytest.mark.clients, pytest.mark.timeout(240)]
CLIENT, BARRED = "127.0.0.2", "127.0.0.3"
"""Clients; the balancer itself is 127.0.0.1."""
PROXY_PORTS = ("imap_proxyport", "imap_proxysslport", "pop_proxyport", "pop_proxysslport", "lmtp_proxyport")
FRONTENDS = {
    "imap": ("imap_proxyport", "send-proxy-v2", ""),
    "imap-v1": ("imap_proxyport", "send-proxy", ""),
    "imap-tls": ("imap_proxyport", "send-proxy-v2-ssl", "ssl crt {pem}"),
    "imap-passed": ("imap_proxysslport", "send-proxy-v2", ""),
    "pop": ("pop_proxyport", "send-proxy", ""),
    "pop-tls": ("pop_proxyport", "send-proxy-v2-ssl-cn", "ssl crt {pem}"),
    "pop-passed": ("pop_proxysslport", "send-proxy", ""),
    "lmtp": ("lmtp_proxyport", "send-proxy-v2", ""),
    "no-header": ("imap_proxyport", "", ""),
    "http": ("http", "", ""),
    "https": ("http", "", "ssl crt {pem}"),
}
"""Name -> the port of ours behind it, how haproxy speaks to it, and what clients meet."""
HTTP = {
    name: ["  mode http", "  option forwardfor", f"  http-request set-header X-Forwarded-Proto {name}"]
    for name in ("http", "https")
}
ADDRESSES: dict[str, Any] = {"source_address": (CLIENT, 0)}


class Balancer:
    """haproxy, with a port for each of FRONTENDS."""

    def __init__(self, folder: Path, behind: dict[str, int], certificate: Certificate) -> None:
        self.ports = dict(zip(FRONTENDS, free_ports(len(FRONTENDS)), strict=True))
        pem = folder / "both.pem"
        pem.write_bytes(certificate.certfile.read_bytes() + certificate.keyfile.read_bytes())
        lines = ["global", "  maxconn 500", "defaults", "  mode tcp", "  timeout connect 10s"]
        lines += ["  timeout client 60s", "  timeout server 60s", "  timeout check 10s"]
        for name, (port, how, meets) in FRONTENDS.items():
            checks = "check inter 100ms check-send-proxy" if how else ""
            lines += [
                f"listen {name}",
                *HTTP.get(name, ()),
                f"  bind 127.0.0.1:{self.ports[name]} {meets.format(pem=pem)}",
                f"  server one 127.0.0.1:{behind[port]} {how} {checks}",
            ]
        self._configuration = folder / "haproxy.cfg"
        self._configuration.write_text("\n".join(lines) + "\n")
        self._log = folder / "haproxy.log"

    def __enter__(self) -> Balancer:
        with open(self._log, "wb") as log:
            self._process = subprocess.Popen(
                [shutil.which("haproxy") or "/usr/sbin/haproxy", "-db", "-f", str(self._configuration)],
                stdout=log, stderr=log,
            )  # fmt: skip
        deadline = time.monotonic() + 60
        for port in self.ports.values():
            while not _answers(port):
                assert self._process.poll() is None, self._log.read_text()
                assert time.monotonic() < deadline, self._log.read_text()
                time.sleep(0.05)
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()


def _answers(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), 5):
        return True
    return False


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return make_certificate(tmp_path_factory.mktemp("certificate"))


@pytest.fixture(scope="module")
def services(tmp_path_factory: pytest.TempPathFactory, certificate: Certificate) -> Iterator[RunningServices]:
    ports = dict(zip(PROXY_PORTS, free_ports(len(PROXY_PORTS)), strict=True))
    started = RunningServices(
        tmp_path_factory.mktemp("services") / "data",
        **{f"MAILKEEP_{name.upper()}": str(port) for name, port in ports.items()},
        MAILKEEP_ACCESS_TRUSTEDPROXIES="127.0.0.1",
        MAILKEEP_ACCESS_BGEXCLUDED="",
        MAILKEEP_IMAP_DOMAINNOTALLOWED=f"ALL: {BARRED}",
        MAILKEEP_LMTP_ALLOWEDCLIENTS=CLIENT,
        MAILKEEP_SASL_LOCALPLAINTEXT="no",
        MAILKEEP_TLS_CERTFILE=str(certificate.certfile),
        MAILKEEP_TLS_KEYFILE=str(certificate.keyfile),
    )
    started.ports = ports  # type: ignore[attr-defined]
    started.data.mkdir(parents=True)
    for user in (USER, OTHER):
        started.command("account", "add", user, "--password-stdin", given=PASSWORD + "\n")
    users = yaml.safe_load((started.data / "users.yaml").read_text())
    users["accounts"][OTHER]["access"] = f"+imaps,pops:{CLIENT}"
    (started.data / "users.yaml").write_text(yaml.safe_dump(users))
    started.start()
    try:
        yield started
    finally:
        started.stop()


@pytest.fixture(scope="module")
def balancer(
    tmp_path_factory: pytest.TempPathFactory, services: RunningServices, certificate: Certificate
) -> Iterator[Balancer]:
    ports: dict[str, int] = {**services.ports, "http": services.http}  # type: ignore[attr-defined]
    with Balancer(tmp_path_factory.mktemp("haproxy"), ports, certificate) as started:
        yield started


class Imap(imaplib.IMAP4):
    """Connects from an address of its own."""

    source = CLIENT

    def _create_socket(self, timeout: float | None) -> socket.socket:
        return socket.create_connection((self.host, self.port), 60, source_address=(self.source, 0))


class ImapTls(Imap):
    """The same with TLS from the first byte."""

    context: ssl.SSLContext

    def _create_socket(self, timeout: float | None) -> socket.socket:
        return self.context.wrap_socket(super()._create_socket(timeout), server_hostname="localhost")


def pop(port: int, context: ssl.SSLContext | None = None) -> poplib.POP3:
    if context is None:
        return type("Pop", (poplib.POP3,), {"_create_socket": _pop_socket})("127.0.0.1", port)  # type: ignore[no-any-return]

    def wrapped(self: Any, timeout: float) -> ssl.SSLSocket:
        return context.wrap_socket(_pop_socket(self, timeout), server_hostname="localhost")

    return type("PopTls", (poplib.POP3,), {"_create_socket": wrapped})("127.0.0.1", port)  # type: ignore[no-any-return]


def _pop_socket(self: Any, timeout: float) -> socket.socket:
    return socket.create_connection((self.host, self.port), 60, source_address=(CLIENT, 0))


def addresses(services: RunningServices, user: str) -> set[str]:
    """Where `mailkeep who` sees the sessions of a user."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        found = {row["address"] for row in services.json("who", "--user", user)}
        if found:
            return found
        time.sleep(0.1)
    raise AssertionError("nobody is there")


@pytest.mark.parametrize("name", ["imap", "imap-v1"])
def test_passwords_wait_for_tls_as_without_a_balancer(balancer: Balancer, certificate: Certificate, name: str) -> None:
    with Imap("127.0.0.1", balancer.ports[name]) as client:
        assert "LOGINDISABLED" in client.capabilities
        client.starttls(certificate.client_context())
        client.host = "localhost"
        assert client.login(USER, PASSWORD)[0] == "OK"


@pytest.mark.parametrize("name", ["imap-tls", "imap-passed"])
def test_tls_counts_where_it_ends(
    services: RunningServices, balancer: Balancer, certificate: Certificate, name: str
) -> None:
    """At the balancer or here; an account whose rules ask for TLS and this very client logs in."""
    ImapTls.context = certificate.client_context()
    with ImapTls("127.0.0.1", balancer.ports[name]) as client:
        assert not {"LOGINDISABLED", "STARTTLS"} & set(client.capabilities)
        assert client.login(OTHER, PASSWORD)[0] == "OK"
        assert addresses(services, OTHER) == {CLIENT}


@pytest.mark.parametrize("name", ["pop-tls", "pop-passed"])
def test_pop(services: RunningServices, balancer: Balancer, certificate: Certificate, name: str) -> None:
    client = pop(balancer.ports[name], certificate.client_context())
    assert b"+OK" in client.user(OTHER)
    assert b"+OK" in client.pass_(PASSWORD)
    assert addresses(services, OTHER) == {CLIENT}
    client.quit()


def test_pop_in_clear_takes_no_password(balancer: Balancer) -> None:
    client = pop(balancer.ports["pop"])
    with pytest.raises(poplib.error_proto):
        client.user(USER)
    client.close()


def test_filters_see_the_client(balancer: Balancer) -> None:
    barred = type("Barred", (Imap,), {"source": BARRED})
    with pytest.raises(imaplib.IMAP4.error, match="not allowed"):
        barred("127.0.0.1", balancer.ports["imap"])


def test_mail_comes_in_from_the_client_that_may_deliver(services: RunningServices, balancer: Balancer) -> None:
    message = f"From: a@example.org\r\nTo: {USER}\r\nSubject: balanced\r\n\r\nhello\r\n"
    with smtplib.LMTP("127.0.0.1", balancer.ports["lmtp"], source_address=(CLIENT, 0)) as client:
        assert client.sendmail("a@example.org", [USER], message) == {}
    with socket.create_connection(("127.0.0.1", balancer.ports["lmtp"]), 60, source_address=(BARRED, 0)) as other:
        assert other.makefile("rb").readline().startswith(b"554 5.7.1")


class Http(http.client.HTTPConnection):
    """Connects from the client's address, with TLS where there is a context."""

    context: ssl.SSLContext | None = None

    def connect(self) -> None:
        sock = socket.create_connection((self.host, self.port), 60, source_address=(CLIENT, 0))
        self.sock = self.context.wrap_socket(sock, server_hostname="localhost") if self.context else sock


def log_in_by_http(balancer: Balancer, name: str, context: ssl.SSLContext | None, user: str) -> tuple[int, str]:
    """Status, and the page that the login leads to."""
    client = Http("127.0.0.1", balancer.ports[name])
    client.context = context
    invented = {"X-Forwarded-For": "6.6.6.6", "X-Forwarded-Proto": "https"}
    form = urlencode({"name": user, "password": PASSWORD})
    client.request("POST", "/login", form, {**invented, "Content-Type": "application/x-www-form-urlencoded"})
    with client.getresponse() as answer:
        answer.read()
        cookie = (answer.getheader("Set-Cookie") or "").partition(";")[0]
    client.request("GET", "/", headers={**invented, "Cookie": cookie})
    with client.getresponse() as page:
        text = page.read().decode()
    client.close()
    return answer.status, text


def test_http_and_what_a_client_invents(
    services: RunningServices, balancer: Balancer, certificate: Certificate
) -> None:
    """In clear no password is taken, whatever the client says of itself; under TLS at the balancer it is."""
    assert log_in_by_http(balancer, "http", None, USER)[0] == 403
    status, page = log_in_by_http(balancer, "https", certificate.client_context(), USER)
    assert status == 303
    assert f"<td>{CLIENT}</td>" in page
    assert "6.6.6.6" not in page


def test_a_balancer_that_sends_no_header_is_cut(services: RunningServices, balancer: Balancer) -> None:
    """The client is to speak first, and then it is no header that comes."""
    with socket.create_connection(("127.0.0.1", balancer.ports["no-header"]), 60) as client:
        client.sendall(b"a LOGIN anna secret\r\n")
        assert client.recv(1000) == b""
    services.wait_for_log("PROXY header refused")


def test_checks_of_health_are_the_balancers_own(services: RunningServices, balancer: Balancer) -> None:
    """They come and go all the time, with a header that names nobody."""
    opened, refused = (counted(services, sample) for sample in (OPENED, REFUSED))
    deadline = time.monotonic() + 60
    while counted(services, OPENED) < opened + 5:
        assert time.monotonic() < deadline, "no check comes"
        time.sleep(0.1)
    assert counted(services, REFUSED) == refused


OPENED = 'mailkeep_sessions_opened_total{service="imap"}'
REFUSED = 'mailkeep_sessions_refused_total{reason="proxy",service="imap"}'


def counted(services: RunningServices, sample: str) -> float:
    with urllib.request.urlopen(f"http://127.0.0.1:{services.admin['imap']}/metrics", timeout=10) as page:
        return float(page.read().decode().split(sample + " ")[1].split()[0])
