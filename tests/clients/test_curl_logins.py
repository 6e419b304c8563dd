"""curl logs in by every mechanism that it knows: digests, bearer tokens, certificates; in IMAP and POP3."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.support.certificates import make_certificate
from tests.support.opensslca import ClientPair, OpensslCa
from tests.support.running import PASSWORD, USER, RunningServices, running
from tests.support.tokenissuer import AUDIENCE, ISSUER, Issuer

pytestmark = pytest.mark.clients
PROTOCOLS = ("imap", "pop")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("curl")


@pytest.fixture(scope="module")
def issuer(folder: Path) -> Issuer:
    made = Issuer()
    (folder / "keys.json").write_bytes(made.key_set())
    return made


@pytest.fixture(scope="module")
def ca(folder: Path) -> OpensslCa:
    return OpensslCa(folder / "ca")


@pytest.fixture(scope="module")
def services(folder: Path, issuer: Issuer, ca: OpensslCa) -> Iterator[RunningServices]:
    """Services that offer everything, with a certificate for localhost."""
    assert issuer
    certificate = make_certificate(folder)
    (folder / "sni").mkdir()
    options = {
        "MAILKEEP_SASL_HAS_PLAIN_PASSWORDS": "yes",
        "MAILKEEP_SASL_OAUTHKEYS": str(folder / "keys.json"),
        "MAILKEEP_SASL_OAUTHISSUER": ISSUER,
        "MAILKEEP_SASL_OAUTHAUDIENCE": AUDIENCE,
        "MAILKEEP_TLS_CERTFILE": str(certificate.certfile),
        "MAILKEEP_TLS_KEYFILE": str(certificate.keyfile),
        "MAILKEEP_TLS_CLIENTCA": str(ca.cafile),
        "MAILKEEP_TLS_CRLFILE": str(ca.crlfile),
        "MAILKEEP_TLS_SNIFOLDER": str(folder / "sni"),
        "MAILKEEP_POP_CLIENTCERTIFICATES": "yes",
        "MAILKEEP_DIRECTORY_FAILDELAY": "0",
    }
    with running(folder / "data", **options) as started:
        path = started.data / "users.yaml"
        users = yaml.safe_load(path.read_text())
        users["accounts"][USER]["secrets"] = [f"{{CLEARTEXT}}{PASSWORD}"]
        path.write_text(yaml.safe_dump(users))
        yield started


def curl(services: RunningServices, folder: Path, protocol: str, *words: str) -> subprocess.CompletedProcess[bytes]:
    """List the mailboxes or the messages under TLS."""
    scheme, port = ("imaps", services.imaps) if protocol == "imap" else ("pop3s", services.pops)
    certificate = ["--cacert", str(folder / "certificate.pem")]
    return subprocess.run(
        ["curl", "--silent", "--show-error", "--verbose", "--max-time", "20", *certificate, *words,
         f"{scheme}://localhost:{port}/"],
        capture_output=True, check=False, timeout=100,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("protocol", "mechanism"),
    [
        ("imap", "CRAM-MD5"),
        ("imap", "PLAIN"),
        ("imap", "LOGIN"),
        ("pop", "CRAM-MD5"),
        ("pop", "PLAIN"),
        ("pop", "+APOP"),
    ],
)
def test_by_password(services: RunningServices, folder: Path, protocol: str, mechanism: str) -> None:
    option = f"AUTH={mechanism}"
    done = curl(services, folder, protocol, "--user", f"{USER}:{PASSWORD}", "--login-options", option)
    assert done.returncode == 0, done.stderr
    assert mechanism.strip("+").encode() in done.stderr
    assert curl(services, folder, protocol, "--user", f"{USER}:wrong", "--login-options", option).returncode == 67


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("mechanism", ["OAUTHBEARER", "XOAUTH2"])
def test_by_bearer_token(
    services: RunningServices, folder: Path, issuer: Issuer, protocol: str, mechanism: str
) -> None:
    words = ["--user", USER, "--login-options", f"AUTH={mechanism}", "--oauth2-bearer"]
    done = curl(services, folder, protocol, *words, issuer.token(USER))
    assert done.returncode == 0, done.stderr
    assert mechanism.encode() in done.stderr
    assert curl(services, folder, protocol, *words, issuer.token(USER, aud="another")).returncode == 67


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_by_certificate(services: RunningServices, folder: Path, ca: OpensslCa, protocol: str) -> None:
    def log_in(pair: ClientPair) -> int:
        words = ["--user", f"{USER}:", "--login-options", "AUTH=EXTERNAL"]
        return curl(
            services, folder, protocol, *words, "--cert", str(pair.certfile), "--key", str(pair.keyfile)
        ).returncode

    assert log_in(ca.issue("/O=Example/CN=Anna", mails=(USER,))) == 0
    assert log_in(ca.issue("/O=Example/CN=Bert", mails=("nobody@example.com",))) == 67


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_list_of_revoked_certificates_is_taken_up_while_running(
    services: RunningServices, folder: Path, ca: OpensslCa, protocol: str
) -> None:
    pair = ca.issue("/O=Example/CN=Anna", mails=(USER,))
    certificate = ["--cert", str(pair.certfile), "--key", str(pair.keyfile)]
    words = ["--user", f"{USER}:", "--login-options", "AUTH=EXTERNAL", *certificate]
    assert curl(services, folder, protocol, *words).returncode == 0
    ca.revoke(pair)
    deadline = time.monotonic() + 60
    while not curl(services, folder, protocol, *words).returncode:
        assert time.monotonic() < deadline
    assert "certificate revoked" in services.wait_for_log("client certificate refused")


def test_a_certificate_for_another_host_name_is_taken_up_while_running(
    services: RunningServices, folder: Path, ca: OpensslCa
) -> None:
    def reached(name: str) -> bool:
        return not subprocess.run(
            ["curl", "--silent", "--max-time", "20", "--cacert", str(ca.cafile), "--user", f"{USER}:{PASSWORD}",
             "--resolve", f"{name}:{services.imaps}:127.0.0.1", f"imaps://{name}:{services.imaps}/"],
            capture_output=True, check=False, timeout=100,
        ).returncode  # fmt: skip

    assert not reached("mail.two.example")
    pair = ca.issue("/CN=two", hosts=("mail.two.example",))
    place = folder / "sni/two"
    place.mkdir()
    (place / "tls.key").write_bytes(pair.keyfile.read_bytes())
    (place / "tls.crt").write_bytes(pair.certfile.read_bytes())
    deadline = time.monotonic() + 60
    while not reached("mail.two.example"):
        assert time.monotonic() < deadline, services.log.read_text()
    assert not reached("mail.three.example")
