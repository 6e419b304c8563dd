"""The Unix socket and TCP with mutual TLS: who is let in, and as what."""

from __future__ import annotations

import asyncio
import os
import socket
import stat
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from services.common.errors import Reason, StoreError
from services.common.options import Configuration, StoreOptions
from services.common.storeclient import StoreClient, Target, connect
from services.common.storeclient.channel import open_channel, target_of
from services.store.backends.memory import open_memory
from services.store.mailstore import MailStore
from services.store.maintenance import NoMaintenance
from services.store.server import ListenError, StoreServer, listeners_of
from tests.support.authority import Authority
from tests.support.store import StoreFixture


async def test_only_the_same_user_may_use_the_socket() -> None:
    async with StoreFixture() as store:
        path = store.folder / store.configuration.store.socket
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_ISSOCK(path.stat().st_mode)
    assert not path.exists()


async def test_a_socket_that_a_killed_store_left_is_replaced() -> None:
    async with StoreFixture() as store:
        await store.stop()
        path = store.folder / store.configuration.store.socket
        with socket.socket(socket.AF_UNIX) as stale:
            stale.bind(str(path))
        await store.start()
        assert await store.client.open_account("ada")


@pytest.mark.parametrize("role", ["", "nobody", "root"])
async def test_a_role_that_is_not_in_the_table_is_not_let_in(role: str) -> None:
    async with StoreFixture() as store:
        client = connect(store.configuration, role)
        with pytest.raises(StoreError):
            await client.wait_ready(0.2)
        await client.close()


async def test_health_is_answered_to_everybody() -> None:
    async with StoreFixture() as store, open_channel(target_of(store.configuration)) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        for service in ("", "mailproto.store.v1.MessageService"):
            reply = await stub.Check(health_pb2.HealthCheckRequest(service=service), timeout=5)
            assert reply.status == health_pb2.HealthCheckResponse.SERVING


async def test_the_path_of_a_socket_may_be_too_long(tmp_path: Path) -> None:
    options = StoreOptions(socket="x" * 120)
    database, bodies = await open_memory()
    rules = MailStore(database, bodies)
    server = StoreServer(rules, NoMaintenance(), listeners_of(options, str(tmp_path)), lambda: 1 << 20)
    with pytest.raises(ListenError, match="100 bytes"):
        await server.start()
    await server.stop(0)
    await rules.close()
    await database.close()


class Tcp:
    """A store on a port of the loopback, with an authority of its own."""

    def __init__(self, folder: Path, listen: str = "127.0.0.1") -> None:
        self.folder = folder
        self.listen = listen
        self.authority = Authority(folder)
        self.certfile, self.keyfile = self.authority.issue("localhost")
        self.port = 0

    @asynccontextmanager
    async def serve(self) -> AsyncIterator[None]:
        """Run it."""
        socket_folder = await asyncio.to_thread(tempfile.mkdtemp, prefix="mk")
        database, bodies = await open_memory()
        rules = MailStore(database, bodies)
        options = StoreOptions(
            socket=f"{socket_folder}/run/store.sock",
            listen=self.listen,
            port=0,
            certfile=str(self.certfile),
            keyfile=str(self.keyfile),
            cafile=str(self.authority.cafile),
        )
        server = StoreServer(rules, NoMaintenance(), listeners_of(options, str(self.folder)), lambda: 1 << 20)
        try:
            await server.start()
            self.port = server.port
            yield
        finally:
            await server.stop(0)
            await rules.close()
            await bodies.close()
            await database.close()

    @asynccontextmanager
    async def client(self, certfile: Path, keyfile: Path, role: str = "admin") -> AsyncIterator[StoreClient]:
        """A client with that certificate, that says that role."""
        target = Target(f"localhost:{self.port}", str(self.authority.cafile), str(certfile), str(keyfile))
        configuration = Configuration(str(self.folder), store=StoreOptions(storewait=0))
        client = connect(configuration, role, target=target)
        try:
            yield client
        finally:
            await client.close()


@pytest.fixture
async def tcp(tmp_path: Path) -> AsyncIterator[Tcp]:
    """A running one."""
    tcp = Tcp(tmp_path)
    async with tcp.serve():
        yield tcp


@pytest.mark.parametrize("listen", ["*", "0.0.0.0", "::1", "localhost"])
async def test_it_listens_where_the_option_says(tmp_path: Path, listen: str) -> None:
    tcp = Tcp(tmp_path, listen)
    async with tcp.serve(), tcp.client(*tcp.authority.issue("imap")) as client:
        await client.wait_ready(5)
        assert await client.open_account("ada")


async def test_the_certificate_names_the_role_whatever_the_client_says(tcp: Tcp) -> None:
    async with tcp.client(*tcp.authority.issue("imap"), role="admin") as client:
        await client.wait_ready(5)
        account = await client.open_account("ada")
        assert await client.list_mailboxes(account.account_id)
        for call in (client.delete_account("ada"), client.deliver([], b"", request_id="1")):
            with pytest.raises(StoreError) as caught:
                await call
            assert caught.value.reason is Reason.PERMISSION_DENIED


async def test_a_name_of_the_cluster_gives_the_role_too(tcp: Tcp) -> None:
    async with tcp.client(*tcp.authority.issue("", "lmtp.mail.svc", "lmtp.mail.svc.cluster.local")) as client:
        await client.wait_ready(5)
        with pytest.raises(StoreError) as caught:
            await client.list_mailboxes((await client.open_account("ada")).account_id)
        assert caught.value.reason is Reason.PERMISSION_DENIED


async def test_a_certificate_without_a_role_is_not_let_in(tcp: Tcp) -> None:
    async with tcp.client(*tcp.authority.issue("webmail"), role="imap") as client:
        with pytest.raises(StoreError):
            await client.wait_ready(0.3)


async def test_a_certificate_of_another_authority_is_not_let_in(tcp: Tcp, tmp_path: Path) -> None:
    os.mkdir(tmp_path / "other")
    async with tcp.client(*Authority(tmp_path / "other", "other").issue("imap")) as client:
        with pytest.raises(StoreError):
            await client.wait_ready(0.3)


async def test_a_renewed_certificate_is_taken_up_without_a_restart(tcp: Tcp) -> None:
    renewed = Authority(tcp.folder, "renewed")
    certfile, keyfile = renewed.issue("localhost")
    for new, old in ((renewed.cafile, tcp.authority.cafile), (keyfile, tcp.keyfile), (certfile, tcp.certfile)):
        if new != old:
            os.replace(new, old)
    async with tcp.client(*renewed.issue("imap")) as client:
        await client.wait_ready(5)
        assert await client.open_account("ada")


async def test_a_client_takes_its_renewed_certificate_up(tcp: Tcp) -> None:
    certfile, keyfile = tcp.authority.issue("imap")
    async with tcp.client(certfile, keyfile) as client:
        await client.wait_ready(5)
        before = await client.list_mailboxes((await client.open_account("ada")).account_id)
        for new, old in zip(tcp.authority.issue("admin"), (certfile, keyfile), strict=True):
            os.replace(new, old)
        # The next call of its own, and the next stream, come with the new name.
        await client.delete_account("ada")
        assert before


async def test_files_that_are_missing_are_named(tmp_path: Path) -> None:
    tcp = Tcp(tmp_path)
    tcp.keyfile = tmp_path / "none.pem"
    with pytest.raises(ListenError, match=r"none\.pem"):
        async with tcp.serve():
            pass
