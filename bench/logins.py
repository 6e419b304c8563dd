"""`python -m bench.logins`: logins by POP3 of many LDAP users, beside Dovecot with the same directory server.

Both ask one slapd (in clear, on loopback): Mailkeep by `directory.kind: ldap`, Dovecot by `passdb ldap` with
`auth_bind`. A login is a new connection, USER, PASS, QUIT. Each round logs every user in once, in a new order; the
servers' rounds alternate. Where the machine is at work otherwise, compare CPU: the rate is then the scheduler's.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import sys
import tempfile
import time
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha1
from pathlib import Path
from statistics import median

import uvloop
from rich.console import Console
from rich.table import Table

from bench.links import PopLink
from bench.servers import Dovecot, Mailkeep, Server, tree_cpu
from tests.support.authority import Authority
from tests.support.ldaptree import entry, organisation, person
from tests.support.slapd import PASSWORD, READER, Slapd

DOMAIN = "bench.example"
console = Console(width=None if sys.stdout.isatty() else 160)


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="bench.logins", description=__doc__)
    parser.add_argument("--users", type=int, default=2000)
    parser.add_argument("--concurrency", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=3)
    return parser.parse_args()


def tree(users: int) -> list[str]:
    """A domain with so many people, whose passwords are stored as salted hashes."""
    digest = sha1(PASSWORD.encode() + b"salt").digest() + b"salt"
    stored = "{SSHA}" + b64encode(digest).decode()
    base = f"o={DOMAIN},o=isp"
    people = (
        person(f"user{number}", base, userPassword=stored, mail=f"user{number}@{DOMAIN}") for number in range(users)
    )
    return [organisation(DOMAIN), entry(f"ou=groups,{base}", ["organizationalUnit"], ou="groups"), *people]


class LdapMailkeep(Mailkeep):
    """Mailkeep over the directory; `cached` says whether logins are remembered."""

    imap, pop, lmtp = 4143, 4110, 4524
    metrics = (4943, 4910, 4924)

    def __init__(self, data: Path, slapd: Slapd, *, cached: bool) -> None:
        super().__init__(data)
        self._environ |= {
            "MAILKEEP_STORE_ADMINPORT": "4964",
            # All clients of the benchmark come from one address, of which only a few logins are checked at once else.
            "MAILKEEP_ACCESS_BGEXCLUDED": "127.0.0.0/8",
            "MAILKEEP_DIRECTORY_KIND": "ldap",
            "MAILKEEP_DIRECTORY_AUTHCACHETTL": "900" if cached else "0",
            "MAILKEEP_LDAP_SERVERS": slapd.url,
            "MAILKEEP_LDAP_STARTTLS": "no",
            "MAILKEEP_LDAP_BASEDN": "o=isp",
            "MAILKEEP_LDAP_BINDDN": READER,
            "MAILKEEP_LDAP_BINDPASSWORD": PASSWORD,
        }


class LdapDovecot(Dovecot):
    """Dovecot over the directory; `cached` switches its authentication cache on."""

    imap, pop, lmtp = 5143, 5110, 5524

    def __init__(self, data: Path, slapd: Slapd, *, cached: bool) -> None:
        super().__init__(data)
        data.mkdir(parents=True, exist_ok=True)
        self._ldap = data / "ldap.conf"
        self._cache = "auth_cache_size = 64 M\nauth_cache_ttl = 900 s\n" if cached else "auth_cache_size = 0\n"
        self._ldap.write_text(
            f"uris = {slapd.url}\ndn = {READER}\ndnpass = {PASSWORD}\nauth_bind = yes\nldap_version = 3\n"
            f"base = o={DOMAIN},o=isp\nscope = subtree\n"
            "pass_attrs = uid=user\npass_filter = (&(objectClass=inetOrgPerson)(uid=%n))\n"
        )

    def configuration(self, text: str) -> str:
        """The shared configuration, with the directory in place of one password for all."""
        static = "passdb {\n  driver = static\n  args = password=@PASSWORD@\n}\n"
        assert static in text
        return text.replace(static, f"passdb {{\n  driver = ldap\n  args = {self._ldap}\n}}\n{self._cache}")


@dataclass
class Round:
    """What one round of one server came to; CPU in microseconds a login, directory operations a login."""

    rate: float
    cpu: float
    slapd_cpu: float
    searches: float
    binds: float


async def log_in(server: Server, users: Iterator[str]) -> None:
    """One client after the other until nobody is left."""
    for user in users:
        link = await PopLink.open(server.pop)
        await link.command(f"USER {user}".encode())
        await link.command(f"PASS {PASSWORD}".encode())
        await link.command(b"QUIT")
        link.close()


async def run_round(server: Server, slapd: Slapd, options: argparse.Namespace) -> Round:
    """Everybody once."""
    names = [f"user{number}@{DOMAIN}" for number in range(options.users)]
    random.shuffle(names)
    before = await asyncio.to_thread(slapd.operations)
    cpu, directory, begin = server.cpu(), tree_cpu(slapd.pid), time.perf_counter()
    users = iter(names)
    await asyncio.gather(*(log_in(server, users) for _ in range(options.concurrency)))
    elapsed = time.perf_counter() - begin
    cpu, directory = server.cpu() - cpu, tree_cpu(slapd.pid) - directory
    after = await asyncio.to_thread(slapd.operations)
    count = options.users
    return Round(
        rate=count / elapsed,
        cpu=cpu / count * 1e6,
        slapd_cpu=directory / count * 1e6,
        # Asking for the figures is one of each itself.
        searches=(after["Search"] - before["Search"] - 1) / count,
        binds=(after["Bind"] - before["Bind"] - 1) / count,
    )


async def compare(folder: Path, slapd: Slapd, options: argparse.Namespace, *, cached: bool) -> dict[str, Round]:
    """The middle round of each server, measured in turn."""
    word = "cached" if cached else "uncached"
    servers: list[Server] = [
        LdapMailkeep(folder / f"mailkeep-{word}", slapd, cached=cached),
        LdapDovecot(folder / f"dovecot-{word}", slapd, cached=cached),
    ]
    rounds: dict[str, list[Round]] = {server.name: [] for server in servers}
    try:
        for server in servers:
            await server.start([], PASSWORD)
            await run_round(server, slapd, options)  # accounts and caches are made
        for _ in range(options.rounds):
            for server in servers:
                rounds[server.name].append(await run_round(server, slapd, options))
    finally:
        for server in servers:
            await server.stop()
    return {name: _middle(found) for name, found in rounds.items()}


def _middle(rounds: list[Round]) -> Round:
    names = ("rate", "cpu", "slapd_cpu", "searches", "binds")
    return Round(*(median(getattr(each, name) for each in rounds) for name in names))


def show(figures: dict[str, dict[str, Round]]) -> None:
    """The table."""
    table = Table("logins", "server", "/s", "ratio", "CPU us", "by CPU", "slapd CPU us", "searches", "binds")
    for word, found in figures.items():
        for name, each in found.items():
            ratio = each.rate / found["dovecot"].rate
            by_cpu = found["dovecot"].cpu / each.cpu
            counts = (
                f"{each.cpu:.0f}",
                f"{by_cpu:.2f}",
                f"{each.slapd_cpu:.0f}",
                f"{each.searches:.2f}",
                f"{each.binds:.2f}",
            )
            table.add_row(word, name, f"{each.rate:,.0f}", f"{ratio:.2f}", *counts)
    console.print(table)


async def main(options: argparse.Namespace) -> None:
    """Start slapd, measure, print."""
    with tempfile.TemporaryDirectory(prefix="bench-logins-") as name:
        folder = Path(name)
        os.chmod(name, 0o755)  # Dovecot's mail user looks through it
        slapd = Slapd(folder / "slapd", Authority(folder), tree(options.users))
        slapd.start()
        try:
            show(
                {
                    "cached" if cached else "uncached": await compare(folder, slapd, options, cached=cached)
                    for cached in (False, True)
                }
            )
        finally:
            slapd.stop()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main(arguments()))
