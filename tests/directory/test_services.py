"""The services over a real directory: logins, mail, what the command says, an outage, a storm of wrong passwords."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
from collections import Counter
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.support.peers import Peer, lmtp, peer
from tests.support.processes import Processes, eventually, processes
from tests.support.prometheus import prometheus
from tests.support.slapd import PASSWORD, READER, Slapd

pytestmark = [pytest.mark.slapd, pytest.mark.running, pytest.mark.timeout(240)]
ROOT = Path(__file__).parents[2]
ANNA = "anna@example.com"
BERT = "bert@example.com"
CLIENTS = 1000
AT_ONCE = 200


def directory(*servers: Slapd, **more: str) -> dict[str, str]:
    """The options as variables."""
    return {
        "DIRECTORY_KIND": "ldap",
        "DIRECTORY_FAILDELAY": "0",
        "LDAP_SERVERS": ",".join(server.url for server in servers),
        "LDAP_CAFILE": str(servers[0].cafile),
        "LDAP_BINDDN": READER,
        "LDAP_BINDPASSWORD": PASSWORD,
        "LDAP_BASEDN": "o=isp",
        "POP_MAXSESSIONSPERADDRESS": "0",
        "POP_MAXSESSIONSPERUSER": "0",
        **more,
    }


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory, slapd: Slapd) -> Iterator[Processes]:
    with processes(tmp_path_factory.mktemp("directory-services"), **directory(slapd)) as made:
        yield made


async def log_in(port: int, user: str, password: str = PASSWORD) -> bytes:
    """The answer to PASS."""
    async with peer(port) as client:
        await client.reply()
        await client.reply(f"USER {user}".encode())
        answer = await client.reply(f"PASS {password}".encode())
        await client.reply(b"QUIT")
        return answer


@pytest.mark.parametrize("user", [ANNA, "ANNA@example.org", "4711@number.example", "mail-overquota@cases.example"])
async def test_a_login(running: Processes, user: str) -> None:
    assert (await log_in(running.services.pop, user)).startswith(b"+OK")
    async with peer(running.services.imap) as client:
        await client.reply()
        assert (await client.done(f"LOGIN {user} {PASSWORD}".encode()))[-1].startswith(b"a OK")


@pytest.mark.parametrize(
    ("user", "password", "imap", "pop"),
    [
        (ANNA, "wrong", b"NO [AUTHENTICATIONFAILED]", b"-ERR [AUTH]"),
        ("nobody@example.com", PASSWORD, b"NO [AUTHENTICATIONFAILED]", b"-ERR [AUTH]"),
        ("locked@cases.example", PASSWORD, b"NO [AUTHENTICATIONFAILED]", b"-ERR [AUTH]"),
        ("expired@cases.example", PASSWORD, b"NO [EXPIRED]", b"-ERR [AUTH]"),
        ("reset@cases.example", PASSWORD, b"NO [EXPIRED]", b"-ERR [AUTH]"),
        ("dora@held.example", PASSWORD, b"NO [CONTACTADMIN]", b"-ERR [AUTH]"),
        ("anna@double.example", PASSWORD, b"NO [UNAVAILABLE]", b"-ERR [SYS/TEMP]"),
    ],
)
async def test_refusals_have_their_codes(running: Processes, user: str, password: str, imap: bytes, pop: bytes) -> None:
    assert (await log_in(running.services.pop, user, password)).startswith(pop)
    async with peer(running.services.imap) as client:
        await client.reply()
        assert (await client.ask(f"LOGIN {user} {password}".encode()))[-1].startswith(b"a " + imap)


async def deliver(client: Peer, address: str) -> bytes:
    """The answer to RCPT."""
    await client.reply(b"RSET")
    await client.reply(b"MAIL FROM:<sender@example.net>")
    return await client.reply(f"RCPT TO:<{address}>".encode())


@pytest.mark.parametrize(
    ("address", "answer"),
    [
        ("smith@example.com", b"250"),
        ("anna.smith+Lists@example.org", b"250"),
        ("held@cases.example", b"450 4.2.1"),
        ("forward@cases.example", b"550 5.2.1"),
        ("mail-overquota@cases.example", b"452 4.2.2"),
        ("nobody@cases.example", b"550 5.1.1"),
        ("shared@cases.example", b"451"),
    ],
)
async def test_recipients(running: Processes, address: str, answer: bytes) -> None:
    async with lmtp(running.services.lmtp) as client:
        assert (await deliver(client, address)).startswith(answer)


def test_metrics_tell_of_the_directory(running: Processes) -> None:
    assert running.metric("pop", "mailkeep_ldap_servers") == 1
    assert running.metric("pop", "mailkeep_ldap_servers_up") == 1
    assert running.metric("pop", 'mailkeep_ldap_call_seconds_count{operation="reach",result="ok"}') >= 1


def test_its_metrics_are_well_named_and_listed(running: Processes) -> None:
    text = running.page("pop", "/metrics")[1]
    checked = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, text=True, check=False)
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, "")
    told = {
        (family.name, family.type, family.documentation)
        for family in text_string_to_metric_families(text)
        if family.name.startswith("mailkeep_ldap_")
    }
    page = (ROOT / "docs" / "metrics.md").read_text()
    rows = re.findall(r"^\| `(mailkeep_ldap_\w+)` \| (\w+) \|.*\| (.+) \|$", page, re.MULTILINE)
    assert sorted(rows) == sorted(told)


async def test_every_panel_of_its_dashboard_has_data(running: Processes, tmp_path: Path) -> None:
    board = json.loads((ROOT / "deploy" / "monitoring" / "dashboards" / "ldap.json").read_text())
    panels = [panel for panel in board["panels"] if panel["type"] != "row"]
    wanted = {target["expr"] for panel in panels for target in panel["targets"]}
    names = count()
    with prometheus(tmp_path, {"pop": running.services.admin["pop"]}, {"mailservice": "main"}) as watcher:
        async with asyncio.timeout(90):
            while wanted:
                # A name of its own each time, which no cache knows.
                await log_in(running.services.pop, f"nobody{next(names)}@example.com")
                wanted -= {query for query in wanted if await asyncio.to_thread(watcher.has_data, query)}


def command(running: Processes, *words: str) -> subprocess.CompletedProcess[str]:
    """`mailkeep` as an administrator types it."""
    return running.services.command(*words, check=False)


def test_the_command_knows_the_accounts_and_leaves_them_alone(running: Processes) -> None:
    shown = running.services.json("account", "show", "smith@example.com")
    assert (shown["account"], shown["status"]) == (ANNA, "active")
    listed = {row["account"]: row["status"] for row in running.services.json("account", "list")}
    assert listed["dora@held.example"] == "hold"
    for words in (("passwd", ANNA), ("disable", ANNA), ("add", "new@example.com")):
        done = command(running, "account", *words)
        assert done.returncode != 0
        assert "the accounts are in the LDAP directory" in done.stderr
    done = command(running, "account", "show", "nobody@example.com")
    assert (done.returncode, "no such account" in done.stderr) == (1, True)


def test_mail_comes_from_another_server_for_accounts_of_the_directory(running: Processes) -> None:
    """By an address of the account; at the source he is somebody else."""
    done = running.services.command(
        "migrate", "imap", "smith@example.com", "--host", "127.0.0.1", "--port", str(running.services.imap),
        "--tls", "none", "--user", BERT, "--password-stdin", given=f"{PASSWORD}\n",
    )  # fmt: skip
    assert "copied" in done.stdout
    assert (running.services.data / "migrate").is_dir()


@pytest.mark.faults
async def test_killing_servers_in_mid_load_refuses_nobody(
    tmp_path_factory: pytest.TempPathFactory, pair: tuple[Slapd, Slapd]
) -> None:
    one, other = pair
    options = directory(one, other, DIRECTORY_AUTHCACHETTL="0")
    with processes(tmp_path_factory.mktemp("mid-load"), "store", "pop", **options) as made:
        answers: Counter[bytes] = Counter()
        stop = asyncio.Event()

        async def client(user: str) -> None:
            while not stop.is_set():
                answers[await log_in(made.services.pop, user)] += 1

        async def more_logins() -> None:
            goal = answers.total() + 50
            await asyncio.to_thread(eventually, lambda: answers.total() >= goal)

        users = (ANNA, BERT, "admin@example.com", "4711@number.example")
        clients = [asyncio.create_task(client(user)) for user in users]
        await more_logins()
        one.kill()
        await more_logins()
        await asyncio.to_thread(one.start)
        await asyncio.to_thread(eventually, lambda: made.metric("pop", "mailkeep_ldap_servers_up") == 2)
        other.kill()
        await more_logins()
        stop.set()
        await asyncio.gather(*clients)
        assert all(answer.startswith(b"+OK") for answer in answers), answers


@pytest.mark.faults
async def test_a_storm_of_wrong_passwords_stands_in_nobodys_way(running: Processes, slapd: Slapd) -> None:
    before = await asyncio.to_thread(slapd.operations)
    room = asyncio.Semaphore(AT_ONCE)

    async def guess(number: int) -> bytes:
        async with room:
            return await log_in(running.services.pop, f"guessed{number % 50}@example.com", f"guess {number % 10}")

    async def good(user: str) -> bytes:
        return await log_in(running.services.pop, user)

    users = [ANNA, BERT, "admin@example.com", "plain@cases.example", "quota@cases.example"]
    guesses = [asyncio.create_task(guess(number)) for number in range(CLIENTS)]
    for user in users * 4:
        assert (await good(user)).startswith(b"+OK")
    answers = Counter(answer.split(b" ")[1] for answer in await asyncio.gather(*guesses))
    after = await asyncio.to_thread(slapd.operations)
    assert answers == {b"[AUTH]": CLIENTS}
    assert after["Search"] - before["Search"] < CLIENTS / 4
    assert after["Bind"] - before["Bind"] < CLIENTS / 4
