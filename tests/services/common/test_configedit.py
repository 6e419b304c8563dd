"""Editing the configuration's text: what was asked for changes, every other character stays."""

from __future__ import annotations

import difflib
import os
import stat
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from services.common.configedit import EditError, edited, rendered
from services.common.configfile import ConfigurationFile
from services.common.configuration import ConfigurationError

TEXT = """\
# head
imap:
    maxsessions: 5 # five
    # about banner
    banner: 'ü x'   # note

    # about port
    port: 3
# about pop
pop:
  port: 4
  # tail
lmtp:
  allowedclients:   # who
    - 10.0.0.0/8  # us
    - ::1/128
  # about max
  maxrecipients: 1000
store: {port: 1, listen: "ü", path: x}   # flow
tls:
service:
  pop: {banner: hi}
service.imap.maxthreads: 9
directory.defaultdomain: é.example # d
"""
STORE = '-store: {port: 1, listen: "ü", path: x}   # flow'
CASES: list[tuple[dict[str, Any], list[str]]] = [
    ({"imap.maxsessions": 6}, ["-    maxsessions: 5 # five", "+    maxsessions: 6 # five"]),
    ({"imap.banner": "no"}, ["-    banner: 'ü x'   # note", '+    banner: "no"   # note']),
    ({"imap.enable": False}, ["+    enable: no"]),
    ({"imap.port": None}, ["-    port: 3"]),
    ({"pop.port": None}, ["-pop:", "-  port: 4"]),
    ({"pop.banner": "a: b"}, ["-  pop: {banner: hi}", '+  pop: {banner: "a: b"}']),
    ({"pop.banner": None}, ["-service:", "-  pop: {banner: hi}"]),
    ({"imap.maxthreads": 7}, ["-service.imap.maxthreads: 9", "+service.imap.maxthreads: 7"]),
    ({"lmtp.allowedclients": ["10.1.0.0/16"]},
     ["-  allowedclients:   # who", "-    - 10.0.0.0/8  # us", "-    - ::1/128", "+  allowedclients: [10.1.0.0/16]"]),
    ({"store.listen": "é, y"},
     [STORE, '+store: {port: 1, listen: "é, y", path: x}   # flow']),
    ({"store.path": None},
     [STORE, '+store: {port: 1, listen: "ü"}   # flow']),
    ({"store.port": None},
     [STORE, '+store: {listen: "ü", path: x}   # flow']),
    ({"store.socket": "s"},
     [STORE, '+store: {port: 1, listen: "ü", path: x, socket: s}   # flow']),
    ({"tls.certfile": "a.pem"}, ["+  certfile: a.pem"]),
    ({"log.level": "debug"}, ["+log:", "+  level: debug"]),
    ({"directory.defaultdomain": "x.y"},
     ["-directory.defaultdomain: é.example # d", "+directory.defaultdomain: x.y # d"]),
]  # fmt: skip


@pytest.mark.parametrize(("wanted", "lines"), CASES, ids=["+".join(wanted) for wanted, _ in CASES])
def test_only_what_was_asked_for_changes(wanted: dict[str, Any], lines: list[str]) -> None:
    before, after = TEXT.splitlines(), edited(TEXT, wanted).splitlines()
    diff = [line for line in difflib.ndiff(before, after) if line[0] in "+-"]
    assert sorted(line[0] + line[2:] for line in diff) == sorted(lines)


@pytest.mark.parametrize(
    ("text", "after"),
    [("", "imap:\n  port: 1\n"), ("# only\n", "# only\nimap:\n  port: 1\n"), ("---\n", "---\nimap:\n  port: 1\n"),
     ("imap: {}\n", "imap: {port: 1}\n"), ("{}", "{imap: {port: 1}}"), ("{pop: {}}\n", "{pop: {}, imap: {port: 1}}\n"),
     ("imap: {banner: x,}", "imap: {banner: x, port: 1}"), ("imap.port:\n", "imap.port: 1\n"),
     ("pop: {port: 2}", "pop: {port: 2}\nimap:\n  port: 1\n")],
)  # fmt: skip
def test_a_new_option_finds_its_place(text: str, after: str) -> None:
    assert edited(text, {"imap.port": 1}) == after


@pytest.mark.parametrize("text", ["- a\n", "imap: 5\n", "a: [\n", "x\n"])
def test_what_holds_no_options_is_refused(text: str) -> None:
    with pytest.raises(EditError):
        edited(text, {"imap.port": 1})


@example("-")
@example("?")
@given(st.text(st.characters(categories=("L", "N", "P", "S", "Zs")), max_size=40))
def test_any_text_is_read_back_as_it_was(value: str) -> None:
    for text in (f"imap:\n  banner: {rendered(value)}\n", f"imap: {{banner: {rendered(value)}}}\n"):
        assert yaml.safe_load(text) == {"imap": {"banner": value}}


@given(
    st.dictionaries(
        st.sampled_from(
            ["imap.port", "imap.banner", "store.listen", "lmtp.allowedclients", "pop.banner", "tls.keyfile"]
        ),
        st.one_of(st.none(), st.integers(1, 9), st.text("ab:#ü ", max_size=4), st.lists(st.text("a,[", max_size=3))),
    )
)
def test_any_changes_leave_a_file_that_says_so(wanted: dict[str, Any]) -> None:
    text = edited(TEXT, wanted)
    assert yaml.safe_load(text) is not None
    assert edited(text, {name: value for name, value in wanted.items() if value is not None}) == text


# ---- the file -------------------------------------------------------------------------------------------------------
def configuration_file(tmp_path: Path, text: str | None = None) -> ConfigurationFile:
    if text is not None:
        (tmp_path / "mailkeep.yaml").write_text(text)
    return ConfigurationFile({"MAILKEEP_DATA": str(tmp_path)})


def test_a_new_file_is_for_its_owner_and_an_old_one_keeps_its_mode(tmp_path: Path) -> None:
    file = configuration_file(tmp_path)
    edit = file.change({"imap.maxsessions": "7", "imap.literal": "LITERAL-"})
    assert edit.changes.live == ("imap.maxsessions",)
    assert edit.changes.restart == ("imap.literal",)
    assert stat.S_IMODE(os.stat(file.path).st_mode) == 0o600
    os.chmod(file.path, 0o644)
    file.change({"imap.maxsessions": "8"})
    assert stat.S_IMODE(os.stat(file.path).st_mode) == 0o644
    assert file.given() == {"imap.maxsessions": 8, "imap.literal": "LITERAL-"}


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "conf.yaml").write_text("imap: {port: 1}\n")
    (tmp_path / "mailkeep.yaml").symlink_to("real/conf.yaml")
    configuration_file(tmp_path).change({"imap.port": "2"})
    assert (tmp_path / "mailkeep.yaml").is_symlink()
    assert (tmp_path / "real" / "conf.yaml").read_text() == "imap: {port: 2}\n"


@pytest.mark.parametrize(
    ("text", "wanted", "named"),
    [
        ("imap: {port: x}\npop: {idletimeout: 1}\n", {"log.level": "debug"}, {"imap.port", "pop.idletimeout"}),
        ("", {"imap.port": "0", "pop.enable": "perhaps"}, {"service.imap.port", "service.pop.enable"}),
        ("", {"tls.certfile": "a.pem"}, {"tls.certfile"}),
        ("imap: {port: &p 1143}\npop: {port: 1110, sslport: *p}\n", {"imap.port": "1"}, {"configuration file"}),
        ("imap: [\n", {"imap.port": "1"}, {"configuration file"}),
    ],
)
def test_a_bad_outcome_is_not_written(tmp_path: Path, text: str, wanted: dict[str, str], named: set[str]) -> None:
    file = configuration_file(tmp_path, text)
    with pytest.raises(ConfigurationError) as refused:
        file.change(wanted)
    assert {problem.option for problem in refused.value.problems} == named
    assert file.path.read_text() == text


def test_a_bad_file_can_be_mended(tmp_path: Path) -> None:
    file = configuration_file(tmp_path, "imap: {port: x, maxsessions: 3}\n")
    file.change({"imap.port": None})
    assert file.path.read_text() == "imap: {maxsessions: 3}\n"
    assert list(tmp_path.glob("*.new")) == []
