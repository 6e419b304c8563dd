"""What holds for every request: headers, refusals, limits, clocks, the end."""

from __future__ import annotations

import asyncio
import json
import re
from dataclasses import replace

import pytest

from services.common.options import HttpOptions
from services.http import bodies
from tests.support.http import HttpFixture, http_service
from tests.support.store import StoreFixture

GET = "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
LAST = "GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"


def body_of(answer: str) -> dict[str, object]:
    """The JSON of an answer."""
    found: dict[str, object] = json.loads(answer.partition("\r\n\r\n")[2])
    return found


async def test_every_answer_has_the_standing_headers(http: HttpFixture) -> None:
    for text in (LAST, LAST.replace("GET /", "GET /nowhere"), LAST.replace("GET", "BREW"), "no http\r\n\r\n"):
        head = (await http.say(text)).partition("\r\n\r\n")[0]
        for line in (
            "X-Content-Type-Options: nosniff", "Referrer-Policy: no-referrer", "X-Frame-Options: DENY",
            "Cache-Control: no-store", "Server: Mailkeep",
        ):  # fmt: skip
            assert line in head, head
        assert "frame-ancestors 'none'" in head
        assert "Strict-Transport-Security" not in head


@pytest.mark.rfc("9457", "3")
@pytest.mark.parametrize(
    ("text", "status"),
    [
        (LAST.replace("/ ", "/nowhere "), 404),
        (LAST.replace("GET", "PUT"), 405),
        (LAST.replace("GET", "BREW"), 400),
        ("POST /login HTTP/1.1\r\nHost: x\r\nContent-Type: text/plain\r\nContent-Length: 0\r\n"
         "Connection: close\r\n\r\n", 415),
        ("POST /login HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\n"
         "Content-Length: 99999\r\n\r\n", 413),
        ("POST /login HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\n"
         "Content-Encoding: gzip\r\nContent-Length: 3\r\nConnection: close\r\n\r\nabc", 415),
        ("POST /login HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\n"
         "Content-Length: 5\r\nConnection: close\r\n\r\n%ff=x", 400),
        ("no http\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\n" + "X: y\r\n" * 200 + "\r\n", 400),
        ("GET /" + "x" * 9000 + " HTTP/1.1\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400),
    ],
)  # fmt: skip
async def test_problems_tell_what_is_wrong_and_nothing_of_ours(http: HttpFixture, text: str, status: int) -> None:
    answer = await http.say(text)
    assert answer.startswith((f"HTTP/1.1 {status} ", f"HTTP/1.0 {status} ")), answer
    assert "Content-Type: application/problem+json" in answer
    problem = body_of(answer)
    assert (problem["type"], problem["status"]) == ("about:blank", status)
    assert "aiohttp" not in answer
    assert "xxxx" not in answer


@pytest.mark.rfc("9110", "10.1.1")
async def test_who_waits_to_send_a_body_is_told_before_it_is_sent(http: HttpFixture) -> None:
    reader, writer = await http.connect()
    head = (
        "POST /login HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\nExpect: 100-continue\r\n"
    )
    writer.write(f"{head}Content-Length: 6\r\n\r\n".encode())
    assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
    writer.write(b"name=x")
    assert (await reader.readline()).startswith(b"HTTP/1.1 403 ")
    writer.close()
    refused = await http.say(f"{head}Content-Length: 99999\r\n\r\n")
    assert refused.startswith("HTTP/1.1 413 ")


async def test_a_body_in_chunks_without_a_length_is_bounded(http: HttpFixture) -> None:
    reader, writer = await http.connect()
    writer.write(
        b"POST /login HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n"
    )
    for _ in range(20):
        writer.write(b"1000\r\n" + b"x" * 4096 + b"\r\n")
    assert (await reader.readline()).startswith(b"HTTP/1.1 413 ")
    writer.close()


async def test_pipelined_requests_are_answered_in_order(http: HttpFixture) -> None:
    answer = await http.say(GET + GET.replace("/ ", "/nowhere ") + LAST)
    assert re.findall(r"HTTP/1\.1 (\d+) ", answer) == ["200", "404", "200"]


async def test_a_head_has_no_body(http: HttpFixture) -> None:
    answer = await http.say(LAST.replace("GET", "HEAD"))
    assert answer.startswith("HTTP/1.1 200 OK")
    assert answer.endswith("\r\n\r\n")


async def test_who_says_no_more_still_gets_its_answer(http: HttpFixture) -> None:
    reader, writer = await http.connect()
    writer.write(GET.encode())
    writer.write_eof()
    async with asyncio.timeout(30):
        answer = await reader.read()
    assert answer.startswith(b"HTTP/1.1 200 OK")
    writer.close()


async def test_one_connection_too_many_is_told_when_to_come_again(store: StoreFixture) -> None:
    async with http_service(store, http=HttpOptions(plaintextmincipher=0, maxsessions=1)) as http:
        reader, writer = await http.connect()
        writer.write(GET.encode())
        await reader.readuntil(b"</html>\n")
        answer = await http.say("")
        assert answer.startswith("HTTP/1.1 503 Service Unavailable\r\n")
        assert "Retry-After: 30\r\n" in answer
        assert "Connection: close\r\n" in answer
        assert body_of(answer)["status"] == 503
        writer.close()


async def test_filters_hold_before_anything_is_read(store: StoreFixture) -> None:
    options = HttpOptions(plaintextmincipher=0, domainnotallowed=("http: ALL",))
    async with http_service(store, http=options) as http:
        assert (await http.say("")).startswith("HTTP/1.1 403 ")


def patience(http: HttpFixture, clock: int, seconds: float) -> None:
    """Let a clock run out soon."""
    http.server.patience[clock] = seconds


async def test_a_header_that_never_ends_is_given_up(http: HttpFixture) -> None:
    patience(http, 0, 0.1)
    answer = await http.say("GET / HTTP/1.1\r\nHost: x\r\nX: ")
    assert answer.startswith("HTTP/1.1 408 ")
    assert await http.say("") == "", "who never said a word is closed without one"


async def test_an_idle_connection_is_closed_without_a_word(http: HttpFixture) -> None:
    patience(http, 1, 0.1)
    answer = await http.say(GET)
    assert answer.count("HTTP/1.1") == 1


async def test_a_body_that_stands_still_is_given_up(http: HttpFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "STALL_SECONDS", 0.1)
    answer = await http.say(
        "POST /login HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\n"
        "Content-Length: 9\r\n\r\nx"
    )
    assert answer.startswith("HTTP/1.1 408 ")


async def test_at_the_end_idle_connections_are_closed_and_answers_finished(http: HttpFixture) -> None:
    reader, writer = await http.connect()
    writer.write(GET.encode())
    await reader.readuntil(b"</html>\n")
    async with asyncio.timeout(30):
        await http.server.drain(2)
        assert await reader.read() == b""
    writer.close()


async def test_an_administrator_ends_a_connection(http: HttpFixture) -> None:
    reader, writer = await http.connect()
    writer.write(GET.encode())
    await reader.readuntil(b"</html>\n")
    [info] = http.server.registry.snapshot()
    assert (info.service, info.address) == ("http", "127.0.0.1")
    http.server.registry.kick(info.session_id)
    async with asyncio.timeout(30):
        assert await reader.read() == b""
    writer.close()


async def test_a_store_that_is_away_is_a_503(store: StoreFixture) -> None:
    async with StoreFixture() as lost:
        lost.client.reconfigure(replace(lost.configuration, store=replace(lost.configuration.store, storewait=0)))
        async with http_service(lost) as http, http.browser() as browser:
            await browser.log_in()
            await lost.stop()
            http.service.logins._kept.clear()
            answer = await browser.get("/")
            assert (answer.status, answer.headers["Retry-After"]) == (503, "30")
            await lost.start()
            await lost.client.wait_ready(10)
            assert (await browser.get("/")).status == 200
