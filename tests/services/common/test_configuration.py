"""The configuration as a whole: sources, every error at once, floors, contradictions, what a reload takes up."""

from __future__ import annotations

import socket
from dataclasses import replace
from pathlib import Path

import pytest

from services.common import configuration as configurations
from services.common.configuration import ConfigurationError, apply_live, changes, check_files, check_ports, load, rows
from services.common.options import Configuration, ImapOptions, PopOptions
from services.common.reference import markdown
from services.common.values import convert

ROOT = Path(__file__).parents[3]


def errors(tmp_path: Path, text: str = "", **environ: str) -> dict[str, str]:
    """Option -> problem of a configuration that cannot be used."""
    (tmp_path / "mailkeep.yaml").write_text(text)
    with pytest.raises(ConfigurationError) as caught:
        load(environ=environ, data=str(tmp_path))
    return {problem.option: str(problem) for problem in caught.value.problems}


def good(tmp_path: Path, text: str = "", **environ: str) -> Configuration:
    (tmp_path / "mailkeep.yaml").write_text(text)
    return load(environ=environ, data=str(tmp_path))


def test_the_defaults_are_a_good_configuration(tmp_path: Path) -> None:
    configuration = load(environ={}, data=str(tmp_path / "nowhere"))
    assert replace(configuration.imap) == ImapOptions()
    assert configuration.store.path == str(tmp_path / "nowhere" / "store")
    assert configuration.tls.certfile == ""


@pytest.mark.parametrize(
    "text",
    [
        "imap: {maxsessions: 5000}",
        "imap.maxsessions: 5000",
        "service.imap.maxsessions: 5000",
        "service: {imap: {maxsessions: '5000'}}",
        "service: {imap.maxsessions: 5000}\npop:\n",
    ],
)
def test_a_name_may_be_written_in_several_ways(tmp_path: Path, text: str) -> None:
    assert good(tmp_path, text).imap.maxsessions == 5000


def test_the_environment_is_stronger_than_the_file(tmp_path: Path) -> None:
    configuration = good(
        tmp_path,
        "imap: {maxsessions: 5, enablesslport: no}\nstore: {maxmessagesize: 10M}",
        MAILKEEP_IMAP_MAXSESSIONS="7",
        MAILKEEP_LMTP_ALLOWEDCLIENTS="10.0.0.0/8, ::1",
        MAILKEEP_DATA="/elsewhere",
    )
    assert (configuration.imap.maxsessions, configuration.imap.enablesslport) == (7, False)
    assert configuration.lmtp.allowedclients == ("10.0.0.0/8", "::1")
    assert configuration.store.maxmessagesize == 10 << 20


def test_the_file_may_be_named_and_has_to_be_there_then(tmp_path: Path) -> None:
    named = tmp_path / "other.yaml"
    named.write_text("log: {level: debug}")
    assert load(environ={"MAILKEEP_CONFIG": str(named), "MAILKEEP_DATA": str(tmp_path)}).log.level == "debug"
    with pytest.raises(ConfigurationError, match="no such file"):
        load(environ={"MAILKEEP_CONFIG": str(tmp_path / "missing.yaml")})


def test_every_error_is_told_at_once(tmp_path: Path) -> None:
    found = errors(
        tmp_path,
        """
imap:
  maxsessions: many
  maxsesions: 5
pop: {idletimeout: 5, port: 143}
service.imap.maxthreads: 0
log: loud
store: {target: nowhere}
pop.banner: "hi\\r\\n+OK"
""",
        MAILKEEP_POP_MAXTHREDS="5",
        MAILKEEP_TLS_CERTFILE="cert.pem",
    )
    assert found == {
        "imap.maxsessions": "imap.maxsessions: 'many' is not allowed; allowed: 1 to 1000000 (mailkeep.yaml line 3)",
        "imap.maxsesions": "imap.maxsesions: is no option; did you mean imap.maxsessions? (mailkeep.yaml line 4)",
        "pop.idletimeout": "pop.idletimeout: '5' is not allowed; allowed: 10 to 1440 min; may be raised, never lowered "
        "below 10 min (mailkeep.yaml line 5)",
        "imap.maxthreads": "imap.maxthreads: '0' is not allowed; allowed: 1 to 100000 (mailkeep.yaml line 6)",
        "log": "log: is no option (mailkeep.yaml line 7)",
        "store.target": "store.target: 'nowhere' is not allowed; allowed: host:port or unix:PATH "
        "(mailkeep.yaml line 8)",
        "pop.banner": "pop.banner: 'hi\\r\\n+OK' is not allowed; allowed: text of at most 256 characters "
        "(mailkeep.yaml line 9)",
        "MAILKEEP_POP_MAXTHREDS": "MAILKEEP_POP_MAXTHREDS: is no option; did you mean MAILKEEP_POP_MAXTHREADS? "
        "(environment)",
        "pop.port, imap.port": "pop.port, imap.port: '143' is one port for two listeners",
        "tls.certfile": f"tls.certfile: '{tmp_path}/cert.pem' needs tls.keyfile beside it",
    }


@pytest.mark.parametrize("name", [row.name for row in rows() if row.option.floor])
def test_a_floor_may_be_raised_and_never_lowered(tmp_path: Path, name: str) -> None:
    row = next(row for row in rows() if row.name == name)
    assert row.option.low == row.default
    assert configurations.value_of(good(tmp_path, f"{name}: {row.default + 1}"), name) == row.default + 1
    assert set(errors(tmp_path, f"{name}: {row.default - 1}")) == {name}


@pytest.mark.parametrize(
    ("text", "option"),
    [
        ("imap: {maxsessions: 1}\nimap.maxsessions: 2", "imap.maxsessions"),
        ("service.imap.port: 1143\nimap: {port: 1143}", "imap.port"),
        ("imap: {port: true}", "imap.port"),
        ("imap: {port: 1.5}", "imap.port"),
        ("imap: {port: }", "imap.port"),
        ("imap: {enable: maybe}", "imap.enable"),
        ("imap: {listen: 300.0.0.1}", "imap.listen"),
        ("lmtp: {allowedclients: [10.0.0.1/8]}", "lmtp.allowedclients"),
        ("lmtp: {requireclientcert: yes}", "lmtp.requireclientcert"),
        ("imap: {proxyport: 10143}", "imap.proxyport"),
        ("pop: {proxysslport: 10995}\naccess: {trustedproxies: [10.0.0.0/8]}", "pop.proxysslport"),
        ("lmtp: {proxyport: 143}\naccess: {trustedproxies: [10.0.0.0/8]}", "imap.port, lmtp.proxyport"),
        ("directory: {kind: ldap}", "directory.kind"),
        ("directory: {kind: ldap}\nldap: {servers: [a.example], schema: plain}", "directory.kind"),
        ("ldap: {servers: ['http://a.example']}", "ldap.servers"),
        ("ldap: {servers: ['ldap://a.example/o=isp']}", "ldap.servers"),
        ("ldap: {searchfilter: 'uid=%U'}", "ldap.searchfilter"),
        ("ldap: {searchfilter: '(&(uid=%U)'}", "ldap.searchfilter"),
        ("ldap: {attributes: [shoesize=mail]}", "ldap.attributes"),
        ("ldap: {binddn: 'cn=mailkeep'}", "ldap.binddn"),
        (
            "directory: {kind: ldap}\nldap: {servers: [a.example], schema: dctree, searchfordomain: no}",
            "ldap.searchfordomain",
        ),
        ("store: {listen: 127.0.0.1}", "store.listen"),
        ("store: {target: 'store.example:7643'}", "store.target"),
        ("store: {maxmessagesize: 10X}", "store.maxmessagesize"),
        ("imap: {adminport: 9110}", "pop.adminport, imap.adminport"),
        ("pop: {numprocesses: 40}", "pop.adminport, imap.adminport"),
        ("imap: {port: 9110, listen: 0.0.0.0}", "pop.adminport, imap.port"),
        ("imap: {port: 9110, listen: 192.0.2.1}\npop: {adminlisten: '*'}", "pop.adminport, imap.port"),
        ("store: {adminlisten: 300.0.0.1}", "store.adminlisten"),
        (f"lmtp: {{socket: {'x' * 120}}}", "lmtp.socket"),
        ("[]", "configuration file"),
        ("imap: {port: 1, port: 2}", "imap.port"),
        ("imap: [", "configuration file"),
        ("imap: {port: !!python/object:os.system x}", "configuration file"),
        ("? [imap]\n: x", "configuration file"),
        ("imap: {banner: 2026-01-01}", "imap.banner"),
        ("imap: {banner: 2026-13-45}", "configuration file"),
        ("imap: {port: !!int x}", "configuration file"),
        ("lmtp: {allowedclients: [['::1']]}", "lmtp.allowedclients"),
    ],
)
def test_what_makes_no_sense_is_refused(tmp_path: Path, text: str, option: str) -> None:
    assert set(errors(tmp_path, text)) == {option}


def test_a_service_that_is_off_has_no_ports(tmp_path: Path) -> None:
    configuration = good(tmp_path, "pop: {port: 143, enable: no}\nimap: {adminport: 0}")
    assert "pop.port" not in configurations.ports(configuration)
    assert "imap.adminport" not in configurations.ports(configuration)


def test_what_kubernetes_puts_into_the_environment_is_not_ours(tmp_path: Path) -> None:
    configuration = good(
        tmp_path,
        MAILKEEP_IMAP_PORT="tcp://10.0.0.1:143",
        MAILKEEP_IMAP_SERVICE_HOST="10.0.0.1",
        MAILKEEP_IMAP_SERVICE_PORT_IMAPS="993",
        MAILKEEP_IMAP_PORT_143_TCP_ADDR="10.0.0.1",
        MAILKEEP_OTHER="x",
        MAILKEEP_WORKER="1",
    )
    assert configuration.imap.port == 143


def test_ports_in_use_are_all_named(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as other:
        ports = one.getsockname()[1], other.getsockname()[1]
        text = (
            f"pop: {{port: {ports[0]}, enablesslport: no, adminport: {ports[1]}}}\nimap: {{enable: no}}\n"
            "lmtp: {listen: 203.0.113.1, port: 2424, adminport: 0}\nstore: {adminport: 0}"
        )
        with pytest.raises(ConfigurationError) as caught:
            check_ports(good(tmp_path, text))
    found = {problem.option: problem.text for problem in caught.value.problems}
    assert found == {
        "pop.port": "is in use by another program",
        "pop.adminport": "is in use by another program",
        "lmtp.port": "is not an address of this machine",
    }


def test_certificates_that_cannot_be_used_are_named(tmp_path: Path) -> None:
    (tmp_path / "key.pem").write_text("")
    with pytest.raises(ConfigurationError, match=r"tls.certfile.*cert\.pem"):
        check_files(good(tmp_path, "tls: {certfile: cert.pem, keyfile: key.pem}"))


def test_changes_are_live_or_wait_for_a_restart(tmp_path: Path) -> None:
    old = good(tmp_path)
    new = good(tmp_path, "imap: {maxsessions: 5, port: 1143}\nlog: {level: debug}")
    found = changes(old, new)
    assert (found.live, found.restart) == (("imap.maxsessions", "log.level"), ("imap.port",))
    merged = apply_live(old, new)
    assert (merged.imap.maxsessions, merged.imap.port, merged.log.level) == (5, 143, "debug")
    assert changes(merged, new).live == ()


def test_every_option_takes_its_own_default_and_says_what_it_allows() -> None:
    for row in rows():
        given = ",".join(row.default) if isinstance(row.default, tuple) else str(row.default)
        assert convert(row, given) == row.default, row.name
        assert row.allowed
        assert row.option.doc.endswith((".", ")")), row.name


def test_names_are_the_same_everywhere() -> None:
    by_name = {row.name: row for row in rows()}
    assert by_name["imap.maxsessions"].variable == "MAILKEEP_IMAP_MAXSESSIONS"
    assert by_name["imap.maxthreads"].legacy == "service.imap.maxthreads"
    assert by_name["directory.authcachettl"].legacy == "service.authcachettl"
    assert len({row.variable for row in rows()}) == len(rows())
    assert PopOptions().idletimeout == 10


def test_the_reference_page_is_made_from_the_table() -> None:
    page = (ROOT / "docs" / "options.md").read_text()
    assert page == markdown(), "run: python -m services.common.reference > docs/options.md"


def test_filters_in_one_text_are_separated_by_dollars_or_lines(tmp_path: Path) -> None:
    configuration = good(tmp_path, MAILKEEP_POP_DOMAINALLOWED="pop: 10.1., 10.2. $ imap: ALL\nsmtp: ALL")
    assert configuration.pop.domainallowed == ("pop: 10.1., 10.2.", "imap: ALL", "smtp: ALL")
    text = "service.imap.domainnotallowed: ['ALL: 10.1., 10.2.', 'imap: ALL']"
    assert good(tmp_path, text).imap.domainnotallowed == ("ALL: 10.1., 10.2.", "imap: ALL")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("imap: 10.1.2.300", "10.1.2.300 is no address at character 7"),
        ("imap: ALL EXCEPT", "something is missing at character 17"),
        ("imap: @hosts", "netgroups are not supported at character 7"),
    ],
)
def test_a_filter_that_cannot_be_used_is_refused_with_its_place(tmp_path: Path, text: str, why: str) -> None:
    found = errors(tmp_path, f"imap: {{domainallowed: ['{text}'], domainnotallowed: ['nntp: ALL']}}")
    assert why in found["imap.domainallowed"]
    assert "a service is one of" in found["imap.domainnotallowed"]


@pytest.mark.parametrize(
    ("written", "read"),
    [("Information", "info"), ("NOTICE", "info"), ("critical", "error"), ("Debug", "debug"), ("default", "default")],
)
def test_levels_of_logging_have_messaging_server_s_words_too(written: str, read: str) -> None:
    known = load(environ={}, text=f"logfile.imap.loglevel: {written}\n")
    assert (known.imap.loglevel, known.pop.loglevel) == (read, "default")


def test_a_level_that_nobody_has_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="also information, notice, critical"):
        load(environ={}, text="log.level: nolog\n")
