"""A password and a name beyond ASCII, set in the users file: every login of every protocol finds them (RFC 4013)."""

from __future__ import annotations

import asyncio
from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Literal
from unicodedata import normalize

import pytest

from services.common.directory.users import UsersFileDirectory
from services.common.directory.usersfile import UsersFile, UsersFileError
from services.common.live import Live
from services.common.options import DirectoryOptions
from services.common.passwords import verify
from tests.support.imap import Client, local_imap
from tests.support.pop import pop_service
from tests.support.store import StoreFixture

NAME = "jürgen@example.com"
PASSWORD = "Größe Ⅸ ﬁ"
Form = Literal["NFC", "NFD", "NFKD"]
FORMS: tuple[Form, ...] = ("NFC", "NFD", "NFKD")


@asynccontextmanager
async def people(folder: Path, form: Form) -> AsyncIterator[UsersFileDirectory]:
    path = folder / "users.yaml"
    await asyncio.to_thread(UsersFile(path).add, normalize(form, NAME), normalize(form, PASSWORD))
    directory = UsersFileDirectory(Live(DirectoryOptions(usersfile=str(path))))
    try:
        yield directory
    finally:
        directory.close()


def forms() -> list[tuple[str, str]]:
    return [(normalize(form, NAME), normalize(form, PASSWORD)) for form in FORMS]


def literal(text: str) -> bytes:
    return b"{%d+}\r\n%b" % (len(text.encode()), text.encode())


def base64(text: str) -> str:
    return b64encode(text.encode()).decode()


@pytest.mark.rfc("4013", "2")
@pytest.mark.parametrize("stored", FORMS)
async def test_imap_login_and_authenticate(tmp_path: Path, stored: Form) -> None:
    async with people(tmp_path, stored) as directory, local_imap(people=directory) as running:
        for name, password in forms():
            await _imap(running.connect, b"LOGIN %b %b" % (literal(name), literal(password)))
            await _imap(running.connect, "AUTHENTICATE PLAIN " + base64(f"\0{name}\0{password}"))
            await _imap(running.connect, f"AUTHENTICATE LOGIN {base64(name)}", base64(password))


async def _imap(connect: object, command: bytes | str, response: str = "") -> None:
    client = Client(*await connect())  # type: ignore[operator]
    await client.line()
    tag = client.send(command)
    if response:
        assert (await client.line()).startswith(b"+ ")
        client.writer.write(response.encode() + b"\r\n")
    assert (await client.answer(tag))[-1].startswith(tag + b" OK")
    await client.close()


@pytest.mark.rfc("6856", "2.2")
async def test_pop_user_and_auth(tmp_path: Path) -> None:
    async with (
        people(tmp_path, "NFD") as directory,
        StoreFixture() as store,
        pop_service(store.client, store.bodies, directory=directory) as service,
    ):
        for name, password in forms():
            for lines in (
                [f"USER {name}", f"PASS {password}"],
                ["AUTH PLAIN " + base64(f"\0{name}\0{password}")],
                ["AUTH LOGIN " + base64(name), base64(password)],
            ):
                reader, writer = await service.connect()
                await reader.readline()
                for line in lines:
                    writer.write(line.encode() + b"\r\n")
                    assert (await reader.readline())[:1] == b"+"
                writer.write(b"QUIT\r\n")
                assert (await reader.readline()).startswith(b"+OK")
                writer.close()


@pytest.mark.rfc("4013", "2.3")
async def test_what_cannot_be_a_password_is_wrong() -> None:
    async with local_imap() as running:
        client = Client(*await running.connect())
        await client.line()
        answer = await client.do(b"LOGIN anna@example.com {3+}\r\n\xee\x80\x80")
        assert answer[-1].startswith(b"NO [AUTHENTICATIONFAILED]")
        await client.close()


@pytest.mark.rfc("4013", "2")
def test_a_password_is_set_in_its_prepared_form(tmp_path: Path) -> None:
    users = UsersFile(tmp_path / "users.yaml")
    users.add("anna@example.com", "a\u00adb\u00a0c")
    assert verify(users.users().by_name["anna@example.com"].password, "ab c")
    users.set_password("anna@example.com", normalize("NFD", "é"))
    before = users.users()
    assert verify(before.by_name["anna@example.com"].password, "é")
    for password in ("a\u0007b", "\ue000", "\u00ad"):
        with pytest.raises(UsersFileError, match="cannot be used"):
            users.set_password("anna@example.com", password)
    assert users.users() == before


@pytest.mark.parametrize("name", ["a\ufe0f@example.com", "\u0627a@example.com"])
def test_a_name_that_cannot_log_in_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsersFileError, match="RFC 8265"):
        UsersFile(tmp_path / "users.yaml").add(name)
