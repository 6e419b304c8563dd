"""Logins that are refused, quotas, and LIST over many mailboxes, against the running service."""

from __future__ import annotations

import pytest

from services.common.directory import LoginRefusal, Status
from services.common.domain import DELETED, Account, AppendItem, FlagChange, FlagOperation, Quota
from services.common.options import ImapOptions
from services.imap.handlers import COMMANDS, notauth
from services.imap.wire.grammar import GRAMMAR
from tests.support.imap import USER, Client, RunningImap, local_imap
from tests.support.people import PASSWORD, People

LOGIN = f'LOGIN {USER} "{PASSWORD}"'


async def greeted(running: RunningImap) -> Client:
    client = Client(*await running.connect())
    running.clients.append(client)
    await client.line()
    return client


def test_every_command_of_the_grammar_has_a_handler_and_the_other_way_round() -> None:
    assert set(COMMANDS) == {row.name for row in GRAMMAR.values()}


def test_every_way_to_be_refused_has_an_answer() -> None:
    assert set(notauth.LOGIN_REFUSALS) == set(LoginRefusal)


@pytest.mark.rfc("5530", "3")
async def test_an_account_that_may_not_log_in_is_told_so_only_with_the_right_password() -> None:
    async with local_imap(people=People({USER: PASSWORD}, {USER: Status.INACTIVE})) as running:
        client = await greeted(running)
        assert (await client.do(f"LOGIN {USER} wrong"))[-1].startswith(b"NO [AUTHENTICATIONFAILED]")
        assert (await client.do(LOGIN))[-1].startswith(b"NO [CONTACTADMIN]")


@pytest.mark.rfc("5530", "3")
async def test_a_directory_that_is_away_is_unavailable() -> None:
    people = People({USER: PASSWORD}, away=True)
    async with local_imap(people=people) as running:
        client = await greeted(running)
        assert (await client.do(LOGIN))[-1].startswith(b"NO [UNAVAILABLE]")
        people.away = False
        await client.ok(LOGIN)


async def test_an_account_has_so_many_sessions() -> None:
    async with local_imap(imap=ImapOptions(maxsessionsperuser=1)) as running:
        await running.client()
        second = await greeted(running)
        assert (await second.do(LOGIN))[-1].startswith(b"NO [LIMIT]")


@pytest.mark.rfc("9051", "7.1")
async def test_an_append_over_quota_is_overquota() -> None:
    async with local_imap(people=People({USER: PASSWORD}, quota=Quota(max_bytes=100))) as running:
        client = await running.client()
        await client.ok(b"APPEND INBOX {60+}\r\n" + b"x" * 60)
        assert (await client.do(b"APPEND INBOX {60+}\r\n" + b"x" * 60))[-1].startswith(b"NO [OVERQUOTA]")
        assert (await client.do("STATUS INBOX (MESSAGES)"))[0] == b"* STATUS INBOX (MESSAGES 1)"


@pytest.mark.rfc("9051", "6.3.9")
async def test_a_long_list_is_complete() -> None:
    async with local_imap() as running:
        client = await running.client()
        for number in range(600):
            client.send(f"CREATE box/{number:03}")
            await client.line()
        assert len(await client.ok('LIST "" "b%/*"')) == 600
        assert len(await client.ok('LIST "" "*/*5"')) == 60
        assert await client.ok('LIST "" "box/%99"') == [
            b'* LIST (\\HasNoChildren) "/" box/%d99' % hundred for hundred in range(6)
        ]


async def test_a_message_in_the_middle_of_login_is_not_lost() -> None:
    async with local_imap() as running:
        client = await greeted(running)
        data = f'a LOGIN {USER} "{PASSWORD}"\r\nb APPEND INBOX {{3+}}\r\nabc\r\nc STATUS INBOX (MESSAGES)\r\n'.encode()
        for byte in data:
            client.writer.write(bytes([byte]))
            await client.writer.drain()
        assert (await client.answer(b"c"))[-2] == b"* STATUS INBOX (MESSAGES 1)"


@pytest.mark.parametrize("first", ["SELECT INBOX", "STATUS INBOX (MESSAGES)", 'LIST "" *', "CREATE Work", "APPEND"])
async def test_an_account_that_was_deleted_is_made_again_under_the_running_service(first: str) -> None:
    async with local_imap([b"Subject: old\r\n\r\nOld.\r\n"]) as running:
        before = await running.client()
        assert b"* 1 EXISTS" in await before.ok("SELECT INBOX")
        await before.ok("LOGOUT")
        await running.store.delete_account(USER)
        again = await running.client()
        await again.ok("APPEND INBOX {3+}\r\nnew" if first == "APPEND" else first)
        expected = int(first == "APPEND")
        assert b"* %d EXISTS" % expected in await again.ok("SELECT INBOX")


async def test_who_looked_at_a_deleted_account_does_not_get_the_new_one() -> None:
    async with local_imap([b"Subject: old\r\n\r\nOld.\r\n"]) as running:
        old = await running.client(select="INBOX")
        await running.store.delete_account(USER)
        await running.store.open_account(USER)
        assert (await old.do("STATUS INBOX (MESSAGES)"))[-1].startswith(b"NO [CONTACTADMIN]")
        assert (await old.do("SELECT INBOX"))[-1].startswith(b"NO [CONTACTADMIN]")


async def test_a_login_that_is_known_asks_the_store_nothing() -> None:
    async with local_imap() as running:
        await (await running.client()).ok("LOGOUT")
        opened: list[str] = []
        ask = running.store.open_account

        async def counted(name: str, *, create: bool = True) -> Account:
            opened.append(name)
            return await ask(name, create=create)

        running.store.open_account = counted  # type: ignore[method-assign]
        await (await running.client()).ok("LOGOUT")
        assert not opened


@pytest.mark.rfc("9051", "6.3.12")
async def test_a_large_message_is_not_asked_for_where_it_has_no_room() -> None:
    people = People({USER: PASSWORD}, quota=Quota(max_bytes=100_000))
    async with local_imap(people=people) as running:
        client = await running.client()
        assert await client.do("APPEND INBOX {100001}") == [b"NO [OVERQUOTA] The account is at its quota"]
        tag = client.send("APPEND INBOX {70000}")
        assert (await client.line()).startswith(b"+ ")
        client.writer.write(bytes(70_000).replace(b"\0", b"x") + b"\r\n")
        assert (await client.answer(tag))[-1].startswith(tag + b" OK")
        assert await client.do("APPEND INBOX {70000}") == [b"NO [OVERQUOTA] The account is at its quota"]


@pytest.mark.rfc("3501", "6.3.10")
async def test_recent_counts_what_is_there() -> None:
    async with local_imap([b"Subject: old\r\n\r\nOld.\r\n"] * 3) as running:
        client = await running.client(select="INBOX")
        await client.ok("UNSELECT")
        account_id = (await running.store.open_account(USER)).account_id
        new = [AppendItem(b"Subject: new\r\n\r\nNew.\r\n")] * 4
        mailbox_id = (await running.store.append(account_id, "INBOX", new, Quota(), request_id="new")).mailbox_id
        assert await client.ok("STATUS INBOX (RECENT)") == [b"* STATUS INBOX (RECENT 4)"]
        await running.store.modify_flags(account_id, mailbox_id, [1, 5, 6], FlagChange(FlagOperation.ADD, DELETED))
        await running.store.expunge(account_id, mailbox_id)
        assert await client.ok("STATUS INBOX (RECENT MESSAGES)") == [b"* STATUS INBOX (RECENT 2 MESSAGES 4)"]
        listed = await client.ok('LIST "" INBOX RETURN (STATUS (RECENT))')
        assert listed[-1] == b"* STATUS INBOX (RECENT 2)"
