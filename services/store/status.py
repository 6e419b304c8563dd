"""How a failure leaves the store: a refusal as its status, anything else logged and without a word of its own.

The table of reasons and codes is `services.common.storeclient.status.CODES`, the same for both directions.
"""

from __future__ import annotations

import logging
from typing import Any, NoReturn

import grpc

from services.common.errors import Reason, StoreError
from services.common.storeclient.status import CODES, DETAILS_KEY, status_of

_log = logging.getLogger(__name__)

ServicerContext = grpc.aio.ServicerContext[Any, Any]


def refusal(method: str, error: BaseException) -> StoreError:
    """What a caller may know of a failure of `method`; what it may not is logged here."""
    if isinstance(error, StoreError):
        if error.reason is not Reason.INTERNAL:
            return error
        _log.error("%s failed: %s", method, dict(error.metadata))
        return StoreError(Reason.INTERNAL)
    if isinstance(error, TimeoutError):
        return StoreError(Reason.DEADLINE_EXCEEDED)
    _log.error("%s failed", method, exc_info=error)
    return StoreError(Reason.INTERNAL)


async def abort(context: ServicerContext, refused: StoreError) -> NoReturn:
    """End a call of its own with the refusal."""
    details = (DETAILS_KEY, status_of(refused).SerializeToString())
    await context.abort(CODES[refused.reason], refused.reason.name, (details,))
    raise AssertionError("abort returned")
