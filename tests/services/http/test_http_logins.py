"""Logging in by the form, being known by the cookie, seeing one's logins and ending them."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from services.common.directory import Status
from services.common.options import HttpOptions
from services.http import logins
from tests.support.certificates import make_certificate
from tests.support.http import CLOSED, OTHER, USER, Browser, HttpFixture, http_service, people
from tests.support.people import PASSWORD, People
from tests.support.store import StoreFixture


@pytest.fixture
async def store() -> AsyncIterator[StoreFixture]:
    """A store in memory."""
    async with StoreFixture(role="admin") as fixture:
        yield fixture


@pytest.fixture
async def browser(http: HttpFixture) -> AsyncIterator[Browser]:
    """A client."""
    async with http.browser() as client:
        yield client


def token_of(page: str) -> str:
    """The token in the forms of a page."""
    found = re.search(r'name="token" value="([0-9a-f]+)"', page)
    assert found, page
    return found[1]


async def test_the_form_gives_a_cookie_and_the_cookie_the_list(browser: Browser) -> None:
    page = await browser.get("/")
    assert page.status == 200
    assert 'action="/login"' in page.text
    answer = await browser.log_in()
    assert (answer.status, answer.headers["Location"]) == (303, "/")
    cookie = answer.headers["Set-Cookie"]
    assert cookie.startswith("mailkeep=")
    assert "; Path=/; HttpOnly; SameSite=Lax" in cookie
    assert "Secure" not in cookie, "in clear a browser would drop it"
    home = (await browser.get("/")).text
    assert f"Logged in as {USER}" in home
    assert "Browser/1 <strong>(this one)</strong>" in home
    assert "<td>127.0.0.1</td>" in home


@pytest.mark.parametrize(
    ("user", "password", "words"),
    [
        (USER, "wrong", "The name or the password is not right."),
        ("nobody@example.com", PASSWORD, "The name or the password is not right."),
        (CLOSED, PASSWORD, "The account cannot log in at present."),
        ("<script>&\"'", "x", "The name or the password is not right."),
        ("", "", "The name or the password is not right."),
        ("a\x00b", "\x00", "The name or the password is not right."),
    ],
)
async def test_refused_logins(browser: Browser, user: str, password: str, words: str) -> None:
    answer = await browser.log_in(user, password)
    assert answer.status == 403
    assert words in answer.text
    assert "<script>" not in answer.text
    assert not browser.cookies


async def test_over_tls_the_cookie_is_of_this_host_and_tls_alone(store: StoreFixture, tmp_path: Path) -> None:
    certificate = make_certificate(tmp_path)
    async with (
        http_service(store, certificate=certificate, http=HttpOptions()) as http,
        http.browser(certificate) as browser,
    ):
        answer = await browser.log_in()
        assert answer.headers["Set-Cookie"].startswith("__Host-mailkeep=")
        assert answer.headers["Set-Cookie"].endswith("; Path=/; HttpOnly; SameSite=Lax; Secure")
        assert answer.headers["Strict-Transport-Security"] == "max-age=31536000"
        assert USER in (await browser.get("/")).text
        value = browser.cookies.pop("__Host-mailkeep")
        browser.cookies["mailkeep"] = value
        assert USER not in (await browser.get("/")).text, "a cookie without the prefix may be anybody's"


async def test_logging_out_ends_the_login_for_good(browser: Browser) -> None:
    await browser.log_in()
    kept = dict(browser.cookies)
    token = token_of((await browser.get("/")).text)
    answer = await browser.send("/logout", token=token)
    assert answer.status == 303
    assert answer.headers["Clear-Site-Data"] == '"cache", "cookies", "storage"'
    assert not browser.cookies
    browser.cookies = kept
    assert 'action="/login"' in (await browser.get("/")).text
    assert (await browser.send("/logout", token=token)).status == 401


async def test_another_login_is_ended_and_all_of_them(http: HttpFixture, browser: Browser) -> None:
    await browser.log_in()
    async with http.browser() as second, http.browser() as third:
        for client in (second, third):
            await client.log_in()
        home = (await browser.get("/")).text
        assert home.count("<tr><td>") == 3
        others = re.findall(r'name="login" value="([0-9a-f]{64})"', home)
        own = re.search(r"this one.*?value=\"([0-9a-f]{64})\"", home)
        assert own
        other = next(one for one in others if one != own[1])
        await browser.send("/logout", token=token_of(home), login=other)
        assert (await browser.get("/")).text.count("<tr><td>") == 2
        await browser.send("/logout", token=token_of(home), everywhere="yes")
        for client in (second, third, browser):
            assert 'action="/login"' in (await client.get("/")).text


async def test_a_form_of_another_login_ends_nothing(http: HttpFixture, browser: Browser) -> None:
    await browser.log_in()
    async with http.browser() as other:
        await other.log_in(OTHER)
        foreign = token_of((await other.get("/")).text)
    for token in (foreign, "", "é"):
        assert (await browser.send("/logout", token=token)).status == 403
    assert USER in (await browser.get("/")).text


async def test_who_knows_a_login_of_another_account_cannot_end_it(http: HttpFixture, browser: Browser) -> None:
    await browser.log_in()
    own = re.search(r'name="login" value="([0-9a-f]{64})"', (await browser.get("/")).text)
    assert own
    async with http.browser() as other:
        await other.log_in(OTHER)
        await other.send("/logout", token=token_of((await other.get("/")).text), login=own[1])
    assert USER in (await browser.get("/")).text


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "https://127.0.0.1"},
    ],
)
async def test_forms_of_other_sites_are_refused(browser: Browser, headers: dict[str, str]) -> None:
    assert (await browser.log_in(headers=headers)).status == 403
    assert not browser.cookies
    await browser.log_in()
    token = token_of((await browser.get("/")).text)
    assert (await browser.send("/logout", headers, token=token)).status == 403
    assert USER in (await browser.get("/")).text


async def test_forms_of_our_own_pages_are_taken(http: HttpFixture, browser: Browser) -> None:
    origin = {"Origin": f"http://127.0.0.1:{http.port()}"}
    assert (await browser.log_in(headers=origin)).status == 303
    assert (await browser.log_in(headers={"Sec-Fetch-Site": "same-origin"})).status == 303


@pytest.mark.parametrize(
    "cookie", ["", "x", "1.", f"1.{'A' * 43}", f"{'f' * 16}.{'A' * 43}", f"{'f' * 17}.{'A' * 43}", f"0.{'_' * 43}", "é"]
)
async def test_cookies_that_are_no_login(browser: Browser, cookie: str) -> None:
    answer = await browser.get("/", headers={"Cookie": f"mailkeep={cookie}"})
    assert answer.status == 200
    assert 'action="/login"' in answer.text


async def test_a_login_is_found_by_another_process_and_after_a_restart(store: StoreFixture, http: HttpFixture) -> None:
    async with http.browser() as browser:
        await browser.log_in()
        cookies = browser.cookies
    async with http_service(store) as another, another.browser() as browser:
        browser.cookies = cookies
        assert USER in (await browser.get("/")).text
        await browser.send("/logout", token=token_of((await browser.get("/")).text), everywhere="yes")


async def test_what_another_process_ended_ends_here_too(
    store: StoreFixture, http: HttpFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logins, "SECONDS", 0.0)
    async with http_service(store) as another, http.browser() as here, another.browser() as there:
        await here.log_in()
        there.cookies = dict(here.cookies)
        await there.send("/logout", token=token_of((await there.get("/")).text))
        assert 'action="/login"' in (await here.get("/")).text


async def test_a_bound_login_is_of_no_use_elsewhere(store: StoreFixture) -> None:
    bound = HttpOptions(plaintextmincipher=0, ipsecurity=True)
    async with http_service(store, http=bound) as http, http.browser() as browser:
        await browser.log_in()
        [login] = await store.client.logins.all((await store.client.open_account(USER)).account_id)
        assert (login.bound, login.address) == (True, "127.0.0.1")
        cookie = next(iter(browser.cookies.values()))
        answer = await http.say(
            f"GET / HTTP/1.1\r\nHost: x\r\nCookie: mailkeep={cookie}\r\nConnection: close\r\n\r\n",
            local_addr=("127.0.0.2", 0),
        )
        assert 'action="/login"' in answer
        assert USER in (await browser.get("/")).text


async def test_idleness_ends_it(store: StoreFixture, http: HttpFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logins, "SECONDS", 0.0)
    now = store.store._clock()
    store.store.logins._clock = lambda: now
    async with http.browser() as browser:
        await browser.log_in()
        now += 7199
        assert USER in (await browser.get("/")).text
        now += 7200
        assert 'action="/login"' in (await browser.get("/")).text


async def test_a_new_status_or_password_ends_the_logins(store: StoreFixture) -> None:
    directory = people()
    statuses: dict[str, Status] = {}
    directory.statuses = statuses
    async with http_service(store, directory=directory) as http, http.browser() as browser:
        await browser.log_in()
        assert USER in (await browser.get("/")).text
        statuses[USER] = Status.DISABLED
        assert USER in (await browser.get("/")).text, "it is remembered for directory.authcachettl"
        directory.generation += 1
        assert 'action="/login"' in (await browser.get("/")).text
        statuses[USER] = Status.ACTIVE
        directory.generation += 1
        assert 'action="/login"' in (await browser.get("/")).text, "it has ended for good"
        await browser.log_in()
        directory.passwords[USER] = "another"
        directory.generation += 1
        assert 'action="/login"' in (await browser.get("/")).text
        del directory.passwords[USER]
        directory.generation += 1
        assert 'action="/login"' in (await browser.get("/")).text


async def test_the_time_to_live_alone_ends_them_as_well(store: StoreFixture) -> None:
    directory = people()
    async with http_service(store, directory=directory) as http, http.browser() as browser:
        old = http.configuration.value
        http.configuration.replace(replace(old, directory=replace(old.directory, authcachettl=0)))
        await browser.log_in()
        assert USER in (await browser.get("/")).text
        directory.passwords[USER] = "another"
        assert 'action="/login"' in (await browser.get("/")).text


@pytest.mark.rfc("7617", "2")
async def test_basic_is_asked_for_and_taken(http: HttpFixture) -> None:
    def basic(text: str) -> str:
        return "Basic " + base64.b64encode(text.encode()).decode()

    async with http.browser() as browser:
        asked = await browser.send("/logout")
        assert (asked.status, asked.headers["WWW-Authenticate"]) == (401, 'Basic realm="Mailkeep", charset="UTF-8"')
        for header in (basic(f"{USER}:wrong"), basic("nobody"), "Basic !", "Basic", "Bearer x", ""):
            answer = await browser.send("/logout", {"Authorization": header})
            assert (answer.status, "WWW-Authenticate" in answer.headers) == (401, True), header
        answer = await browser.send("/logout", {"Authorization": basic(f"{USER}:{PASSWORD}")})
        assert answer.status == 403, "it has no login to end"


async def test_without_tls_nothing_is_asked_for_where_passwords_want_it(store: StoreFixture, tmp_path: Path) -> None:
    certificate = make_certificate(tmp_path)
    async with http_service(store, certificate=certificate, http=HttpOptions()) as http:
        old = http.configuration.value
        http.configuration.replace(replace(old, sasl=replace(old.sasl, localplaintext=False)))
        async with http.browser() as browser:
            told = await http.say(
                "GET /some/where?x=1&y=%2F HTTP/1.1\r\nHost: mail.example.com:8990\r\nConnection: close\r\n\r\n"
            )
            assert told.startswith("HTTP/1.1 308 ")
            assert "\r\nLocation: https://mail.example.com:8991/some/where?x=1&y=%2F\r\n" in told
            assert "Strict-Transport-Security" not in told
            for host in ("", "a b", "x/../y", "evil.example/@"):
                assert (await browser.get("/", headers={"Host": host})).status == 403
            answer = await browser.log_in()
            assert answer.status == 403
            assert json.loads(answer.body)["detail"] == "This service is to be had by HTTPS alone."


async def test_an_account_has_so_many_connections(store: StoreFixture) -> None:
    options = HttpOptions(plaintextmincipher=0, maxsessionsperuser=1)
    async with http_service(store, http=options) as http, http.browser() as first, http.browser() as second:
        await first.log_in()
        second.cookies = first.cookies
        answer = await second.get("/")
        assert (answer.status, answer.headers["Retry-After"]) == (429, "30")
        assert "as many connections" in (await second.log_in()).text


async def test_a_directory_that_is_away(store: StoreFixture) -> None:
    directory: People = people()
    async with http_service(store, directory=directory) as http, http.browser() as browser:
        directory.away = True
        answer = await browser.log_in()
        assert (answer.status, answer.headers["Retry-After"]) == (503, "30")
