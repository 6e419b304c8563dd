"""Logins by every mechanism that computes, over sockets, in IMAP and POP3: what a client of each RFC sends."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import ssl
from base64 import b64decode, b64encode
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Protocol

import pytest

from services.common.sasl.scram import make_secret
from services.common.sasloptions import SaslOptions
from tests.support.certificates import Certificate, make_certificate
from tests.support.imap import OTHER, USER, local_imap
from tests.support.people import PASSWORD, People
from tests.support.pop import pop_service
from tests.support.scramclient import ScramClient
from tests.support.store import StoreFixture
from tests.support.tokenissuer import AUDIENCE, ISSUER, Issuer

BOTH_LOOPS = True
ADMIN = "admin@example.com"
ON = SaslOptions(scram=True, has_plain_passwords=True)
LISTED = SaslOptions(mech_list=("SCRAM-SHA-256-PLUS", "SCRAM-SHA-256"))
SECRETS = (f"SCRAM-SHA-256${make_secret(PASSWORD, 4096)}", f"{{CLEARTEXT}}{PASSWORD}")


def people() -> People:
    return People(
        dict.fromkeys((USER, OTHER, ADMIN), PASSWORD),
        secrets={USER: SECRETS, ADMIN: SECRETS},
        administrators=frozenset({ADMIN}),
    )


class Running(Protocol):
    async def connect(self, *, tls: bool = False, **rest: Any) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]: ...


class Dialogue:
    """A client in the middle of AUTHENTICATE or AUTH; `protocol` is imap or pop."""

    def __init__(self, protocol: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._protocol = protocol
        self._reader = reader
        self.writer = writer
        self.greeting = b""

    async def line(self) -> bytes:
        return (await asyncio.wait_for(self._reader.readline(), 30)).rstrip(b"\r\n")

    async def begin(self, mechanism: str, initial: bytes | None = None) -> bytes:
        verb = "a AUTHENTICATE" if self._protocol == "imap" else "AUTH"
        rest = b"" if initial is None else b" " + b64encode(initial)
        return await self.say(f"{verb} {mechanism}".encode() + rest)

    async def respond(self, message: bytes) -> bytes:
        return await self.say(b64encode(message))

    async def say(self, line: bytes) -> bytes:
        """The server's answer; a challenge decoded."""
        self.writer.write(line + b"\r\n")
        answer = await self.line()
        return b64decode(answer[2:]) if answer.startswith(b"+ ") else answer

    def logged_in(self, answer: bytes) -> bool:
        return answer.startswith(b"a OK" if self._protocol == "imap" else b"+OK")

    def refused(self, answer: bytes, code: bytes = b"") -> bool:
        code = code or (b"AUTHENTICATIONFAILED" if self._protocol == "imap" else b"AUTH")
        return answer.startswith((b"a NO [%b]" % code, b"-ERR [%b]" % code))


@pytest.fixture(params=["imap", "pop"])
def protocol(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def certificate(tmp_path: Path) -> Certificate:
    return make_certificate(tmp_path)


@asynccontextmanager
async def service(
    protocol: str, sasl: SaslOptions = ON, certificate: Certificate | None = None
) -> AsyncIterator[Running]:
    if protocol == "imap":
        async with local_imap(people=people(), sasl=sasl, certificate=certificate) as running:
            yield running
    else:
        async with (
            StoreFixture() as store,
            pop_service(store.client, store.bodies, directory=people(), sasl=sasl, certificate=certificate) as pop,
        ):
            yield pop


@asynccontextmanager
async def dialogue(protocol: str, running: Running, **rest: Any) -> AsyncIterator[Dialogue]:
    client = Dialogue(protocol, *await running.connect(**rest))
    client.greeting = await client.line()
    try:
        yield client
    finally:
        client.writer.close()


async def scram(client: Dialogue, scram_client: ScramClient, *, initial: bool = True) -> bytes:
    """The whole exchange; the last answer."""
    if initial:
        answer = await client.begin(scram_client.mechanism, scram_client.first())
    else:
        assert await client.begin(scram_client.mechanism) == b""
        answer = await client.respond(scram_client.first())
    if not answer.startswith(b"r="):
        return answer
    answer = await client.respond(scram_client.final(answer))
    if not answer.startswith(b"v="):
        return answer
    scram_client.check(answer)
    return await client.respond(b"")


@pytest.mark.rfc("7677", "3")
@pytest.mark.parametrize("initial", [True, False])
async def test_scram_in_clear(protocol: str, initial: bool) -> None:
    async with service(protocol) as running, dialogue(protocol, running) as client:
        assert client.refused(await scram(client, ScramClient(USER, "wrong"), initial=initial))
        assert client.refused(await scram(client, ScramClient(OTHER, PASSWORD), initial=initial))
        assert client.refused(await scram(client, ScramClient("nobody", PASSWORD), initial=initial))
        assert client.logged_in(await scram(client, ScramClient(USER, PASSWORD), initial=initial))


@pytest.mark.rfc("5802", "4")
async def test_scram_of_an_administrator(protocol: str) -> None:
    async with service(protocol) as running, dialogue(protocol, running) as client:
        answer = await scram(client, ScramClient(USER, PASSWORD, authorize_as=OTHER))
        assert client.refused(answer, b"AUTHORIZATIONFAILED" if protocol == "imap" else b"AUTH")
        assert client.logged_in(await scram(client, ScramClient(ADMIN, PASSWORD, authorize_as=OTHER)))


def endpoint(certificate: Certificate, _: ssl.SSLObject) -> tuple[str, bytes]:
    der = ssl.PEM_cert_to_DER_cert(certificate.certfile.read_text())
    return "tls-server-end-point", hashlib.sha256(der).digest()


def unique(_: Certificate, connection: ssl.SSLObject) -> tuple[str, bytes]:
    return "tls-unique", connection.get_channel_binding("tls-unique") or b""


@pytest.mark.rfc("5929", "4")
@pytest.mark.parametrize(
    ("version", "binding"),
    [
        (ssl.TLSVersion.TLSv1_2, endpoint),
        (ssl.TLSVersion.TLSv1_2, unique),
        (ssl.TLSVersion.TLSv1_3, endpoint),
    ],
)
async def test_scram_bound_to_its_channel(
    protocol: str,
    certificate: Certificate,
    version: ssl.TLSVersion,
    binding: Callable[[Certificate, ssl.SSLObject], tuple[str, bytes]],
) -> None:
    context = certificate.client_context()
    context.maximum_version = version
    options = ON if version is ssl.TLSVersion.TLSv1_2 else LISTED
    async with (
        service(protocol, options, certificate) as running,
        dialogue(protocol, running, tls=True, ssl=context, server_hostname="localhost") as client,
    ):
        name, data = binding(certificate, client.writer.get_extra_info("ssl_object"))
        assert client.refused(await scram(client, ScramClient(USER, PASSWORD, binding=(name, b"another"))))
        assert client.refused(await scram(client, ScramClient(USER, PASSWORD, flag="y")))
        assert client.logged_in(await scram(client, ScramClient(USER, PASSWORD, binding=(name, data))))


@pytest.mark.rfc("9266", "3")
async def test_channels_are_bound_under_tls_1_3_only_where_the_list_says_so(
    protocol: str, certificate: Certificate
) -> None:
    tls = {"tls": True, "ssl": certificate.client_context(), "server_hostname": "localhost"}
    bound = ScramClient(USER, PASSWORD, binding=("tls-unique", b""))
    async with service(protocol, LISTED, certificate) as running, dialogue(protocol, running, **tls) as client:
        assert client.refused(await scram(client, bound))
    async with service(protocol, ON, certificate) as running, dialogue(protocol, running, **tls) as client:
        assert (await client.begin(bound.mechanism)).startswith((b"a NO [CANNOT]", b"-ERR This mechanism"))
        assert client.logged_in(await scram(client, ScramClient(USER, PASSWORD, flag="y")))


@pytest.mark.rfc("2195", "2")
async def test_cram_md5(protocol: str) -> None:
    async with service(protocol) as running, dialogue(protocol, running) as client:
        for name, password in ((USER, "wrong"), (OTHER, PASSWORD), ("nobody", PASSWORD), (USER, PASSWORD)):
            stamp = await client.begin("CRAM-MD5")
            digest = hmac.new(password.encode(), stamp, hashlib.md5).hexdigest()
            answer = await client.respond(f"{name} {digest}".encode())
            assert client.logged_in(answer) if (name, password) == (USER, PASSWORD) else client.refused(answer)


@pytest.mark.rfc("1939", "7")
async def test_apop() -> None:
    async with service("pop") as running, dialogue("pop", running) as client:
        stamp = client.greeting[client.greeting.index(b"<") :]
        for password in ("wrong", PASSWORD):
            digest = hashlib.md5(stamp + password.encode()).hexdigest()
            answer = await client.say(f"APOP {USER} {digest}".encode())
            assert client.logged_in(answer) is (password == PASSWORD)
        async with dialogue("pop", running) as other:
            assert other.greeting != client.greeting


async def test_what_computes_with_secrets_is_off_by_default(protocol: str) -> None:
    async with service(protocol, SaslOptions()) as running, dialogue(protocol, running) as client:
        assert b"<" not in client.greeting
        for mechanism in ("SCRAM-SHA-256", "CRAM-MD5"):
            assert (await client.begin(mechanism)).startswith((b"a NO [CANNOT]", b"-ERR This mechanism"))


BEARER = "n,a={name},\x01host=mail.example.com\x01port=143\x01auth=Bearer {token}\x01\x01"
XOAUTH2 = "user={name}\x01auth=Bearer {token}\x01\x01"


@pytest.mark.rfc("7628", "3")
@pytest.mark.parametrize(("mechanism", "form"), [("OAUTHBEARER", BEARER), ("XOAUTH2", XOAUTH2)])
async def test_bearer_tokens(protocol: str, mechanism: str, form: str, tmp_path: Path) -> None:
    issuer = Issuer()
    (tmp_path / "keys.json").write_bytes(issuer.key_set())
    options = SaslOptions(oauthkeys=str(tmp_path / "keys.json"), oauthissuer=ISSUER, oauthaudience=AUDIENCE)

    def message(name: str, token: str) -> bytes:
        return form.format(name=name, token=token).encode()

    async with service(protocol, options) as running:
        async with dialogue(protocol, running) as client:
            error = await client.begin(mechanism, message(USER, issuer.token(USER, aud="another")))
            assert "status" in json.loads(error)
            assert client.refused(await client.respond(b"\x01"))
            error = await client.begin(mechanism, message("", issuer.token("nobody@example.com")))
            assert client.refused(error)
            other = await client.begin(mechanism, message(OTHER, issuer.token(USER)))
            assert client.refused(other, b"AUTHORIZATIONFAILED" if protocol == "imap" else b"AUTH")
            assert client.logged_in(await client.begin(mechanism, message(USER, issuer.token(USER))))
        async with dialogue(protocol, running) as client:
            assert await client.begin(mechanism) == b""
            assert client.logged_in(await client.respond(message("", issuer.token(USER))))
        async with dialogue(protocol, running) as client:
            assert client.logged_in(await client.begin(mechanism, message(OTHER, issuer.token(ADMIN))))


async def test_tokens_whose_keys_cannot_be_had_are_no_refusal(protocol: str, tmp_path: Path) -> None:
    options = SaslOptions(oauthkeys=str(tmp_path / "none.json"), oauthissuer=ISSUER, oauthaudience=AUDIENCE)
    async with service(protocol, options) as running, dialogue(protocol, running) as client:
        answer = await client.begin("XOAUTH2", XOAUTH2.format(name=USER, token=Issuer().token(USER)).encode())
        assert answer.startswith((b"a NO [UNAVAILABLE]", b"-ERR [SYS/TEMP]"))
