"""Logins by certificate over sockets, with an authority of the openssl command: good, expired, revoked, foreign."""

from __future__ import annotations

import asyncio
import logging
import ssl
from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from services.common import configuration
from services.common.options import Configuration, ImapOptions, PopOptions
from services.common.sasloptions import SaslOptions
from services.common.sharedoptions import TlsOptions
from services.common.tls import CertificateError, ServerTls
from tests.support.certificates import Certificate, make_certificate
from tests.support.imap import OTHER, USER, RunningImap, local_imap
from tests.support.opensslca import ClientPair, OpensslCa
from tests.support.people import PASSWORD, People
from tests.support.pop import pop_service
from tests.support.store import StoreFixture

BOTH_LOOPS = True
ANNA = "/C=DE/O=Example/OU=Sales/CN=Anna/UID=anna"


@pytest.fixture(scope="module")
def ca(tmp_path_factory: pytest.TempPathFactory) -> OpensslCa:
    return OpensslCa(tmp_path_factory.mktemp("ca") / "staff")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return make_certificate(tmp_path_factory.mktemp("server"))


@pytest.fixture(scope="module")
def good(ca: OpensslCa) -> ClientPair:
    return ca.issue(ANNA, mails=(USER,))


def people() -> People:
    return People(
        dict.fromkeys((USER, OTHER, "admin@example.com"), PASSWORD),
        administrators=frozenset({"admin@example.com"}),
        dns={OTHER: "uid=anna,cn=anna,ou=sales,o=example,c=de"},
    )


@asynccontextmanager
async def imap(ca: OpensslCa, server: Certificate, *, bits: int = 128, **tls: str) -> AsyncIterator[RunningImap]:
    async with local_imap(
        people=people(),
        certificate=server,
        client_tls={"clientca": str(ca.cafile), "crlfile": str(ca.crlfile), **tls},
        imap=ImapOptions(plaintextmincipher=bits),
        sasl=SaslOptions(localplaintext=False),
    ) as running:
        yield running


class Client:
    """An IMAP client under TLS, with a certificate or without one."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def line(self) -> bytes:
        return await asyncio.wait_for(self.reader.readline(), 30)

    async def say(self, command: str) -> bytes:
        self.writer.write(f"a {command}\r\n".encode())
        return await self.line()


@asynccontextmanager
async def connected(running: RunningImap, server: Certificate, pair: ClientPair | None) -> AsyncIterator[Client]:
    context = server.client_context()
    if pair is not None:
        context.load_cert_chain(pair.certfile, pair.keyfile)
    reader, writer = await running.connect(tls=True, ssl=context, server_hostname="localhost")
    try:
        yield Client(reader, writer)
    finally:
        writer.transport.abort()


async def first_line(running: RunningImap, server: Certificate, pair: ClientPair, *, starttls: bool = False) -> bytes:
    """The first line that the server says under TLS; b"" where it says nothing more."""
    context = pair.context(server.client_context())
    try:
        if not starttls:
            reader, writer = await running.connect(tls=True, ssl=context, server_hostname="localhost")
        else:
            reader, writer = await running.connect()
            await reader.readline()
            writer.write(b"a STARTTLS\r\n")
            await reader.readline()
            await writer.start_tls(context, server_hostname="localhost")
            writer.write(b"a CAPABILITY\r\n")
        line = await asyncio.wait_for(reader.readline(), 30)
        writer.transport.abort()
    except (ssl.SSLError, ConnectionError):
        return b""
    return line


def external(name: str = "") -> str:
    return f"AUTHENTICATE EXTERNAL {b64encode(name.encode()).decode() or '='}"


@pytest.mark.rfc("4422", "appendix A")
async def test_a_certificate_logs_its_owner_in(ca: OpensslCa, server: Certificate, good: ClientPair) -> None:
    async with imap(ca, server) as running:
        for name in ("", USER):
            async with connected(running, server, good) as client:
                assert b" AUTH=EXTERNAL AUTH=PLAIN " in await client.line()
                assert (await client.say(external(name))).startswith(b"a OK")
        async with connected(running, server, good) as client:
            await client.line()
            assert (await client.say(external(OTHER))).startswith(b"a NO [AUTHORIZATIONFAILED]")
            assert (await client.say(f'LOGIN {OTHER} "{PASSWORD}"')).startswith(b"a OK")


@pytest.mark.rfc("9051", "6.2.1")
async def test_a_certificate_counts_after_starttls_too(ca: OpensslCa, server: Certificate, good: ClientPair) -> None:
    async with imap(ca, server) as running:
        assert b"AUTH=EXTERNAL" in await first_line(running, server, good, starttls=True)


async def test_who_has_no_certificate_has_a_password(ca: OpensslCa, server: Certificate) -> None:
    async with imap(ca, server) as running, connected(running, server, None) as client:
        assert b"EXTERNAL" not in await client.line()
        assert (await client.say(external())).startswith(b"a NO [CANNOT]")
        assert (await client.say(f'LOGIN {USER} "{PASSWORD}"')).startswith(b"a OK")


async def test_the_certificate_is_the_only_way_where_passwords_are_not_taken(
    ca: OpensslCa, server: Certificate, good: ClientPair
) -> None:
    async with imap(ca, server, bits=-1) as running:
        async with connected(running, server, None) as client:
            assert b"LOGINDISABLED" in await client.line()
            assert (await client.say(f"LOGIN {USER} x")).startswith(b"a NO [PRIVACYREQUIRED]")
        async with connected(running, server, good) as client:
            assert b"LOGINDISABLED AUTH=EXTERNAL]" in await client.line()
            assert (await client.say(external())).startswith(b"a OK")


@pytest.mark.parametrize("why", ["expired", "revoked", "foreign"])
async def test_a_certificate_that_does_not_count_gets_nowhere(
    ca: OpensslCa, server: Certificate, tmp_path: Path, why: str, caplog: pytest.LogCaptureFixture
) -> None:
    if why == "foreign":
        pair = OpensslCa(tmp_path / "foreign", "Staff CA").issue(ANNA, mails=(USER,))
    elif why == "expired":
        pair = ca.expired(ANNA, mails=(USER,))
    else:
        pair = ca.issue(ANNA, mails=(USER,))
        ca.revoke(pair)
    caplog.set_level(logging.WARNING)
    async with imap(ca, server) as running:
        assert await first_line(running, server, pair) == b""
        assert await first_line(running, server, pair, starttls=True) == b""
    refused = [record for record in caplog.records if record.message == "client certificate refused"]
    assert len(refused) == 2


async def test_a_certificate_of_nobody_falls_back_to_the_password(
    ca: OpensslCa, server: Certificate, caplog: pytest.LogCaptureFixture
) -> None:
    stranger = ca.issue("/C=DE/O=Example/CN=Nobody", mails=("nobody@example.com",))
    async with imap(ca, server) as running, connected(running, server, stranger) as client:
        await client.line()
        assert (await client.say(external())).startswith(b"a NO [AUTHENTICATIONFAILED]")
        assert any(record.message == "the certificate means no account" for record in caplog.records)
        assert (await client.say(f'LOGIN {USER} "{PASSWORD}"')).startswith(b"a OK")


async def test_a_certificate_of_two_addresses_means_the_one_that_the_client_names(
    ca: OpensslCa, server: Certificate
) -> None:
    both = ca.issue("/C=DE/O=Example/CN=Both", mails=(USER, OTHER))
    async with imap(ca, server) as running, connected(running, server, both) as client:
        await client.line()
        assert (await client.say(external())).startswith(b"a NO [AUTHENTICATIONFAILED]")
        assert (await client.say(external(OTHER))).startswith(b"a OK")


async def test_an_administrator_acts_by_certificate(ca: OpensslCa, server: Certificate) -> None:
    admin = ca.issue("/C=DE/O=Example/CN=Admin", mails=("admin@example.com",))
    async with imap(ca, server) as running, connected(running, server, admin) as client:
        await client.line()
        assert (await client.say(external(OTHER))).startswith(b"a OK")


async def test_the_map_decides_and_is_read_again(
    ca: OpensslCa, server: Certificate, good: ClientPair, tmp_path: Path
) -> None:
    path = tmp_path / "certmap.conf"
    path.write_text("certmap staff CN=Staff CA, O=Example, C=DE\n")
    async with imap(ca, server, certmap=str(path)) as running, connected(running, server, good) as client:
        await client.line()
        assert (await client.say(external(USER))).startswith(b"a NO [AUTHORIZATIONFAILED]")
        path.write_text("certmap other CN=Other CA\n")
        assert (await client.say(external())).startswith(b"a NO [AUTHENTICATIONFAILED]")
        path.write_text("certmap default default\ndefault:DNComps\ndefault:FilterComps e\n")
        assert (await client.say(external(USER))).startswith(b"a OK")


async def test_pop3_asks_for_certificates_where_its_option_says_so(
    ca: OpensslCa, server: Certificate, good: ClientPair
) -> None:
    for asks in (True, False):
        async with (
            StoreFixture() as store,
            pop_service(
                store.client,
                store.bodies,
                directory=people(),
                certificate=server,
                pop=PopOptions(clientcertificates=asks),
                client_tls={"clientca": str(ca.cafile)},
            ) as service,
        ):
            context = good.context(server.client_context())
            client = Client(*await service.connect(tls=True, ssl=context, server_hostname="localhost"))
            await client.line()
            client.writer.write(b"AUTH EXTERNAL =\r\n")
            assert (await client.line()).startswith(b"+OK" if asks else b"-ERR")
            client.writer.close()


def shown(tls: ServerTls, name: str | None, **client: Any) -> tuple[bytes, str]:
    """The certificate and the protocol version that a client gets who asks for a name."""
    asking = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    asking.check_hostname = False
    asking.verify_mode = ssl.CERT_NONE
    for attribute, value in client.items():
        setattr(asking, attribute, value)
    ends = [ssl.MemoryBIO() for _ in range(2)]
    one = asking.wrap_bio(ends[0], ends[1], server_hostname=name)
    other = tls.context.wrap_bio(ends[1], ends[0], server_side=True)
    for _ in range(4):
        for end in (one, other):
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
    return one.getpeercert(True) or b"", one.version() or ""


def put(folder: Path, pair: ClientPair) -> bytes:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "tls.key").write_bytes(pair.keyfile.read_bytes())
    (folder / "tls.crt").write_bytes(pair.certfile.read_bytes())
    return ssl.PEM_cert_to_DER_cert(pair.certfile.read_text())


@pytest.mark.rfc("6066", "3")
def test_each_host_name_has_its_certificate_and_new_ones_are_taken_up(
    ca: OpensslCa, server: Certificate, tmp_path: Path
) -> None:
    one = put(tmp_path / "sni/one", ca.issue("/CN=one", hosts=("mail.one.example", "imap.one.example")))
    wild = put(tmp_path / "sni/wild", ca.issue("/CN=wild", hosts=("*.two.example",)))
    default = ssl.PEM_cert_to_DER_cert(server.certfile.read_text())
    options = replace(
        TlsOptions(), certfile=str(server.certfile), keyfile=str(server.keyfile), snifolder=str(tmp_path / "sni")
    )
    tls = ServerTls(options)
    expected = {
        "mail.one.example": one,
        "IMAP.one.example": one,
        "a.two.example": wild,
        "a.b.two.example": default,
        "elsewhere.example": default,
        None: default,
    }
    assert {name: shown(tls, name)[0] for name in expected} == expected
    renewed = put(tmp_path / "sni/one", ca.issue("/CN=renewed", hosts=("mail.one.example",)))
    three = put(tmp_path / "sni/three", ca.issue("/CN=three", hosts=("three.example",)))
    watched = configuration.files(Configuration(data="", tls=options))
    assert str(tmp_path / "sni/three/tls.key") in watched
    tls.load(options)
    assert shown(tls, "mail.one.example")[0] == renewed
    assert shown(tls, "three.example")[0] == three
    assert tls.context.endpoint is not None


def test_versions_and_cipher_suites_are_what_the_options_say(server: Certificate) -> None:
    options = replace(
        TlsOptions(),
        certfile=str(server.certfile),
        keyfile=str(server.keyfile),
        ciphers="ECDHE-ECDSA-AES256-GCM-SHA384",
    )
    tls = ServerTls(options)
    assert shown(tls, None, maximum_version=ssl.TLSVersion.TLSv1_2)[1] == "TLSv1.2"
    assert {suite["name"] for suite in tls.context.get_ciphers() if suite["protocol"] == "TLSv1.2"} == {
        "ECDHE-ECDSA-AES256-GCM-SHA384"
    }
    strict = ServerTls(replace(options, minversion="TLSv1.3"))
    with pytest.raises(ssl.SSLError):
        shown(strict, None, maximum_version=ssl.TLSVersion.TLSv1_2)
    assert shown(strict, None)[1] == "TLSv1.3"
    with pytest.raises(CertificateError, match="cipher suites nonsense"):
        ServerTls(replace(options, ciphers="nonsense"))
