"""DeliveryService."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Final

from mailproto.store.v1 import delivery_pb2
from services.common.domain import Recipient
from services.common.errors import Reason, StoreError
from services.common.storeclient import values
from services.store.servicers.caller import Caller
from services.store.servicers.desk import Desk
from services.store.servicers.method import Handlers
from services.store.uploads import gather, read_out


async def deliver_message(
    desk: Desk, request: delivery_pb2.DeliverMessageRequest, caller: Caller
) -> delivery_pb2.DeliverMessageResponse:
    """DeliveryService.DeliverMessage."""
    return await _deliver(desk, request, request.body)


async def upload_delivery(
    desk: Desk, requests: AsyncIterator[delivery_pb2.UploadDeliveryRequest], caller: Caller
) -> delivery_pb2.DeliverMessageResponse:
    """DeliveryService.UploadDelivery."""
    first = await anext(requests, None)
    if first is None or first.WhichOneof("part") != "delivery":
        raise StoreError(Reason.INVALID_ARGUMENT)
    sizes = [first.delivery.size]
    async with read_out(requests), desk.uploads.take(sizes):
        (body,) = await gather(sizes, (request.chunk async for request in requests))
        return await _deliver(desk, first.delivery, body)


async def _deliver(
    desk: Desk, request: delivery_pb2.DeliverMessageRequest, body: bytes
) -> delivery_pb2.DeliverMessageResponse:
    recipients = [
        Recipient(recipient.account, recipient.folder, recipient.prefix, values.read_quota(recipient.quota))
        for recipient in request.recipients
    ]
    if not recipients:
        raise StoreError(Reason.INVALID_ARGUMENT)
    outcomes = await desk.store.deliver(recipients, body, request_id=request.request_id)
    return delivery_pb2.DeliverMessageResponse(
        outcomes=[
            delivery_pb2.DeliveryOutcome(reason=outcome.reason, mailbox_id=outcome.mailbox_id, uid=outcome.uid)
            for outcome in outcomes
        ]
    )


HANDLERS: Final[Handlers] = {"DeliverMessage": deliver_message, "UploadDelivery": upload_delivery}
