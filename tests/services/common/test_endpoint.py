"""tls-server-end-point: the hash that each kind of signature asks for, as another implementation finds it."""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.common.endpoint import endpoint

RSA = ("rsa:2048",)
EC = ("ec", "-pkeyopt", "ec_paramgen_curve:P-256")


def certificate(folder: Path, key: tuple[str, ...], *words: str) -> bytes:
    """A certificate that openssl signs itself (DER)."""
    path = folder / "certificate.der"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", *key, "-nodes", "-subj", "/CN=x", "-keyout", str(folder / "key"),
         "-outform", "DER", "-out", str(path), *words],
        check=True, capture_output=True, timeout=60,
    )  # fmt: skip
    return path.read_bytes()


@pytest.mark.rfc("5929", "4.1")
@pytest.mark.parametrize(
    ("key", "words", "name"),
    [
        (RSA, ("-sha1",), "sha256"),
        (RSA, ("-sha256",), "sha256"),
        (RSA, ("-sha384",), "sha384"),
        (RSA, ("-sha512",), "sha512"),
        (EC, ("-sha1",), "sha256"),
        (EC, ("-sha256",), "sha256"),
        (EC, ("-sha384",), "sha384"),
        (EC, ("-sha512",), "sha512"),
        (("ed25519",), (), ""),
        (RSA, ("-sha256", "-sigopt", "rsa_padding_mode:pss"), ""),
    ],
)
def test_the_signature_says_which_hash(tmp_path: Path, key: tuple[str, ...], words: tuple[str, ...], name: str) -> None:
    der = certificate(tmp_path, key, *words)
    assert endpoint(der) == (hashlib.new(name, der).digest() if name else None)


@given(st.binary(max_size=80))
def test_any_bytes_are_a_certificate_or_the_one_error(octets: bytes) -> None:
    try:
        endpoint(octets)
    except ValueError:
        return
