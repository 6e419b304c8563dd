"""Bearer tokens: what is signed, by whom, for whom and for how long; keys from a file and by HTTP, renewed and away."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
from pathlib import Path
from time import time
from typing import Any

import jwt
import pytest

from services.common import tokens as tokens_module
from services.common.configuration import ConfigurationError, load
from services.common.directory import DirectoryUnavailable
from services.common.keysource import is_source
from services.common.live import Live
from services.common.sasloptions import SaslOptions
from services.common.tokens import RETRY_SECONDS, Tokens
from tests.support.tokenissuer import AUDIENCE, ISSUER, Issuer, key_server

NAME = "anna@example.com"


@pytest.fixture(scope="module")
def issuer() -> Issuer:
    return Issuer()


def checker(source: object, clock: list[float] | None = None, **options: Any) -> Tokens:
    live = Live(SaslOptions(oauthkeys=str(source), oauthissuer=ISSUER, oauthaudience=AUDIENCE, **options))
    return Tokens("imap", live, (lambda: clock[0]) if clock else lambda: 0.0)


@pytest.fixture
def keys(tmp_path: Path, issuer: Issuer) -> Path:
    path = tmp_path / "keys.json"
    path.write_bytes(issuer.key_set())
    return path


@pytest.mark.parametrize("key", ["rsa", "ec"])
async def test_a_token_names_its_owner(keys: Path, issuer: Issuer, key: str) -> None:
    assert await checker(keys).name(issuer.token(key=key)) == NAME
    assert await checker(keys).name(issuer.token(key=key, headers={})) == NAME
    assert await checker(keys).name(issuer.token(aud=[AUDIENCE, "other"])) == NAME
    assert await checker(keys, oauthclaim="sub").name(issuer.token(sub="anna")) == "anna"


@pytest.mark.rfc("7519", "4.1")
@pytest.mark.parametrize(
    ("claims", "why"),
    [
        ({"exp": int(time()) - 300}, "expired"),
        ({"exp": None}, "exp"),
        ({"nbf": int(time()) + 10**8}, "not yet valid"),
        ({"iss": "https://elsewhere.example"}, "issuer"),
        ({"iss": None}, "iss"),
        ({"aud": "another"}, "udience"),
        ({"aud": None}, "aud"),
        ({"email": None}, "no claim email"),
        ({"email": 5}, "no claim email"),
        ({"email_verified": False}, "not verified"),
        ({"headers": {"kid": "unknown"}}, "unknown key"),
    ],
)
async def test_what_is_not_for_us_now_is_refused(
    keys: Path, issuer: Issuer, claims: dict[str, Any], why: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert await checker(keys).name(issuer.token(**claims)) is None
    (record,) = [each for each in caplog.records if each.message == "token refused"]
    assert why in record.fields["why"]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("claims", "granted"),
    [
        ({}, True),
        ({"scope": "imap"}, True),
        ({"scope": None, "scp": ["imap", "pop"]}, True),
        ({"scope": "imapx openid"}, False),
        ({"scope": None}, False),
        ({"scope": {"imap": 1}}, False),
    ],
)
async def test_a_scope_can_be_asked_for(keys: Path, issuer: Issuer, claims: dict[str, Any], granted: bool) -> None:
    assert await checker(keys, oauthscope="imap").name(issuer.token(**claims)) == (NAME if granted else None)


@pytest.mark.rfc("8725", "3.1")
async def test_a_token_that_we_could_have_made_or_nobody_signed_is_refused(keys: Path, issuer: Issuer) -> None:
    claims = {"iss": ISSUER, "aud": AUDIENCE, "exp": int(time()) + 300, "email": NAME}
    tokens = checker(keys)
    public = json.loads(keys.read_bytes())["keys"][0]["n"]
    for forged in (
        jwt.encode(claims, public, "HS256", headers={"kid": "rsa"}),
        jwt.encode(claims, "", "none", headers={"kid": "rsa"}),
        Issuer().token(),
        issuer.token()[:-4] + "AAAA",
        "",
        "a.b.c",
        base64.b64encode(b'{"alg":"RS256"}').decode() + "..",
        "é" * 100,
    ):
        assert await tokens.name(forged) is None


async def test_a_shared_secret_in_the_key_set_is_no_key(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    secret = base64.urlsafe_b64encode(b"s" * 32).decode()
    path.write_text(json.dumps({"keys": [{"kty": "oct", "k": secret, "kid": "x"}]}))
    with pytest.raises(DirectoryUnavailable):
        await checker(path).name(jwt.encode({"email": NAME}, "s" * 32, "HS256", headers={"kid": "x"}))


@pytest.mark.parametrize(
    "content", [b"", b"[]", b'{"keys": 5}', b'{"keys": [5]}', b'{"keys": [{"kty": "RSA"}]}', b"\xff"]
)
async def test_a_file_without_keys_is_an_outage_and_no_refusal(
    tmp_path: Path, issuer: Issuer, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "keys.json"
    path.write_bytes(content)
    tokens = checker(path)
    with pytest.raises(DirectoryUnavailable):
        await tokens.name(issuer.token())
    assert any(record.levelno == logging.ERROR for record in caplog.records)
    path.write_bytes(issuer.key_set())
    assert await tokens.name(issuer.token()) == NAME
    path.unlink()
    assert await tokens.name(issuer.token()) == NAME


async def test_a_changed_file_is_taken_up(keys: Path, issuer: Issuer) -> None:
    other, tokens = Issuer(), checker(keys)
    assert await tokens.name(issuer.token()) == NAME
    keys.write_bytes(other.key_set("rsa") + b" ")
    assert await tokens.name(issuer.token()) is None
    assert await tokens.name(other.token()) == NAME


async def test_keys_by_http_are_kept_renewed_and_outlive_their_server(issuer: Issuer) -> None:
    clock = [1000.0]
    async with key_server(issuer.key_set("rsa")) as server:
        tokens = checker(server.url, clock, oauthkeysttl=600)
        answers = await asyncio.gather(*(tokens.name(issuer.token()) for _ in range(20)))
        assert answers == [NAME] * 20
        assert server.asked == 1

        # An unknown key is looked for, and not at every token.
        server.body = issuer.key_set()
        assert await tokens.name(issuer.token(key="ec")) is None
        clock[0] += RETRY_SECONDS
        assert await tokens.name(issuer.token(key="ec")) == NAME
        assert await tokens.name(issuer.token(headers={"kid": "none"})) is None
        assert server.asked == 2

        # The server fails: what was known stays good.
        clock[0] += 600
        server.status = "500 Broken"
        assert await tokens.name(issuer.token()) == NAME
        assert server.asked == 3
        server.status, server.body = "302 Found\r\nLocation: http://127.0.0.1:1/", b""
        clock[0] += 600
        assert await tokens.name(issuer.token()) == NAME


async def test_keys_that_never_came_are_an_outage(issuer: Issuer) -> None:
    async with key_server(b"x" * (2 << 20)) as server:
        tokens = checker(server.url)
        for _ in range(3):
            with pytest.raises(DirectoryUnavailable):
                await tokens.name(issuer.token())
        assert server.asked == 1


async def test_a_key_server_that_says_nothing_is_given_up(issuer: Issuer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokens_module, "FETCH_SECONDS", 0.2)
    quiet = asyncio.Event()

    async def say_nothing(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await quiet.wait()
        writer.close()

    server = await asyncio.start_server(say_nothing, "127.0.0.1", 0)
    try:
        with pytest.raises(DirectoryUnavailable):
            await checker(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/").name(issuer.token())
    finally:
        quiet.set()
        server.close()
        await server.wait_closed()


@pytest.mark.parametrize(
    ("source", "good"),
    [
        ("/etc/keys.json", True),
        ("keys.json", False),
        ("https://login.example.com/keys", True),
        ("http://127.0.0.1:80/keys", True),
        ("http://login.example.com/keys", False),
        ("ftp://login.example.com/keys", False),
        ("https:///keys", False),
        ("https://[x/keys", False),
    ],
)
def test_where_keys_may_come_from(source: str, good: bool) -> None:
    assert is_source(source) is good


def test_keys_need_an_issuer_and_an_audience_beside_them(tmp_path: Path) -> None:
    (tmp_path / "mailkeep.yaml").write_text("sasl.oauthkeys: https://login.example.com/keys\n")
    with pytest.raises(ConfigurationError, match=r"needs sasl.oauthissuer and sasl.oauthaudience"):
        load(environ={}, data=str(tmp_path))
    (tmp_path / "mailkeep.yaml").write_text(
        "sasl: {oauthkeys: 'https://x.example/keys', oauthissuer: x, oauthaudience: y}\n"
    )
    assert load(environ={}, data=str(tmp_path)).sasl.oauthkeys == "https://x.example/keys"
