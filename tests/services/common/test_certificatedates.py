"""When a certificate ends, without a library that would tell."""

from __future__ import annotations

import base64
import contextlib
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st

from services.common.certificatedates import expiry
from services.common.tls import write_self_signed
from tests.support.authority import certificate_until


@pytest.mark.parametrize("year", [2030, 2049, 2050, 2120])
def test_the_end_is_the_one_that_the_library_reads(year: int) -> None:
    pem = certificate_until(datetime(year, 12, 31, 23, 59, 58, tzinfo=UTC))
    assert expiry(pem) == x509.load_pem_x509_certificate(pem).not_valid_after_utc


def test_of_a_chain_the_first_counts(tmp_path: Path) -> None:
    write_self_signed(tmp_path / "cert.pem", tmp_path / "key.pem")
    own = certificate_until(datetime(2031, 1, 1, tzinfo=UTC))
    assert expiry(b"Subject: mail\n" + own + (tmp_path / "cert.pem").read_bytes()) == datetime(2031, 1, 1, tzinfo=UTC)


@given(st.binary())
def test_any_octets_give_a_date_or_a_value_error(octets: bytes) -> None:
    for text in (octets, b"-----BEGIN CERTIFICATE-----\n" + base64.b64encode(octets) + b"\n-----END CERTIFICATE-----"):
        with pytest.raises(ValueError):  # noqa: PT011 - its texts are nobody's business
            expiry(text)


@given(st.data())
def test_a_certificate_with_octets_changed_gives_a_date_or_a_value_error(data: st.DataObject) -> None:
    der = bytearray(base64.b64decode(b"".join(_PEM.splitlines()[1:-1])))
    for _ in range(data.draw(st.integers(1, 4))):
        der[data.draw(st.integers(0, 200))] = data.draw(st.integers(0, 255))
    text = b"-----BEGIN CERTIFICATE-----\n" + base64.b64encode(bytes(der)) + b"\n-----END CERTIFICATE-----"
    with contextlib.suppress(ValueError):
        assert expiry(text).tzinfo is UTC


_PEM = certificate_until(datetime(2040, 6, 1, tzinfo=UTC))
