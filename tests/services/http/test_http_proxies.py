"""Requests behind proxies: whose they are, who says so, and that nobody else can."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from services.common.accessoptions import AccessOptions
from services.common.options import HttpOptions
from tests.support.http import USER, Browser, HttpFixture, http_service, people
from tests.support.store import StoreFixture

CLIENT = "192.0.2.7"
TRUSTED = AccessOptions(trustedproxies=("127.0.0.0/8", "10.0.0.0/8"))
OPTIONS = HttpOptions(plaintextmincipher=0)


@pytest.fixture
async def store() -> AsyncIterator[StoreFixture]:
    """A store in memory."""
    async with StoreFixture(role="admin") as fixture:
        yield fixture


def by(address: str, scheme: str = "") -> dict[str, str]:
    return {"X-Forwarded-For": address, **({"X-Forwarded-Proto": scheme} if scheme else {})}


def addresses(http: HttpFixture) -> set[str]:
    return {info.address for info in http.server.registry.snapshot()}


async def test_the_client_of_a_proxy_is_the_client(store: StoreFixture) -> None:
    async with http_service(store, http=OPTIONS, access=TRUSTED) as http, http.browser() as browser:
        assert (await browser.log_in(headers=by(f"6.6.6.6, {CLIENT}, 10.0.0.9"))).status == 303
        assert f"<td>{CLIENT}</td>" in (await browser.get("/", headers=by(CLIENT))).text
        assert addresses(http) == {CLIENT}


async def test_one_connection_carries_requests_of_many(store: StoreFixture) -> None:
    options = replace(
        OPTIONS, domainnotallowed=("http: 192.0.2.9",), domainallowed=("http: 192.0.2.0/28 EXCEPT 192.0.2.9",)
    )
    async with http_service(store, http=options, access=TRUSTED) as http, http.browser() as browser:
        for address, status in (
            (CLIENT, 200), ("192.0.2.9", 403), ("192.0.2.8", 200), ("192.0.2.9", 403), (CLIENT, 200),
        ):  # fmt: skip
            assert (await browser.get("/", headers=by(address))).status == status, address
        assert len(http.server) == 1, "and it was one connection all the time"


async def test_a_proxy_that_names_nobody_is_judged_itself(store: StoreFixture) -> None:
    barred = replace(OPTIONS, domainnotallowed=("ALL: 127.",))
    async with http_service(store, http=barred, access=TRUSTED) as http, http.browser() as browser:
        for headers in ({}, by("unknown"), by("nonsense")):
            assert (await browser.get("/", headers=headers)).status == 403
            assert (await browser.get("/", headers=by(CLIENT))).status == 200


async def test_nobody_else_is_believed(store: StoreFixture) -> None:
    options = replace(OPTIONS, domainnotallowed=("http: 192.0.2.7",), ipsecurity=True)
    async with http_service(store, http=options) as http, http.browser() as browser:
        assert (await browser.log_in(headers=by(CLIENT, "https"))).status == 303
        assert "<td>127.0.0.1</td>" in (await browser.get("/")).text
        assert addresses(http) == {"127.0.0.1"}


async def test_tls_that_ends_at_the_proxy(store: StoreFixture) -> None:
    """Passwords may come, the cookie is for HTTPS alone, and rules that ask for TLS are satisfied."""
    people_of = people()
    people_of.access = {USER: (f"+https:{CLIENT}",)}
    options = HttpOptions(plaintextmincipher=128)
    async with (
        http_service(store, http=options, access=TRUSTED, directory=people_of) as http,
        http.browser() as browser,
    ):
        assert (await browser.log_in(headers=by(CLIENT, "http"))).status == 403
        assert (await browser.log_in(headers=by("192.0.2.8", "https"))).status == 403
        answer = await browser.log_in(headers=by(CLIENT, "https"))
        assert answer.status == 303
        assert "Secure" in answer.headers["Set-Cookie"]
        assert USER in (await browser.get("/", headers=by(CLIENT, "https"))).text


async def test_only_the_fields_that_the_option_names_are_read(store: StoreFixture) -> None:
    """A proxy that sets one of them passes the other on as the client sent it."""
    both = {**by("6.6.6.6"), "Forwarded": f"for=7.7.7.7, for={CLIENT};proto=https"}
    async with http_service(store, http=OPTIONS, access=TRUSTED) as http, http.browser() as browser:
        await browser.get("/", headers=both)
        assert addresses(http) == {"6.6.6.6"}
        value = http.configuration.value
        http.configuration.replace(replace(value, http=replace(OPTIONS, forwardedfields="forwarded")))
        await browser.get("/", headers=both)
        assert addresses(http) == {CLIENT}
        assert (await browser.get("/", headers={"Forwarded": 'for="'})).status == 400


async def test_limits_count_the_clients(store: StoreFixture) -> None:
    options = replace(OPTIONS, connlimits=("192.0.2.0/24:1",))
    async with (
        http_service(store, http=options, access=TRUSTED) as http,
        http.browser() as one,
        http.browser() as other,
    ):
        assert (await one.get("/", headers=by(CLIENT))).status == 200
        assert (await other.get("/", headers=by(CLIENT))).status == 503
        assert (await other.get("/", headers=by("192.0.2.8"))).status == 200
        assert (await one.get("/", headers=by(CLIENT))).status == 200


async def test_a_proxy_s_own_connections_have_no_limit(store: StoreFixture) -> None:
    options = replace(OPTIONS, maxsessionsperaddress=1)
    async with (
        http_service(store, http=options, access=TRUSTED) as http,
        http.browser() as one,
        http.browser() as other,
    ):
        assert [(await each.get("/")).status for each in (one, other, one)] == [200, 200, 200]


async def test_a_login_is_bound_to_the_client_s_address(store: StoreFixture) -> None:
    options = replace(OPTIONS, ipsecurity=True)
    async with http_service(store, http=options, access=TRUSTED) as http, http.browser() as browser:
        assert (await browser.log_in(headers=by(CLIENT))).status == 303
        assert USER in (await browser.get("/", headers=by(CLIENT))).text
        stolen = Browser(browser.session, browser.base, dict(browser.cookies))
        assert USER not in (await stolen.get("/", headers=by("192.0.2.8"))).text
