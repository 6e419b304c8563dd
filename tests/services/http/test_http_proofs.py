"""Requests by bearer token and by client certificate: who they are from, and what is told to the others."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from services.common.options import HttpOptions
from services.common.sasloptions import SaslOptions
from tests.support.certificates import Certificate, make_certificate
from tests.support.http import CLOSED, USER, Browser, HttpFixture, http_service
from tests.support.opensslca import OpensslCa
from tests.support.store import StoreFixture
from tests.support.tokenissuer import AUDIENCE, ISSUER, Issuer


@pytest.fixture(scope="module")
def issuer() -> Issuer:
    return Issuer()


@pytest.fixture(scope="module")
def ca(tmp_path_factory: pytest.TempPathFactory) -> OpensslCa:
    return OpensslCa(tmp_path_factory.mktemp("ca") / "staff")


@pytest.fixture
def server(tmp_path: Path) -> Certificate:
    return make_certificate(tmp_path)


@pytest.fixture
async def http(tmp_path: Path, issuer: Issuer, ca: OpensslCa, server: Certificate) -> AsyncIterator[HttpFixture]:
    """A service that takes tokens and certificates, and passwords under TLS alone."""
    (tmp_path / "keys.json").write_bytes(issuer.key_set())
    sasl = SaslOptions(
        oauthkeys=str(tmp_path / "keys.json"), oauthissuer=ISSUER, oauthaudience=AUDIENCE, localplaintext=False
    )
    options = HttpOptions(clientcertificates=True)
    async with (
        StoreFixture(role="admin") as store,
        http_service(store, http=options, certificate=server, sasl=sasl, client_tls={"clientca": str(ca.cafile)}) as it,
    ):
        yield it


async def known(browser: Browser, authorization: str) -> tuple[int, str]:
    """What a request is answered that only who is known may make: 403 for want of a form's token, else 401."""
    reply = await browser.send("/logout", headers={"Authorization": authorization, "Sec-Fetch-Site": "same-origin"})
    return reply.status, reply.headers.get("WWW-Authenticate", "")


@pytest.mark.rfc("6750", "2.1")
async def test_a_token_says_who_a_request_is_from(http: HttpFixture, server: Certificate, issuer: Issuer) -> None:
    async with http.browser(server) as browser:
        for _ in range(2):
            assert await known(browser, f"Bearer {issuer.token(USER)}") == (403, "")
        for wrong in (issuer.token(USER, aud="another"), issuer.token("nobody@example.com"), issuer.token(CLOSED), "x"):
            status, ways = await known(browser, f"Bearer {wrong}")
            assert (status, ways.endswith(', Bearer realm="Mailkeep"')) == (401, True)
        for strange in ("Bearer", "Bearer a b", "Digest x", "Basic !", "Bearer \u00e9"):
            assert (await known(browser, strange))[0] == 401


async def test_a_token_is_not_taken_in_clear(http: HttpFixture, issuer: Issuer) -> None:
    async with http.browser() as browser:
        assert (await known(browser, f"Bearer {issuer.token(USER)}"))[0] == 403
        reply = await browser.get("/", headers={"Authorization": f"Bearer {issuer.token(USER)}"})
        assert reply.status == 308


async def test_a_certificate_begins_a_login(http: HttpFixture, server: Certificate, ca: OpensslCa) -> None:
    async with http.browser(server, ca.issue("/CN=Anna", mails=(USER,))) as browser:
        page = (await browser.get("/")).text
        assert f"Logged in as {USER}" in page
        assert browser.cookies
        assert (await browser.get("/")).text.count("this one") == page.count("this one") == 1
        token = re.findall(r'name="token" value="([0-9a-f]+)"', page)[0]
        assert (await browser.send("/logout", token=token)).status == 303


async def test_no_other_site_uses_a_certificate(http: HttpFixture, server: Certificate, ca: OpensslCa) -> None:
    async with http.browser(server, ca.issue("/CN=Anna", mails=(USER,))) as browser:
        reply = await browser.send("/logout", headers={"Sec-Fetch-Site": "cross-site"})
        assert (reply.status, "another site" in reply.text) == (403, True)


async def test_a_certificate_of_nobody_leaves_the_form(http: HttpFixture, server: Certificate, ca: OpensslCa) -> None:
    async with http.browser(server, ca.issue("/CN=Nobody", mails=("nobody@example.com",))) as browser:
        reply = await browser.get("/")
        assert (reply.status, 'action="/login"' in reply.text) == (200, True)
        assert (await browser.log_in()).status == 303
    async with http.browser(server, ca.issue("/CN=Closed", mails=(CLOSED,))) as browser:
        reply = await browser.get("/")
        assert (reply.status, "cannot log in at present" in reply.text) == (403, True)
    async with http.browser(server) as browser:
        assert 'action="/login"' in (await browser.get("/")).text


async def test_a_certificate_is_the_only_way_where_passwords_are_not_taken(server: Certificate, ca: OpensslCa) -> None:
    options = HttpOptions(clientcertificates=True, plaintextmincipher=-1)
    tls = {"clientca": str(ca.cafile)}
    async with (
        StoreFixture(role="admin") as store,
        http_service(store, http=options, certificate=server, client_tls=tls) as http,
    ):
        async with http.browser(server) as browser:
            assert (await browser.log_in()).status >= 400
            assert not browser.cookies
        async with http.browser(server, ca.issue("/CN=Anna", mails=(USER,))) as browser:
            assert f"Logged in as {USER}" in (await browser.get("/")).text
