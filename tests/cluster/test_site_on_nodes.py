"""A site with real pods on two nodes, real clients, and sessions that go on while it is changed under them."""

from __future__ import annotations

import contextlib
import imaplib
import smtplib
import threading
from collections.abc import Iterator

import pytest

from tests.support.imapsessions import imap_sessions
from tests.support.processes import eventually
from tests.support.site import NAME, OPERATORS, PASSWORD, READY_SECONDS, USER, RealSite, helm, install_operator

pytestmark = [pytest.mark.cluster, pytest.mark.nodes, pytest.mark.timeout(600, func_only=True)]


@pytest.fixture(autouse=True)
def settled(site: RealSite) -> Iterator[None]:
    """The site is ready before a test and after it, and the operator has nothing to complain of."""
    site.ready()
    yield
    site.ready()
    assert site.operator_errors() == []


def test_mail_is_delivered_and_read(site: RealSite) -> None:
    assert "first" in site.subjects()
    printed = helm(site.server, "test", NAME, "-n", site.namespace, "--logs", "--timeout=2m")
    assert "read by pop" in printed
    assert "read by imap" in printed


def test_live_options_reach_the_pods_and_restart_none(site: RealSite) -> None:
    before = site.pods()
    with imap_sessions(site.address("imap"), USER, PASSWORD) as sessions:
        site.upgrade(imap={"banner": "Good morning"})
        eventually(lambda: "Good morning" in site.banner(), 120, 1)
        site.users(USER, "bert@example.com")
        eventually(lambda: can_log_in(site, "bert@example.com"), 120, 1)
    assert sessions.ends == 0
    assert site.pods() == before


def can_log_in(site: RealSite, user: str) -> bool:
    with imaplib.IMAP4(site.address("imap"), timeout=30) as client, contextlib.suppress(imaplib.IMAP4.error):
        client.login(user, PASSWORD)
        return True
    return False


def test_a_rolling_update_fails_no_command(site: RealSite) -> None:
    before = site.pods()
    with imap_sessions(site.address("imap"), USER, PASSWORD) as sessions:
        site.upgrade(imap={"literal": "LITERAL-"})
        eventually(lambda: not set(site.pods("imap")) & set(before), READY_SECONDS, 1)
        site.ready()
        # Every session was said goodbye to.
        eventually(lambda: sessions.ends >= 4, 60, 0.5)
    after = site.pods()
    assert {name for name in before if "imap" not in name} == {name for name in after if "imap" not in name}


def test_a_planned_replacement_of_the_store_is_seen_by_no_client(site: RealSite) -> None:
    old = site.pods("store")
    with imap_sessions(site.address("imap"), USER, PASSWORD) as sessions:
        site.upgrade(store={"podAnnotations": {"tests": "replaced"}})
        eventually(lambda: site.pods("store").get("mail-store-0", old["mail-store-0"]) != old["mail-store-0"], 120, 1)
        site.ready()
        answered = sessions.answers
        eventually(lambda: sessions.answers > answered + 20, 60, 0.5)
    assert sessions.ends == 0


def test_a_killed_store_loses_nothing_that_was_acknowledged(site: RealSite) -> None:
    delivered: set[str] = set()
    stop = threading.Event()

    def deliver() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            with contextlib.suppress(OSError, smtplib.SMTPException):
                site.deliver(f"under load {number}")
                delivered.add(f"under load {number}")

    thread = threading.Thread(target=deliver)
    thread.start()
    for _ in range(2):
        wanted = len(delivered) + 20
        eventually(lambda: len(delivered) > wanted, 120, 0.2)  # noqa: B023 - used at once
        uid = site.pods("store")["mail-store-0"][0]
        site.server.kubectl("delete", "pod", "mail-store-0", "-n", site.namespace, "--grace-period=0", "--force")
        eventually(lambda: site.pods("store").get("mail-store-0", (uid,))[0] != uid, 120, 1)  # noqa: B023
    site.ready()
    stop.set()
    thread.join(120)
    assert delivered <= site.subjects()


def test_a_bad_image_is_told_and_healed_with_the_spec(site: RealSite) -> None:
    before = set(site.pods("imap"))
    good = site.spec["image"]
    site.upgrade(image="localhost/none:1")
    eventually(lambda: "mail-store-0: ErrImageNeverPull" in message(site, "StoreReady"), 120, 1)
    assert before <= set(site.pods("imap")), "pods that serve stay until new ones are ready"
    site.upgrade(image=good)
    site.ready()
    site.deliver("healed")
    assert "healed" in site.subjects()


def message(site: RealSite, condition: str) -> str:
    found = {each["type"]: each for each in site.get("msvc", NAME)["status"]["conditions"]}
    return str(found[condition]["message"])


def test_a_drained_node_moves_its_sessions(site: RealSite) -> None:
    with imap_sessions(site.address("imap"), USER, PASSWORD):
        words = (
            "--ignore-daemonsets",
            "--delete-emptydir-data",
            "--timeout=150s",
            f"--pod-selector=app.kubernetes.io/instance={NAME}",
        )
        site.server.kubectl("drain", "n2", *words, seconds=180)
        site.ready()
    site.server.kubectl("uncordon", "n2")


def test_capacity_decides_how_many_pods_there_are(site: RealSite) -> None:
    before = site.pods("imap")
    site.spec["imap"].pop("replicas")
    site.upgrade(imap={"maxsessions": 100, "capacity": {"sessions": 150}})
    eventually(lambda: len(site.pods("imap")) == 3, 120, 1)
    assert set(before) < set(site.pods("imap")), "those that were there stay as they are"
    site.ready()
    assert site.get("msvc", NAME)["status"]["services"]["imap"]["sessionsLimit"] == 300
    site.spec["imap"].pop("capacity")
    site.upgrade(imap={"replicas": 2, "maxsessions": 4000})
    eventually(lambda: len(site.pods("imap")) == 2, 120, 1)


def test_an_upgrade_of_the_operator_restarts_nothing(site: RealSite) -> None:
    before = site.pods()
    with imap_sessions(site.address("imap"), USER, PASSWORD) as sessions:
        install_operator(site.server, podAnnotations={"tests": "upgraded"}, replicas=2)
        site.upgrade(imap={"banner": "By the new operator"})
        eventually(lambda: "By the new operator" in site.banner(), 120, 1)
    assert sessions.ends == 0
    assert site.pods() == before


def test_renewed_certificates_end_no_session(site: RealSite) -> None:
    before = site.pods()
    with imap_sessions(site.address("imap"), USER, PASSWORD) as sessions:
        for role in ("store", "imap"):
            old = site.get("secret", f"{NAME}-{role}-identity")["data"]
            site.server.kubectl("delete", "secret", f"{NAME}-{role}-identity", "-n", site.namespace)
            site.server.kubectl("annotate", "msvc", NAME, f"tests/{role}=renew", "-n", site.namespace)
            eventually(lambda: renewed(site, f"{NAME}-{role}-identity", old), 60, 0.5)  # noqa: B023 - used at once
        answered = sessions.answers
        eventually(lambda: sessions.answers > answered + 100, 60, 0.5)
    assert sessions.ends == 0
    assert site.pods() == before


def renewed(site: RealSite, name: str, old: object) -> bool:
    found = [
        each for each in site.server.get("secret", "", site.namespace)["items"] if each["metadata"]["name"] == name
    ]
    return bool(found) and found[0]["data"] != old


def test_a_backup_is_restored_into_another_namespace(site: RealSite) -> None:
    site.backup_volume()
    site.upgrade(store={"backup": {"claimName": "copies"}})
    site.ready()
    words = ("create", "job", "now", "--from", f"cronjob/{NAME}-backup", "-n", site.namespace)
    site.server.kubectl(*words)
    site.server.kubectl(
        "wait", "--for=condition=Complete", "job/now", "-n", site.namespace, "--timeout=110s", seconds=120
    )
    expected = site.subjects()
    other = RealSite(site.server, "again")
    other.spec["store"]["restoreFrom"] = {"claimName": "copies"}
    other.install(copies_of=site)
    assert other.subjects() == expected
    helm(site.server, "uninstall", NAME, "-n", other.namespace, "--wait")


def test_mail_outlives_uninstalling_and_comes_back(site: RealSite) -> None:
    before = site.subjects()
    helm(site.server, "uninstall", NAME, "-n", site.namespace, "--wait")
    eventually(lambda: not site.pods(), 120, 1)
    site.upgrade()
    site.ready()
    assert site.subjects() == before


def test_the_operator_may_go_and_mail_goes_on(site: RealSite) -> None:
    helm(site.server, "uninstall", OPERATORS, "-n", OPERATORS, "--wait")
    site.deliver("nobody looks after it")
    assert "nobody looks after it" in site.subjects()
    install_operator(site.server)
