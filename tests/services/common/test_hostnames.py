"""Host names from a real name server: spoofed ones, outages, and clients that wait for them before their greeting."""

from __future__ import annotations

import asyncio
import logging

import pytest

from services.common.access.patterns import HostName
from services.common.accessoptions import AccessOptions
from services.common.hostnames import HostNames
from services.common.live import Live
from tests.support.lineserver import line_server
from tests.support.nameserver import NameServer, name_server
from tests.support.recorder import Recorder

HERE = "127.0.0.1"
REVERSE = ("1.0.0.127.in-addr.arpa", "PTR")
GOOD = {REVERSE: "Mail.example.org.", ("mail.example.org", "A"): HERE}
SIX = "2001:db8::7"
SIX_REVERSE = ("7.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa", "PTR")


def names_of(server: NameServer, seconds: float = 20) -> HostNames:
    return HostNames([f"127.0.0.1:{server.port}"], seconds)


async def test_a_name_that_leads_back_is_known_and_remembered() -> None:
    async with name_server(GOOD) as server:
        names = names_of(server)
        found = await asyncio.gather(*[names.find(HERE) for _ in range(5)])
        assert set(found) == {HostName("mail.example.org")}
        assert names.known(HERE) == HostName("mail.example.org")
        assert len(server.asked) == 2


async def test_ipv6_has_names_too() -> None:
    async with name_server({SIX_REVERSE: "six.example.org.", ("six.example.org", "AAAA"): SIX}) as server:
        assert await names_of(server).find(SIX) == HostName("six.example.org")


async def test_no_name() -> None:
    async with name_server({}) as server:
        assert await names_of(server).find(HERE) == HostName()


async def test_a_name_that_denies_its_address_is_spoofed() -> None:
    async with name_server({**GOOD, ("mail.example.org", "A"): "192.0.2.1"}) as server:
        assert await names_of(server).find(HERE) == HostName("mail.example.org", spoofed=True)


async def test_a_name_that_does_not_exist_is_spoofed() -> None:
    async with name_server({REVERSE: "mail.example.org."}) as server:
        assert await names_of(server).find(HERE) == HostName("mail.example.org", spoofed=True)


async def test_an_outage_makes_the_name_unknown() -> None:
    async with name_server(GOOD) as server:
        server.silent = True
        assert await names_of(server, 0.2).find(HERE) == HostName()


async def test_a_client_is_judged_by_its_name() -> None:
    async with name_server(GOOD) as server:
        async with line_server(names=names_of(server), domainnotallowed=("ALL: .example.org",)) as lines:
            client = await lines.connect()
            assert await client.line() == "away filter"
        async with line_server(names=names_of(server), domainallowed=("ALL: mail.example.org",)) as lines:
            client = await lines.greeted()
            assert await client.ask("hello") == "echo hello"


async def test_what_comes_before_the_greeting_is_answered_after_it() -> None:
    async with name_server(GOOD) as server, line_server(names=names_of(server), domainallowed=("ALL: KNOWN",)) as lines:
        client = await lines.connect()
        client.writer.write(b"early\n")
        assert await client.line() == "hello"
        assert await client.line() == "echo early"


async def test_an_outage_keeps_nobody_waiting_who_needs_no_name() -> None:
    async with name_server(GOOD) as server:
        server.silent = True
        filters = ("ALL@127.0.0.2: ALL", "ALL: mail.example.org")
        async with line_server(names=names_of(server, 3600), domainallowed=filters) as lines:
            waits = await lines.connect()
            await server.question.wait()
            lines.set(domainallowed=("ALL: 127.",))
            await lines.greeted()
            assert len(lines.server) == 1
            await waits.close()


async def test_in_an_outage_everybody_is_unknown() -> None:
    async with name_server(GOOD) as server:
        server.silent = True
        async with line_server(names=names_of(server, 0.2), domainnotallowed=("ALL: UNKNOWN",)) as lines:
            client = await lines.connect()
            assert await client.line() == "away filter"


async def test_the_end_of_a_drain_cuts_who_waits_for_a_name() -> None:
    async with name_server(GOOD) as server:
        server.silent = True
        async with line_server(names=names_of(server, 3600), domainallowed=("ALL: KNOWN",)) as lines:
            client = await lines.connect()
            await server.question.wait()
            await lines.server.drain(0.2)
            assert await client.line() == ""


class Broken(HostNames):
    """A look-up with a fault of its own."""

    async def find(self, address: str) -> HostName:
        raise RuntimeError(address)


async def test_a_fault_of_the_look_up_leaves_nobody_waiting() -> None:
    async with line_server(names=Broken(), domainallowed=("ALL: KNOWN",)) as lines:
        client = await lines.connect()
        assert await client.line() == "away filter"


async def test_look_ups_are_counted_by_their_result() -> None:
    recorder = Recorder()
    async with name_server(dict(GOOD)) as server:
        names = HostNames([f"127.0.0.1:{server.port}"], 20, recorder)
        await names.find(HERE)
        await names.find(HERE)
        await names.find("192.0.2.1")
        server.records[("mail.example.org", "A")] = "192.0.2.1"
        server.records[("2.0.0.127.in-addr.arpa", "PTR")] = "mail.example.org."
        await names.find("127.0.0.2")
    assert recorder.lookups == ["named", "unnamed", "spoofed"]
    assert recorder.caches == [("dns", False), ("dns", True), ("dns", False), ("dns", False)]


async def test_names_are_looked_up_for_the_log_where_that_is_wanted(caplog: pytest.LogCaptureFixture) -> None:
    """Nobody waits for them: the greeting is there although DNS says nothing."""
    caplog.set_level(logging.INFO, "mailkeep")
    access = Live(AccessOptions(dnsresolveclient=True))
    async with name_server(GOOD) as server:
        names = names_of(server)
        server.silent = True
        async with line_server(names=names, access=access) as lines:
            await lines.greeted()
            await server.question.wait()
        server.silent = False
        names = names_of(server)
        async with line_server(names=names, access=access) as lines:
            await lines.greeted()
            await names.find(HERE)
            lines.shared.connections[-1].admit("anna@example.com")
            access.replace(AccessOptions())
            lines.shared.connections[-1].admit("anna@example.com")
    lines_of = [record.__dict__["fields"] for record in caplog.records if record.message == "logged in"]
    assert [fields.get("host") for fields in lines_of] == ["mail.example.org", None]
