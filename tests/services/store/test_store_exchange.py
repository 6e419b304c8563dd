"""Exchange over the real server: frames, order, bounds, deadlines, permissions."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable

import grpc
import pytest

from mailproto.store.v1 import (
    accounts_pb2,
    accounts_pb2_grpc,
    exchange_pb2,
    mailboxes_pb2,
    mailboxes_pb2_grpc,
    messages_pb2,
)
from services.common.domain import AccountId, Column, MailboxId, MailboxStatus
from services.common.errors import Reason, StoreError
from services.common.storeclient import connection, exchange
from services.common.storeclient.channel import CONTRACT, metadata_of, open_channel, target_of
from services.common.storeclient.status import error_of, error_of_call
from services.common.storeclient.streams import GrpcStream, SocketStream, Stream
from services.store.roles import ROLES
from services.store.servicers import exchange as serving
from services.store.servicers.caller import Caller
from tests.support.store import StoreFixture

Frames = list[exchange_pb2.ExchangeRequest]


@pytest.fixture
async def store() -> AsyncIterator[StoreFixture]:
    """A store in memory with one account."""
    async with StoreFixture() as fixture:
        await fixture.account()
        yield fixture


@pytest.fixture
def held(store: StoreFixture, monkeypatch: pytest.MonkeyPatch) -> dict[str, asyncio.Event]:
    """`held[name]` holds GetMailbox of that name back until it is set."""
    events: dict[str, asyncio.Event] = {}
    real = store.store.get_mailbox

    async def get_mailbox(account_id: AccountId, name: str) -> MailboxStatus:
        if name in events:
            await events[name].wait()
        return await real(account_id, name)

    monkeypatch.setattr(store.store, "get_mailbox", get_mailbox)
    return events


@pytest.fixture
def received(monkeypatch: pytest.MonkeyPatch) -> Frames:
    """The frames that the server gets."""
    frames: Frames = []
    real = serving._Calls.start

    def start(self: serving._Calls, frame: exchange_pb2.ExchangeRequest) -> None:
        frames.append(frame)
        real(self, frame)

    monkeypatch.setattr(serving._Calls, "start", start)
    return frames


ONE = AccountId(1)


async def test_calls_of_one_moment_share_a_frame(store: StoreFixture, received: Frames) -> None:
    await asyncio.gather(*(store.client.get_mailbox(ONE, "INBOX") for _ in range(50)))
    assert [len(frame.calls) for frame in received] == [50]


async def test_calls_gather_while_a_frame_is_written(store: StoreFixture, received: Frames) -> None:
    async def caller() -> None:
        for _ in range(20):
            await store.client.get_mailbox(ONE, "INBOX")

    await asyncio.gather(*(caller() for _ in range(20)))
    assert sum(len(frame.calls) for frame in received) == 400
    assert len(received) < 100


async def test_answers_find_their_calls_in_any_order(store: StoreFixture, held: dict[str, asyncio.Event]) -> None:
    names = ["INBOX", "Archive", "Drafts", "Junk", "Sent", "Trash"]
    held.update((name, asyncio.Event()) for name in names)
    calls = {name: asyncio.create_task(store.client.get_mailbox(ONE, name)) for name in names for _ in range(3)}
    for name in random.sample(names, len(names)):
        assert not calls[name].done()
        held[name].set()
        assert (await calls[name]).name == name


async def test_a_slow_call_holds_no_other_back(store: StoreFixture, held: dict[str, asyncio.Event]) -> None:
    held["Junk"] = asyncio.Event()
    slow = asyncio.create_task(store.client.get_mailbox(ONE, "Junk"))
    for _ in range(5):
        assert (await store.client.get_mailbox(ONE, "INBOX")).name == "INBOX"
    assert not slow.done()
    held["Junk"].set()
    assert (await slow).name == "Junk"


async def _until(check: Callable[..., bool]) -> None:
    async with asyncio.timeout(30):
        while not check():  # noqa: ASYNC110 - what is looked at tells nobody
            await asyncio.sleep(0.005)


async def test_no_more_than_a_window_runs_and_the_rest_follows(
    store: StoreFixture, held: dict[str, asyncio.Event], received: Frames, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exchange, "WINDOW", 10)
    held["Junk"] = asyncio.Event()
    calls = [asyncio.create_task(store.client.get_mailbox(ONE, "Junk")) for _ in range(35)]
    await _until(lambda: sum(len(frame.calls) for frame in received) >= 10)
    assert sum(len(frame.calls) for frame in received) == 10
    held["Junk"].set()
    await asyncio.gather(*calls)
    assert max(len(frame.calls) for frame in received) == 10


async def test_the_server_reads_no_further_while_its_window_is_full(
    store: StoreFixture, held: dict[str, asyncio.Event], received: Frames, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serving, "WINDOW", 3)
    held["Junk"] = asyncio.Event()
    calls = []
    for number in range(3):
        calls.append(asyncio.create_task(store.client.get_mailbox(ONE, "Junk")))
        await _until(lambda so_far=number: len(received) > so_far)
    for _ in range(2):
        calls.append(asyncio.create_task(store.client.get_mailbox(ONE, "Junk")))
        await asyncio.sleep(0.02)
    assert len(received) == 3
    held["Junk"].set()
    await asyncio.gather(*calls)


async def test_a_call_ends_with_its_deadline_on_both_sides(
    store: StoreFixture, held: dict[str, asyncio.Event], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "SECONDS", 0.05)
    held["Junk"] = asyncio.Event()
    with pytest.raises(StoreError) as caught:
        await store.client.get_mailbox(ONE, "Junk")
    assert caught.value.reason is Reason.DEADLINE_EXCEEDED
    assert (await store.client.get_mailbox(ONE, "INBOX")).name == "INBOX"


async def test_a_caller_that_goes_is_told_to_the_store(store: StoreFixture, held: dict[str, asyncio.Event]) -> None:
    held["Junk"] = asyncio.Event()
    cancelled = asyncio.Event()
    real = store.store.get_mailbox

    async def get_mailbox(account_id: AccountId, name: str) -> MailboxStatus:
        try:
            return await real(account_id, name)
        except asyncio.CancelledError:
            cancelled.set()
            raise

    store.store.get_mailbox = get_mailbox  # type: ignore[method-assign]
    call = asyncio.create_task(store.client.get_mailbox(ONE, "Junk"))
    await asyncio.sleep(0.05)
    call.cancel()
    async with asyncio.timeout(30):
        await cancelled.wait()


async def test_a_call_that_is_given_up_before_it_began_is_over(store: StoreFixture) -> None:
    assert store._server is not None
    caller = Caller("imap", "imap/test", ROLES["imap"])
    calls = serving._Calls(store._server.desk, caller, serving._Answers(None))  # type: ignore[arg-type]
    request = mailboxes_pb2.GetMailboxRequest(account_id=1, name="INBOX")
    calls.start(exchange_pb2.ExchangeRequest(calls=[exchange_pb2.Call(id=1, timeout_ms=1000, get_mailbox=request)]))
    calls.start(exchange_pb2.ExchangeRequest(cancelled=[1]))
    async with asyncio.timeout(30):
        for _ in range(3):
            await asyncio.sleep(0)
        assert not calls._running
        await calls.finish()


async def test_a_refusal_concerns_its_call_only(store: StoreFixture) -> None:
    good, bad = await asyncio.gather(
        store.client.get_mailbox(ONE, "INBOX"), store.client.get_mailbox(ONE, "None"), return_exceptions=True
    )
    assert isinstance(good, MailboxStatus)
    assert isinstance(bad, StoreError)
    assert bad.reason is Reason.MAILBOX_NOT_FOUND


async def test_a_bug_is_told_as_internal_and_costs_its_call_only(
    store: StoreFixture, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken(account_id: AccountId, name: str) -> MailboxStatus:
        raise ZeroDivisionError("private")

    monkeypatch.setattr(store.store, "get_mailbox", broken)
    with pytest.raises(StoreError) as caught:
        await store.client.get_mailbox(ONE, "INBOX")
    assert (caught.value.reason, dict(caught.value.metadata)) == (Reason.INTERNAL, {})
    assert "private" in caplog.text
    assert await store.client.list_mailboxes(ONE)


async def test_streamed_replies_come_whole_over_frames(store: StoreFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.store.servicers.mailboxes.CHUNK", 2)
    monkeypatch.setattr(serving, "OUTBOX_BYTES", 1)
    assert len(await store.client.list_mailboxes(ONE)) == 6
    assert len(await store.client.list_subscriptions(ONE)) == 6
    empty = await store.client.open_account("other")
    for name in await store.client.list_subscriptions(empty.account_id):
        await store.client.subscribe(empty.account_id, name, False)
    assert await store.client.list_subscriptions(empty.account_id) == []


class _Stream:
    """An Exchange stream by hand."""

    def __init__(self, stream: Stream) -> None:
        self.stream = stream

    async def ask(self, *calls: exchange_pb2.Call) -> dict[int, exchange_pb2.Answer]:
        """Send one frame; the answers by their ids."""
        await self.stream.write(exchange_pb2.ExchangeRequest(calls=calls).SerializeToString())
        answers: dict[int, exchange_pb2.Answer] = {}
        while len(answers) < len(calls):
            frame = await self.stream.read()
            assert frame is not None
            answers.update((answer.id, answer) for answer in frame.answers)
        return answers


@pytest.fixture(params=["grpc", "socket"])
async def pop(store: StoreFixture, request: pytest.FixtureRequest) -> AsyncIterator[_Stream]:
    """A stream of the role pop, over either carrier."""
    target, metadata = target_of(store.configuration), metadata_of("pop", "test")
    channel = open_channel(target)
    stream = GrpcStream(channel, metadata) if request.param == "grpc" else SocketStream(target.frames, metadata)
    assert await stream.greeting() == CONTRACT
    yield _Stream(stream)
    stream.cancel()
    await channel.close()


def _call(number: int, timeout_ms: int = 5_000) -> exchange_pb2.Call:
    request = mailboxes_pb2.GetMailboxRequest(account_id=1, name="INBOX")
    return exchange_pb2.Call(id=number, timeout_ms=timeout_ms, get_mailbox=request)


async def test_permissions_hold_for_each_call_of_a_frame(pop: _Stream) -> None:
    create = mailboxes_pb2.CreateMailboxRequest(account_id=1, name="New")
    answers = await pop.ask(_call(1), exchange_pb2.Call(id=2, timeout_ms=5_000, create_mailbox=create))
    assert answers[1].get_mailbox.mailbox.name == "INBOX"
    assert error_of(answers[2].status).reason is Reason.PERMISSION_DENIED


async def test_calls_that_make_no_sense_are_refused_by_themselves(pop: _Stream) -> None:
    answers = await pop.ask(_call(1), _call(2, timeout_ms=0), exchange_pb2.Call(id=3, timeout_ms=5_000))
    assert answers[1].get_mailbox.mailbox.name == "INBOX"
    assert [error_of(answers[number].status).reason for number in (2, 3)] == [Reason.INVALID_ARGUMENT] * 2


async def test_the_store_gives_a_call_up_whose_time_is_over(
    pop: _Stream, held: dict[str, asyncio.Event], monkeypatch: pytest.MonkeyPatch
) -> None:
    held["INBOX"] = asyncio.Event()
    answers = await pop.ask(_call(1, timeout_ms=1))
    assert error_of(answers[1].status).reason is Reason.DEADLINE_EXCEEDED


async def test_unary_methods_answer_and_refuse_as_exchange_does(store: StoreFixture) -> None:
    async with open_channel(target_of(store.configuration)) as channel:
        mailboxes = mailboxes_pb2_grpc.MailboxServiceStub(channel)
        pop = metadata_of("pop", "test")
        reply = await mailboxes.GetMailbox(
            mailboxes_pb2.GetMailboxRequest(account_id=1, name="INBOX"), metadata=pop, timeout=5
        )
        assert reply.mailbox.name == "INBOX"
        listed = mailboxes.ListMailboxes(
            mailboxes_pb2.ListMailboxesRequest(account_id=1), metadata=metadata_of("imap", "test"), timeout=5
        )
        assert sum([len(part.mailboxes) async for part in listed]) == 6
        for call, metadata, reason in (
            (mailboxes.GetMailbox(mailboxes_pb2.GetMailboxRequest(account_id=1, name="x"), metadata=pop, timeout=5),
             pop, Reason.MAILBOX_NOT_FOUND),
            (accounts_pb2_grpc.AccountServiceStub(channel).DeleteAccount(
                accounts_pb2.DeleteAccountRequest(name="ada@example.org"), metadata=pop, timeout=5),
             pop, Reason.PERMISSION_DENIED),
            (mailboxes.GetMailbox(mailboxes_pb2.GetMailboxRequest(account_id=1, name="INBOX"), timeout=5),
             (), Reason.PERMISSION_DENIED),
        ):  # fmt: skip
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await call
            assert error_of_call(caught.value).reason is reason, metadata


async def test_a_request_above_the_largest_frame_is_refused_before_it_is_sent(
    store: StoreFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exchange, "MAX_REQUEST", 100)
    with pytest.raises(StoreError) as caught:
        await store.client.get_mailbox(ONE, "x" * 200)
    assert caught.value.reason is Reason.RESOURCE_EXHAUSTED
    assert await store.client.get_mailbox(ONE, "INBOX")


async def test_a_reply_above_the_largest_frame_is_refused_by_itself(
    store: StoreFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serving, "MAX_REPLY", 100)
    with pytest.raises(StoreError) as caught:
        await store.client.list_mailboxes(ONE)
    assert caught.value.reason is Reason.RESOURCE_EXHAUSTED


async def test_bad_columns_are_refused(store: StoreFixture) -> None:
    with pytest.raises(StoreError) as caught:
        await store.client.fetch_columns(ONE, MailboxId(1), Column(1 << 20))
    assert caught.value.reason is Reason.INVALID_ARGUMENT


@pytest.mark.parametrize(
    "request_",
    [
        messages_pb2.BatchModifyFlagsRequest(),
        messages_pb2.BatchModifyFlagsRequest(
            account_ids=bytes(8), mailbox_ids=bytes(8), uids=bytes(8), operations=b"\2", system=b"\1"
        ),
        messages_pb2.BatchModifyFlagsRequest(
            account_ids=bytes(8), mailbox_ids=bytes(8), uids=bytes(4), operations=b"\7", system=b"\1"
        ),
        messages_pb2.BatchModifyFlagsRequest(
            account_ids=bytes(8), mailbox_ids=bytes(7), uids=bytes(4), operations=b"\2", system=b"\1"
        ),
        messages_pb2.BatchModifyFlagsRequest(
            account_ids=bytes(8 * 513),
            mailbox_ids=bytes(8 * 513),
            uids=bytes(4 * 513),
            operations=b"\2" * 513,
            system=bytes(513),
        ),
    ],
    ids=["none", "more uids", "operation", "half a number", "too many"],
)
async def test_columns_of_changes_that_do_not_fit(
    store: StoreFixture, request_: messages_pb2.BatchModifyFlagsRequest
) -> None:
    with pytest.raises(StoreError) as caught:
        await store.client._connection.parts("batch_modify_flags", request_)
    assert caught.value.reason is Reason.INVALID_ARGUMENT
