"""The servicers' tables as gRPC handlers, and the one place where a call's role is checked and its failure told."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import aclosing, asynccontextmanager
from operator import methodcaller
from time import perf_counter
from typing import Any, Final, Generic, TypeVar

import grpc
from google.protobuf.message_factory import GetMessageClass

from mailproto.store.v1 import (
    accounts_pb2,
    bodies_pb2,
    changes_pb2,
    delivery_pb2,
    emails_pb2,
    exchange_pb2,
    logins_pb2,
    mailboxes_pb2,
    maildrop_pb2,
    maintenance_pb2,
    messages_pb2,
    sessions_pb2,
)
from services.common.storeclient.channel import CONTRACT, GREETING_KEY
from services.store.servicers import (
    accounts,
    bodies,
    changes,
    delivery,
    emails,
    exchange,
    logins,
    mailboxes,
    maildrop,
    maintenance,
    messages,
    sessions,
)
from services.store.servicers.caller import Caller, caller_of, context_of
from services.store.servicers.desk import Desk
from services.store.servicers.method import Handler, requests
from services.store.status import ServicerContext, abort, refusal

Request = TypeVar("Request")
Reply = TypeVar("Reply")

TABLES: Final = (
    (accounts_pb2, accounts.HANDLERS),
    (bodies_pb2, bodies.HANDLERS),
    (changes_pb2, changes.HANDLERS),
    (delivery_pb2, delivery.HANDLERS),
    (emails_pb2, emails.HANDLERS),
    (exchange_pb2, exchange.HANDLERS),
    (logins_pb2, logins.HANDLERS),
    (mailboxes_pb2, mailboxes.HANDLERS),
    (maildrop_pb2, maildrop.HANDLERS),
    (maintenance_pb2, maintenance.HANDLERS),
    (messages_pb2, messages.HANDLERS),
    (sessions_pb2, sessions.HANDLERS),
)
"""The contract's files, each with one service, and who answers it."""


class _Link(Generic[Request, Reply]):
    """`Link` over a call's context."""

    def __init__(self, context: ServicerContext) -> None:
        self._context = context

    async def read(self) -> Request | None:
        request = await self._context.read()
        return None if request is grpc.aio.EOF else request

    async def write(self, reply: Reply) -> None:
        await self._context.write(reply)


def service_handlers(desk: Desk) -> Iterator[grpc.GenericRpcHandler]:
    """Every service of the contract."""
    for file, table in TABLES:
        for service in file.DESCRIPTOR.services_by_name.values():
            methods = {method.name: _method_handler(desk, method, table[method.name]) for method in service.methods}
            yield grpc.method_handlers_generic_handler(service.full_name, methods)


def _method_handler(desk: Desk, method: Any, handler: Handler) -> Any:
    make, behave = _KINDS[method.client_streaming, method.server_streaming]
    reply = GetMessageClass(method.output_type)
    return make(
        behave(desk, method.name, handler),
        request_deserializer=GetMessageClass(method.input_type).FromString,
        # Frames of Exchange are octets when they come here.
        response_serializer=None if reply is exchange_pb2.ExchangeResponse else methodcaller("SerializeToString"),
    )


@asynccontextmanager
async def _served(desk: Desk, name: str, context: ServicerContext) -> AsyncIterator[Caller]:
    """The caller of a call, checked; a failure inside is told to it."""
    started = perf_counter()
    if desk.tracer is not None:
        desk.join(name, context_of(context))
    try:
        caller = caller_of(context)
        caller.check(name)
        yield caller
        desk.observe(name, started)
    except Exception as error:
        refused = refusal(name, error)
        desk.observe(name, started, refused)
        await abort(context, refused)


def _one_reply(desk: Desk, name: str, handler: Any) -> Handler:
    async def behave(request: Any, context: ServicerContext) -> Any:
        async with _served(desk, name, context) as caller:
            return await handler(desk, request, caller)

    return behave


def _replies(desk: Desk, name: str, handler: Any) -> Handler:
    async def behave(request: Any, context: ServicerContext) -> AsyncIterator[Any]:
        async with _served(desk, name, context) as caller, aclosing(handler(desk, request, caller)) as replies:
            async for reply in replies:
                yield reply

    return behave


def _many_requests(desk: Desk, name: str, handler: Any) -> Handler:
    async def behave(_: AsyncIterator[Any], context: ServicerContext) -> Any:
        async with _served(desk, name, context) as caller:
            return await handler(desk, requests(_Link[Any, Any](context)), caller)

    return behave


def _both_ways(desk: Desk, name: str, handler: Any) -> Handler:
    async def behave(_: AsyncIterator[Any], context: ServicerContext) -> None:
        async with _served(desk, name, context) as caller:
            await context.send_initial_metadata(((GREETING_KEY, CONTRACT),))
            await handler(desk, _Link[Any, Any](context), caller)

    return behave


_KINDS: Final[dict[tuple[bool, bool], tuple[Callable[..., Any], Callable[[Desk, str, Any], Handler]]]] = {
    (False, False): (grpc.unary_unary_rpc_method_handler, _one_reply),
    (False, True): (grpc.unary_stream_rpc_method_handler, _replies),
    (True, False): (grpc.stream_unary_rpc_method_handler, _many_requests),
    (True, True): (grpc.stream_stream_rpc_method_handler, _both_ways),
}
"""By (requests streamed, replies streamed)."""
