"""`python -m services.store`: one store for a folder, reloads, a drain, calls over TCP."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
import sys
import uuid
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import mkdtemp

import pytest

from services.common.domain import AppendItem, Quota
from services.common.errors import Reason, StoreError
from services.common.options import Configuration, StoreOptions
from services.common.storeclient import StoreClient, connect
from tests.support.authority import Authority

pytestmark = pytest.mark.faults
"""Each starts processes, which takes a second or two."""


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


class Store:
    """A data folder and the processes on it."""

    def __init__(self) -> None:
        self.data = Path(mkdtemp(prefix="mk"))  # short: the path of a socket has 107 bytes
        self.options = {"adminport": "0"}

    def configure(self, **options: str | int) -> None:
        """Write the configuration file."""
        self.options.update({name: str(value) for name, value in options.items()})
        lines = [f"  {name}: {value}\n" for name, value in self.options.items()]
        (self.data / "mailkeep.yaml").write_text("store:\n" + "".join(lines))

    async def start(self) -> Process:
        """One process."""
        environ = {**os.environ, "MAILKEEP_DATA": str(self.data)}
        return await asyncio.create_subprocess_exec(
            sys.executable, "-m", "services.store", env=environ, stderr=PIPE, cwd=Path(__file__).parents[3]
        )

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Process]:
        """A process until the end of the block, which it must leave well."""
        process = await self.start()
        try:
            yield process
            if process.returncode is None:
                process.send_signal(signal.SIGTERM)
            await process.communicate()
            assert process.returncode == 0
        finally:
            if process.returncode is None:
                process.kill()
                await process.communicate()

    @asynccontextmanager
    async def client(self, **options: str) -> AsyncIterator[StoreClient]:
        """A client of it."""
        configuration = Configuration(str(self.data), store=StoreOptions(**options))  # type: ignore[arg-type]
        client = connect(configuration, "admin")
        try:
            await client.wait_ready(10)
            yield client
        finally:
            await client.close()


@pytest.fixture
def store() -> Iterator[Store]:
    """A new folder."""
    store = Store()
    store.configure()
    yield store
    shutil.rmtree(store.data)


async def append(client: StoreClient, size: int) -> None:
    """A message of that size."""
    account = await client.open_account("ada")
    items = [AppendItem(b"Subject: x\r\n\r\n" + b"x" * size)]
    await client.append(account.account_id, "INBOX", items, Quota(), request_id=str(uuid.uuid4()))


async def test_what_was_accepted_is_there_after_a_restart_and_nobody_else_may_open_it(store: Store) -> None:
    async with store.running(), store.client() as client:
        await append(client, 10)
        second = await store.start()
        _, errors = await second.communicate()
        assert second.returncode == 1
        assert b"is in use by process" in errors
    assert not (store.data / "run" / "store.sock").exists()
    async with store.running(), store.client() as client:
        account = await client.open_account("ada", create=False)
        assert account.used_messages == 1


async def test_a_changed_option_is_taken_up_while_running(store: Store) -> None:
    async with store.running() as process, store.client() as client:
        await append(client, 100_000)
        store.configure(maxmessagesize=65_536)
        process.send_signal(signal.SIGHUP)
        async with asyncio.timeout(30):
            while True:
                try:
                    await append(client, 100_000)
                except StoreError as error:
                    refused = error
                    break
        assert refused.reason is Reason.MESSAGE_TOO_LARGE


@asynccontextmanager
async def over_tcp(store: Store, role: str) -> AsyncIterator[StoreClient]:
    """A running store, and a client over mutual TLS whose certificate names the role."""
    authority = Authority(store.data)
    (certfile, keyfile), (clientcertfile, clientkeyfile) = authority.issue("localhost"), authority.issue(role)
    files = {"certfile": certfile.name, "keyfile": keyfile.name, "cafile": authority.cafile.name}
    port = _free_port()
    store.configure(listen="127.0.0.1", port=port, **files)
    client_files = {"clientcertfile": clientcertfile.name, "clientkeyfile": clientkeyfile.name}
    async with store.running(), store.client(target=f"localhost:{port}", **files, **client_files) as client:
        yield client


async def test_calls_over_tcp_need_certificates_on_both_sides(store: Store) -> None:
    async with over_tcp(store, "admin") as client:
        await append(client, 10)
        assert await client.maintenance.backup(str(store.data / "copy")) > 0
        assert [finding async for finding in client.maintenance.check(bodies=True)] == []
        assert (await client.maintenance.compact()).segments == 0
        with pytest.raises(StoreError) as caught:
            await client.maintenance.backup(str(store.data / "copy"))
        assert caught.value.reason is Reason.INVALID_ARGUMENT
        assert "not empty" in caught.value.metadata["detail"]


async def test_the_role_of_backups_may_make_them_and_nothing_else(store: Store) -> None:
    async with over_tcp(store, "backup") as client:
        assert await client.maintenance.backup(str(store.data / "copy")) > 0
        for call in (client.open_account("ada"), client.maintenance.compact(), client.delete_account("ada")):
            with pytest.raises(StoreError) as caught:
                await call
            assert caught.value.reason is Reason.PERMISSION_DENIED


async def test_a_folder_that_cannot_be_used_is_named(store: Store) -> None:
    (store.data / "store").write_text("not a folder")
    process = await store.start()
    _, errors = await process.communicate()
    assert process.returncode == 1
    assert b"cannot be opened" in errors
