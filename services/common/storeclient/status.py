"""Reasons as gRPC statuses, and back: the one table of both directions (errors.proto, AIP-193).

A status carries one `ErrorInfo`; its reason is what counts. Where there is none (the transport's own errors) the code
stands for one. Texts are never compared and never reach a client of ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import grpc
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2

from services.common.errors import Reason, StoreError

DOMAIN: Final = "store.mailkeep.dev"
DETAILS_KEY: Final = "grpc-status-details-bin"

_Code = grpc.StatusCode
CODES: Final[Mapping[Reason, grpc.StatusCode]] = {
    Reason.ACCOUNT_NOT_FOUND: _Code.NOT_FOUND,
    Reason.MAILBOX_NOT_FOUND: _Code.NOT_FOUND,
    Reason.MAILBOX_EXISTS: _Code.ALREADY_EXISTS,
    Reason.MAILBOX_NAME_INVALID: _Code.INVALID_ARGUMENT,
    Reason.MAILBOX_HAS_CHILDREN: _Code.FAILED_PRECONDITION,
    Reason.MAILBOX_PROTECTED: _Code.FAILED_PRECONDITION,
    Reason.MAILBOX_LIMIT: _Code.RESOURCE_EXHAUSTED,
    Reason.KEYWORD_LIMIT: _Code.RESOURCE_EXHAUSTED,
    Reason.KEYWORD_INVALID: _Code.INVALID_ARGUMENT,
    Reason.MESSAGE_NOT_FOUND: _Code.NOT_FOUND,
    Reason.MESSAGE_TOO_LARGE: _Code.INVALID_ARGUMENT,
    Reason.OVER_QUOTA: _Code.RESOURCE_EXHAUSTED,
    Reason.MAILDROP_IN_USE: _Code.ABORTED,
    Reason.MAILDROP_LOCK_LOST: _Code.ABORTED,
    Reason.STORAGE_FULL: _Code.RESOURCE_EXHAUSTED,
    Reason.STORAGE_CORRUPT: _Code.DATA_LOSS,
    Reason.INVALID_ARGUMENT: _Code.INVALID_ARGUMENT,
    Reason.PERMISSION_DENIED: _Code.PERMISSION_DENIED,
    Reason.UNAVAILABLE: _Code.UNAVAILABLE,
    Reason.DEADLINE_EXCEEDED: _Code.DEADLINE_EXCEEDED,
    Reason.RESOURCE_EXHAUSTED: _Code.RESOURCE_EXHAUSTED,
    Reason.INTERNAL: _Code.INTERNAL,
    Reason.LOGIN_NOT_FOUND: _Code.NOT_FOUND,
}

_REASONS: Final[Mapping[int, Reason]] = {
    _Code.UNAVAILABLE.value[0]: Reason.UNAVAILABLE,
    _Code.CANCELLED.value[0]: Reason.UNAVAILABLE,
    _Code.DEADLINE_EXCEEDED.value[0]: Reason.DEADLINE_EXCEEDED,
    _Code.RESOURCE_EXHAUSTED.value[0]: Reason.RESOURCE_EXHAUSTED,
    _Code.INVALID_ARGUMENT.value[0]: Reason.INVALID_ARGUMENT,
    _Code.PERMISSION_DENIED.value[0]: Reason.PERMISSION_DENIED,
    _Code.UNAUTHENTICATED.value[0]: Reason.PERMISSION_DENIED,
}
"""What a code alone says; every other is INTERNAL."""


def status_of(error: StoreError) -> status_pb2.Status:
    """The status that says `error` on the wire."""
    status = status_pb2.Status(code=CODES[error.reason].value[0], message=error.reason.name)
    info = error_details_pb2.ErrorInfo(reason=error.reason.name, domain=DOMAIN, metadata=error.metadata)
    status.details.add().Pack(info)
    return status


def error_of(status: status_pb2.Status) -> StoreError:
    """What a status on the wire says."""
    info = error_details_pb2.ErrorInfo()
    for detail in status.details:
        if detail.Unpack(info) and info.domain == DOMAIN and info.reason in Reason.__members__:
            return StoreError(Reason[info.reason], dict(info.metadata))
    return StoreError(_REASONS.get(status.code, Reason.INTERNAL), {"grpc": str(status.code)})


def error_of_call(error: grpc.aio.AioRpcError) -> StoreError:
    """What a failed call says: its details where it has them, its code where not."""
    for key, value in error.trailing_metadata() or ():
        if key == DETAILS_KEY and isinstance(value, bytes):
            try:
                return error_of(status_pb2.Status.FromString(value))
            except DecodeError:
                break
    return error_of(status_pb2.Status(code=error.code().value[0]))
