"""Frames of Exchange put together from calls and answers that are octets already.

A frame is what `ExchangeRequest` or `ExchangeResponse` serialises to (the other side parses it as such). It is joined
here by the rules of the wire format (a message is the sequence of its fields), so that a request or reply is serialised
once, its size is known for nothing, and a megabyte is not copied from message to message.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from google.protobuf.descriptor import Descriptor

from mailproto.store.v1 import bodies_pb2, exchange_pb2

_VARINT, _LENGTH = 0, 2
_SMALL: Final = tuple(bytes((number,)) for number in range(128))

Entry = tuple[bytes, bytes]
"""A call or an answer inside a frame: everything before its request or reply, and that."""


def varint(number: int) -> bytes:
    """A number as the wire has it: seven bits an octet, lowest first."""
    if number < 128:
        return _SMALL[number]
    octets = bytearray()
    while number >= 128:
        octets.append(number & 127 | 128)
        number >>= 7
    octets.append(number)
    return bytes(octets)


def _tag(message: Descriptor, field: str, wire_type: int) -> bytes:
    return varint(message.fields_by_name[field].number << 3 | wire_type)


def _tags(message: Descriptor) -> Mapping[str, bytes]:
    return {
        field.name: varint(field.number << 3 | _LENGTH) for field in message.fields if field.message_type is not None
    }


_CALL: Final = exchange_pb2.Call.DESCRIPTOR
_ANSWER: Final = exchange_pb2.Answer.DESCRIPTOR
_CALLS: Final = _tag(exchange_pb2.ExchangeRequest.DESCRIPTOR, "calls", _LENGTH)
_CANCELLED: Final = _tag(exchange_pb2.ExchangeRequest.DESCRIPTOR, "cancelled", _LENGTH)
_ANSWERS: Final = _tag(exchange_pb2.ExchangeResponse.DESCRIPTOR, "answers", _LENGTH)
_CALL_ID: Final = _tag(_CALL, "id", _VARINT)
_TIMEOUT: Final = _tag(_CALL, "timeout_ms", _VARINT)
_TRACE: Final = _tag(_CALL, "trace", _LENGTH)
_ANSWER_ID: Final = _tag(_ANSWER, "id", _VARINT)
_MORE: Final = _tag(_ANSWER, "more", _VARINT) + b"\x01"
_BODIES: Final = _tag(bodies_pb2.ReadBodiesResponse.DESCRIPTOR, "bodies", _LENGTH)
_REQUESTS: Final = _tags(_CALL)
_REPLIES: Final = _tags(_ANSWER)


class Serialised:
    """A reply that is octets already, where a message would copy a megabyte in and out again."""

    __slots__ = ("_octets",)

    def __init__(self, octets: bytes) -> None:
        self._octets = octets

    def SerializeToString(self) -> bytes:  # noqa: N802 - as messages have it
        """The octets."""
        return self._octets


def bodies(messages: Sequence[bytes]) -> Serialised:
    """A `ReadBodiesResponse` of whole messages."""
    pieces: list[bytes] = []
    for message in messages:
        pieces += (_BODIES, varint(len(message)), message)
    return Serialised(b"".join(pieces))


def call(number: int, timeout_ms: int, name: str, request: bytes, trace: bytes = b"") -> Entry:
    """One `Call` of an `ExchangeRequest`; `name` is the field of its request."""
    head = _CALL_ID + varint(number) + _TIMEOUT + varint(timeout_ms)
    if trace:
        head += _TRACE + varint(len(trace)) + trace
    return _entry(_CALLS, head + _REQUESTS[name] + varint(len(request)), request)


def cancelled(numbers: list[int]) -> bytes:
    """The cancelled calls of an `ExchangeRequest`."""
    packed = b"".join(map(varint, numbers))
    return _CANCELLED + varint(len(packed)) + packed


def answer(number: int, name: str, reply: bytes, *, more: bool = False) -> Entry:
    """One `Answer` of an `ExchangeResponse`; `name` is the field of its reply, "status" for a refusal."""
    head = _ANSWER_ID + varint(number) + (_MORE if more else b"")
    return _entry(_ANSWERS, head + _REPLIES[name] + varint(len(reply)), reply)


def last_answer(number: int) -> Entry:
    """An `Answer` without a reply: a streamed method ended that has no more."""
    return _entry(_ANSWERS, _ANSWER_ID + varint(number), b"")


def _entry(tag: bytes, head: bytes, payload: bytes) -> Entry:
    return tag + varint(len(head) + len(payload)) + head, payload
