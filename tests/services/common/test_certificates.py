"""The ends of a process's certificates, as it watches them."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

from services.common.certificates import Expiries, certificate_files
from services.common.options import Configuration, StoreOptions
from services.common.sharedoptions import TlsOptions
from tests.support.authority import certificate_until

FIRST, SECOND = datetime(2030, 1, 1, tzinfo=UTC), datetime(2031, 1, 1, tzinfo=UTC)


def test_each_service_names_the_files_that_it_uses() -> None:
    store = StoreOptions(listen="::", certfile="s.pem", clientcertfile="/etc/c.pem")
    configuration = Configuration(data="/data", store=store, tls=TlsOptions(certfile="t.pem"))
    assert certificate_files("imap", configuration) == {
        "tls.certfile": "/data/t.pem",
        "store.clientcertfile": "/etc/c.pem",
    }
    assert certificate_files("store", configuration) == {"store.certfile": "/data/s.pem"}
    assert certificate_files("store", Configuration(data="/data")) == {}


def test_certificates_of_host_names_are_watched_by_their_folders(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / "sni" / name).mkdir(parents=True)
        (tmp_path / "sni" / name / "tls.crt").write_bytes(certificate_until(FIRST))
    configuration = Configuration(data=str(tmp_path), tls=TlsOptions(snifolder=str(tmp_path / "sni")))
    expiries = Expiries(lambda: certificate_files("imap", configuration))
    assert expiries.read() == dict.fromkeys(("tls.snifolder one", "tls.snifolder two"), FIRST.timestamp())


def test_a_replaced_file_is_read_again_and_a_broken_one_left_out(tmp_path: Path) -> None:
    file = tmp_path / "cert.pem"
    expiries = Expiries(lambda: {"tls.certfile": str(file)})
    assert expiries.read() == {}
    file.write_bytes(certificate_until(FIRST))
    assert expiries.read() == expiries.read() == {"tls.certfile": FIRST.timestamp()}
    replacement = tmp_path / "new.pem"
    replacement.write_bytes(certificate_until(SECOND))
    os.replace(replacement, file)
    assert expiries.read() == {"tls.certfile": SECOND.timestamp()}
    replacement.write_text("nothing")
    os.replace(replacement, file)
    assert expiries.read() == {}
