"""`mailkeep migrate configutil`: every line of a dump has an outcome and a reason; written are all or none."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.cli.dump import parse_lines
from services.cli.migrating.former import CONVERSIONS, DEFAULTS, OPTIONS, RULES, find_rule
from services.cli.migrating.page import BEGIN, END, with_table
from services.cli.migrating.plan import Fate, changes, plan
from services.common.values import BY_LEGACY, TABLE, convert
from tests.support.running import RunningServices

ROOT = Path(__file__).parents[3]


# ---- the data -------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", OPTIONS)
def test_every_documented_option_is_here_or_has_its_reason(name: str) -> None:
    assert name in BY_LEGACY or find_rule(name) is not None


def test_no_rule_speaks_of_an_option_that_there_is() -> None:
    assert [rule.pattern for rule in RULES if rule.pattern in BY_LEGACY] == []
    assert [name for name in DEFAULTS if name not in BY_LEGACY] == []
    assert [name for name in CONVERSIONS if name not in BY_LEGACY] == []
    assert [rule.option for rule in RULES if rule.option and rule.option not in TABLE] == []


def test_no_rule_is_hidden_by_one_before_it() -> None:
    for rule in RULES:
        found = find_rule(rule.pattern.replace("*", "x"))
        assert found is rule, f"{rule.pattern} is never reached"


def test_the_table_of_the_page_is_of_now() -> None:
    page = (ROOT / "docs" / "migration.md").read_text()
    assert page == with_table(page), "make docs"
    table = page.partition(BEGIN)[2].partition(END)[0]
    for name in OPTIONS:
        assert f"| `{name}` |" in table
    with pytest.raises(ValueError, match="marks"):
        with_table("no marks here")


# ---- lines ----------------------------------------------------------------------------------------------------------
LINES = (
    ("service.imap.maxsessions = 5000", Fate.CARRIED, "imap.maxsessions", "5000"),
    ("imap.maxsessions = 5000", Fate.CARRIED, "imap.maxsessions", "5000"),
    ("role.imap.maxsessions = 5000", Fate.CARRIED, "imap.maxsessions", "5000"),
    ("service.imap.maxsessions = 4000", Fate.DEFAULT, "imap.maxsessions", None),
    ("service.imap.maxsessions =", Fate.DEFAULT, "imap.maxsessions", None),
    ("service.pop.idletimeout = 3", Fate.CHANGED, "pop.idletimeout", None),
    ("service.pop.idletimeout = 20 [NOT REFRESHABLE]", Fate.CARRIED, "pop.idletimeout", "20"),
    ("service.imap.enable = 0", Fate.CARRIED, "imap.enable", "0"),
    ("service.loginseparator = @+", Fate.CARRIED, "directory.loginseparator", "@+"),
    ("service.loginseparator = +", Fate.CHANGED, "directory.loginseparator", "@+"),
    (
        "local.ugldaphost = a.example.com b.example.com:390",
        Fate.CHANGED,
        "ldap.servers",
        "ldap://a.example.com, ldap://b.example.com:390",
    ),
    ("local.ugldaphost = ldaps://a.example.com", Fate.CARRIED, "ldap.servers", "ldaps://a.example.com"),
    ("local.ugldaphost = a b ://", Fate.REFUSED, "ldap.servers", None),
    ("local.ugldapport = 389", Fate.HARMLESS, "", None),
    ("local.ugldapport = 1389", Fate.DROPPED, "", None),
    ("service.dcroot = o=internet", Fate.CARRIED, "ldap.dcroot", "o=internet"),
    ("sasl.default.ldap.searchfordomain = 0", Fate.CARRIED, "ldap.searchfordomain", "0"),
    ("service.http.port = 8080", Fate.CARRIED, "http.port", "8080"),
    ("service.http.idletimeout = 1", Fate.CHANGED, "http.idletimeout", None),
    ("service.http.spooldir = /tmp", Fate.DROPPED, "", None),
    ("base.defaultdomain = siroe.com", Fate.CARRIED, "directory.defaultdomain", "siroe.com"),
    ("role.base.ugldaphost = a", Fate.CHANGED, "ldap.servers", "ldap://a"),
    ("base.ugldapport = 389", Fate.HARMLESS, "", None),
    ("base.listenaddr = 10.0.0.1", Fate.DROPPED, "", None),
    ("service.imap.banner = %h %p service (%P %V)", Fate.CHANGED, "imap.banner", None),
    ("service.imap.banner = 100% ours", Fate.CARRIED, "imap.banner", "100% ours"),
    ("nsmsgPOPMinPoll = 60", Fate.CHANGED, "pop.logindelay", "60"),
    ("logfile.pop.loglevel = Critical", Fate.CARRIED, "pop.loglevel", "Critical"),
    ("logfile.admin.loglevel = Notice", Fate.DROPPED, "", None),
    ("logfile.imap.logdir = /var/log", Fate.DROPPED, "", None),
    ("service.imap.sslusessl = yes", Fate.HARMLESS, "", None),
    ("service.imap.sslusessl = no", Fate.DROPPED, "", None),
    ("service.imap.allowanonymouslogin = no", Fate.HARMLESS, "", None),
    ("service.imap.allowanonymouslogin = yes", Fate.DROPPED, "", None),
    ("service.imap.banner;lang-fr = Bonjour", Fate.DROPPED, "", None),
    ("service.imap.maxsesions = 5", Fate.DROPPED, "", None),
    ("who.knows = 5", Fate.DROPPED, "", None),
    ("what is this", Fate.DROPPED, "", None),
    ("service.imap.maxsessions = many", Fate.REFUSED, "imap.maxsessions", None),
    ("service.imap.domainallowed = imap: 10.1. EXCEPT", Fate.REFUSED, "imap.domainallowed", None),
)


@pytest.mark.parametrize(("line", "fate", "option", "written"), LINES, ids=[line[0] for line in LINES])
def test_a_line_has_its_outcome(line: str, fate: Fate, option: str, written: str | None) -> None:
    (found,) = plan(parse_lines(line), {})
    assert (found.fate, found.option, found.written) == (fate, option, written)
    assert found.why or fate in {Fate.CARRIED, Fate.DEFAULT}


def test_a_default_overrules_what_the_file_has() -> None:
    (found,) = plan(parse_lines("service.imap.maxsessions = 4000"), {"imap.maxsessions": 9})
    assert (found.fate, found.written) == (Fate.CARRIED, "4000")


def test_the_last_of_two_lines_counts() -> None:
    first, second = plan(parse_lines("service.imap.maxsessions = 5\nimap.maxsessions = 6\n"), {})
    assert (first.fate, first.why, second.written) == (Fate.DROPPED, "line 2 sets it again", "6")


@pytest.mark.parametrize("name", ["local.service.proxy.adminpass", "local.ugldapbindcred", "sasl.secret", "x.pin"])
def test_a_secret_is_not_shown(name: str) -> None:
    (found,) = plan(parse_lines(f"{name} = hunter2"), {})
    assert found.value == "(secret)"


@given(st.lists(st.sampled_from([line[0] for line in LINES]) | st.text(max_size=60), max_size=12))
def test_any_dump_has_outcomes_that_can_be_written(lines: list[str]) -> None:
    found = plan(parse_lines("\n".join(lines)), {})
    for name, value in changes(found).items():
        assert value is not None
        convert(TABLE[name], value)


# ---- the command ----------------------------------------------------------------------------------------------------
@pytest.fixture
def idle(tmp_path: Path) -> RunningServices:
    """A data folder where nothing runs."""
    made = RunningServices(tmp_path / "data")
    made.data.mkdir()
    for name in [name for name in made.environ if name.startswith("MAILKEEP_") and name != "MAILKEEP_DATA"]:
        del made.environ[name]
    return made


DUMP = """\
service.imap.maxsessions = 5000
service.imap.port = 143
service.imap.banner = "Harbour [x]"
service.pop.domainallowed = pop: 10.1. $ pop: .siroe.com
service.imap.allowanonymouslogin = no
local.imta.tailor = /opt/sun
"""


@pytest.mark.running
def test_a_dump_is_looked_at_and_then_written(idle: RunningServices) -> None:
    file = idle.data / "mailkeep.yaml"
    file.write_text("# ours\nimap: {maxsessions: 9}\n")
    told = idle.command("migrate", "configutil", "-", given=DUMP).stdout
    assert "3 carried over, 1 default here, 1 not needed, 1 dropped" in told
    assert "service.imap.port" not in told
    assert "nothing is changed; --write sets 3 of them" in told
    assert file.read_text() == "# ours\nimap: {maxsessions: 9}\n"
    assert "service.imap.port" in idle.command("migrate", "configutil", "-", "--all", given=DUMP).stdout
    done = json.loads(idle.command("migrate", "configutil", "-", "--write", "--json", given=DUMP).stdout)
    assert (done["written"], done["restart"]) == (True, [])
    assert [option["outcome"] for option in done["options"]].count("carried over") == 3
    assert file.read_text().startswith("# ours\n")
    assert idle.json("configutil", "-o", "service.imap.maxsessions")[0]["value"] == 5000
    assert idle.json("configutil", "-o", "service.pop.domainallowed")[0]["value"] == ["pop: 10.1.", "pop: .siroe.com"]


@pytest.mark.running
def test_a_directory_that_comes_along_is_not_used_unasked(idle: RunningServices) -> None:
    dump = "local.ugldaphost = ldap.example.com\nlocal.ugldapbasedn = o=isp\nlocal.ugldapbindcred = hunter2\n"
    for words in ((), ("--write",)):
        done = idle.command("migrate", "configutil", "-", *words, given=dump)
        assert "configutil -o directory.kind -v ldap" in done.stderr
        assert "hunter2" not in done.stdout + done.stderr
    idle.command("configutil", "-o", "directory.kind", "-v", "ldap")
    assert idle.command("migrate", "configutil", "-", given=dump).stderr == ""


@pytest.mark.running
def test_nothing_is_written_where_a_line_is_not_allowed_or_the_outcome_is_no_good(
    idle: RunningServices, tmp_path: Path
) -> None:
    dump = tmp_path / "dump.txt"
    file = idle.data / "mailkeep.yaml"
    for text, word in (
        (DUMP + "service.imap.domainnotallowed = ALL: EXCEPT\n", "lines 7"),
        ("service.imap.port = 110\n", "is one port for two listeners"),
    ):
        dump.write_text(text)
        for words in ((), ("--write",)):
            code, told = idle.refused("migrate", "configutil", str(dump), *words)
            assert (code, word in told) == (78, True)
            assert not file.exists()
    dump.write_bytes(b"\xff\xfe")
    assert idle.refused("migrate", "configutil", str(dump)) == (1, f"{dump}: not UTF-8\n")
    assert idle.refused("migrate", "configutil", str(tmp_path / "none"))[0] == 1
    assert idle.command("migrate", "configutil", "-", given="# nothing\n").stdout.strip().endswith("no options found")
