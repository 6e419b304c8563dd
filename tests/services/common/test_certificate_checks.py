"""A file of certificates that cannot be used is named by the option that brings it in, before anything starts."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.common.configuration import ConfigurationError, check_files, load
from tests.support.certificates import make_certificate
from tests.support.opensslca import OpensslCa


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Everything that is needed, and a file that is nothing."""
    made = tmp_path_factory.mktemp("checks")
    make_certificate(made)
    ca = OpensslCa(made / "ca")
    (made / "good/one").mkdir(parents=True)
    pair = ca.issue("/CN=one", hosts=("one.example",))
    (made / "good/one/tls.crt").write_bytes(pair.certfile.read_bytes())
    (made / "good/one/tls.key").write_bytes(pair.keyfile.read_bytes())
    (made / "bad/one").mkdir(parents=True)
    (made / "bad/one/tls.crt").write_bytes(pair.certfile.read_bytes())
    (made / "nothing").write_text("nothing\n")
    (made / "certmap.conf").write_text("certmap default default\n")
    return made


GOOD = {
    "certfile": "certificate.pem",
    "keyfile": "key.pem",
    "clientca": "ca/ca.pem",
    "crlfile": "ca/crl.pem",
    "certmap": "certmap.conf",
    "snifolder": "good",
    "ciphers": "ECDHE+AESGCM",
}


def problems(folder: Path, **changes: str) -> list[str]:
    """The options that are complained about."""
    lines = [f"tls.{name}: {value}" for name, value in {**GOOD, **changes}.items()]
    (folder / "mailkeep.yaml").write_text("\n".join(lines))
    try:
        check_files(load(environ={}, data=str(folder)))
    except ConfigurationError as error:
        return [problem.option for problem in error.problems]
    return []


def test_what_can_be_used_is_used(folder: Path) -> None:
    assert problems(folder) == []


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("clientca", "nothing"),
        ("crlfile", "nothing"),
        ("crlfile", "missing"),
        ("certmap", "nothing"),
        ("certmap", "missing"),
        ("snifolder", "bad"),
        ("ciphers", "nonsense"),
    ],
)
def test_what_cannot_be_is_named(folder: Path, option: str, value: str) -> None:
    assert f"tls.{option}" in problems(folder, **{option: value})


def test_what_needs_others_says_so(tmp_path: Path) -> None:
    (tmp_path / "mailkeep.yaml").write_text("tls: {crlfile: a, certmap: b, snifolder: c}\n")
    with pytest.raises(ConfigurationError) as caught:
        load(environ={}, data=str(tmp_path))
    found = {problem.option: problem.text for problem in caught.value.problems}
    assert found == {
        "tls.crlfile": "needs tls.clientca",
        "tls.certmap": "needs tls.clientca",
        "tls.snifolder": "needs tls.certfile",
    }
