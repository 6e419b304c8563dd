"""Frames and values of the store's contract, as octets."""

from __future__ import annotations

from array import array

import pytest
from google.rpc import status_pb2
from hypothesis import given
from hypothesis import strategies as st

from mailproto.store.v1 import bodies_pb2, exchange_pb2, mailboxes_pb2, messages_pb2
from services.common.domain import AccountId, BodyRef, MailboxDelta, MailboxId, MailboxStatus, Quota, Rows
from services.common.errors import Reason, StoreError
from services.common.storeclient import frames, values

NUMBERS = st.integers(0, (1 << 63) - 1)
UIDS = st.lists(st.integers(1, (1 << 32) - 1), max_size=50).map(lambda uids: array("I", uids))


@given(
    st.lists(
        st.tuples(NUMBERS, st.integers(1, (1 << 32) - 1), st.text(max_size=300), st.binary(max_size=24)), max_size=5
    ),
    st.lists(NUMBERS),
)
def test_a_frame_of_calls_is_what_protobuf_would_write(
    calls: list[tuple[int, int, str, bytes]], gone: list[int]
) -> None:
    expected = exchange_pb2.ExchangeRequest(cancelled=gone)
    octets = frames.cancelled(gone) if gone else b""
    for number, timeout, name, trace in calls:
        request = mailboxes_pb2.GetMailboxRequest(account_id=number, name=name)
        expected.calls.add(id=number, timeout_ms=timeout, trace=trace, get_mailbox=request)
        octets += b"".join(frames.call(number, timeout, "get_mailbox", request.SerializeToString(), trace))
    assert exchange_pb2.ExchangeRequest.FromString(octets) == expected


@given(st.lists(st.tuples(NUMBERS, st.binary(max_size=300), st.booleans()), max_size=5), NUMBERS)
def test_a_frame_of_answers_is_what_protobuf_would_write(answers: list[tuple[int, bytes, bool]], last: int) -> None:
    expected, octets = exchange_pb2.ExchangeResponse(), b""
    for number, uids, more in answers:
        reply = messages_pb2.ExpungeMessagesResponse(uids=uids)
        expected.answers.add(id=number, more=more, expunge_messages=reply)
        octets += b"".join(frames.answer(number, "expunge_messages", reply.SerializeToString(), more=more))
    status = status_pb2.Status(code=5, message="x")
    expected.answers.add(id=last, status=status)
    expected.answers.add(id=last)
    octets += b"".join(frames.answer(last, "status", status.SerializeToString())) + b"".join(frames.last_answer(last))
    assert exchange_pb2.ExchangeResponse.FromString(octets) == expected


@given(st.lists(st.binary(max_size=300), max_size=5))
def test_a_reply_of_bodies_is_what_protobuf_would_write(bodies: list[bytes]) -> None:
    octets = frames.bodies(bodies).SerializeToString()
    assert octets == bodies_pb2.ReadBodiesResponse(bodies=bodies).SerializeToString()


def test_a_reply_without_fields_is_a_reply() -> None:
    frame = exchange_pb2.ExchangeResponse.FromString(b"".join(frames.answer(1, "commit_maildrop", b"")))
    assert frame.answers[0].WhichOneof("reply") == "commit_maildrop"


STATUS = MailboxStatus(MailboxId(7), "Grüße/x", 3, 9, 12, 4, 3, 2, 1000, 5, "\\Sent", True, ("$Junk", "a"))


def test_a_mailbox_survives() -> None:
    assert values.read_mailbox(values.mailbox(STATUS)) == STATUS


@pytest.mark.parametrize("quota", [Quota(), Quota(0, None), Quota(None, 0), Quota(1 << 40, 7)])
def test_no_limit_and_a_limit_of_nothing_differ(quota: Quota) -> None:
    assert values.read_quota(values.quota(quota)) == quota


@given(st.lists(st.tuples(NUMBERS, NUMBERS), max_size=30), UIDS)
def test_a_delta_survives_in_parts_of_any_size(rows: list[tuple[int, int]], expunged: array[int]) -> None:
    changed = Rows(
        array("I", range(1, len(rows) + 1)), array("Q", [row[0] for row in rows]), array("Q", [row[1] for row in rows])
    )
    delta = MailboxDelta(AccountId(3), 5, STATUS, changed, expunged)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(values, "DELTA_ROWS", 4)
        first, *rest = values.deltas(delta)
    assert [part.continued for part in (first, *rest)] == [True] * len(rest) + [False]
    back = values.read_delta(first)
    for part in rest:
        values.extend_delta(back, part)
    assert back == delta


@given(st.lists(st.builds(BodyRef, st.binary(min_size=32, max_size=32), NUMBERS, NUMBERS, NUMBERS, st.binary())))
def test_references_survive(refs: list[BodyRef]) -> None:
    assert values.read_body_refs(values.body_refs(refs)) == refs


@pytest.mark.parametrize(
    "message",
    [
        messages_pb2.BodyRefs(lengths=b"12345678", segments=b"12345678", offsets=b"12345678"),
        messages_pb2.BodyRefs(lengths=b"1234567"),
        messages_pb2.BodyRefs(digests=b"x" * 64, lengths=b"1" * 8, segments=b"1" * 8, offsets=b"1" * 8),
        messages_pb2.BodyRefs(digests=b"x" * 31, lengths=b"1" * 8, segments=b"1" * 8, offsets=b"1" * 8),
    ],
)
def test_columns_that_do_not_fit_are_refused(message: messages_pb2.BodyRefs) -> None:
    with pytest.raises(StoreError) as caught:
        values.read_body_refs(message)
    assert caught.value.reason is Reason.INVALID_ARGUMENT
