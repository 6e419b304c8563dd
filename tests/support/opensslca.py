"""Certificate authorities as people run them: the openssl command, with good, expired and revoked certificates."""

from __future__ import annotations

import ssl
import subprocess
from dataclasses import dataclass
from pathlib import Path

_CONFIGURATION = """
[ca]
default_ca = here
[here]
database = {folder}/index.txt
serial = {folder}/serial
new_certs_dir = {folder}
certificate = {folder}/ca.pem
private_key = {folder}/ca.key
default_md = sha256
default_days = 30
default_crl_days = 30
policy = anything
copy_extensions = copy
email_in_dn = yes
unique_subject = no
[anything]
countryName = optional
organizationName = optional
organizationalUnitName = optional
commonName = optional
userId = optional
emailAddress = optional
[req]
distinguished_name = empty
prompt = no
[empty]
"""


@dataclass(frozen=True, slots=True)
class ClientPair:
    """A certificate and its key."""

    certfile: Path
    keyfile: Path

    def context(self, server: ssl.SSLContext) -> ssl.SSLContext:
        """The client's side of `server`'s trust, with this certificate."""
        server.load_cert_chain(self.certfile, self.keyfile)
        return server


class OpensslCa:
    """One authority in a folder of its own."""

    def __init__(self, folder: Path, name: str = "Staff CA") -> None:
        self._folder = folder
        folder.mkdir(parents=True)
        self._configuration = folder / "openssl.cnf"
        self._configuration.write_text(_CONFIGURATION.format(folder=folder))
        (folder / "index.txt").touch()
        (folder / "serial").write_text("1000\n")
        (folder / "crlnumber").write_text("1000\n")
        self.cafile, self.crlfile = folder / "ca.pem", folder / "crl.pem"
        self._openssl(
            "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30",
            "-subj", f"/C=DE/O=Example/CN={name}", "-addext", "basicConstraints=critical,CA:TRUE",
            "-keyout", str(folder / "ca.key"), "-out", str(self.cafile),
        )  # fmt: skip
        self.list_revoked()

    def issue(
        self, subject: str, *, mails: tuple[str, ...] = (), hosts: tuple[str, ...] = (), days: str = ""
    ) -> ClientPair:
        """A certificate for `/C=DE/.../CN=...`; `days` are openssl's `-startdate` and `-enddate`, blank between."""
        number = len(list(self._folder.glob("*.csr")))
        request, pair = (
            self._folder / f"{number}.csr",
            ClientPair(self._folder / f"{number}.crt", self._folder / f"{number}.key"),
        )
        names = ",".join([*(f"email:{mail}" for mail in mails), *(f"DNS:{host}" for host in hosts)])
        extension = ["-addext", f"subjectAltName={names}"] if names else []
        self._openssl(
            "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", subject, *extension,
            "-config", str(self._configuration), "-keyout", str(pair.keyfile), "-out", str(request),
        )  # fmt: skip
        start, _, end = days.partition(" ")
        dates = ["-startdate", start, "-enddate", end] if days else []
        self._openssl(
            "ca", "-batch", "-notext", "-config", str(self._configuration), *dates, "-in", str(request),
            "-out", str(pair.certfile),
        )  # fmt: skip
        return pair

    def expired(self, subject: str, **names: tuple[str, ...]) -> ClientPair:
        """One whose time is over."""
        return self.issue(subject, days="20200101000000Z 20200102000000Z", **names)

    def revoke(self, pair: ClientPair) -> None:
        """Take a certificate back, and write the list anew."""
        self._openssl("ca", "-config", str(self._configuration), "-revoke", str(pair.certfile))
        self.list_revoked()

    def list_revoked(self) -> None:
        """Write the revocation list."""
        self._openssl("ca", "-config", str(self._configuration), "-gencrl", "-out", str(self.crlfile))

    def _openssl(self, *arguments: str) -> None:
        subprocess.run(["openssl", *arguments], check=True, capture_output=True, timeout=60)
