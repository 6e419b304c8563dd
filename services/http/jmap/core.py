"""Core/echo and Blob/copy (RFC 8620 sections 4 and 6.3)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.http.jmap.arguments import Arguments, an_id, ids
from services.http.jmap.errors import InvalidArguments, MethodError

if TYPE_CHECKING:
    from services.http.jmap.work import Answers, Work


async def echo(work: Work, arguments: Arguments) -> Answers:
    """Core/echo."""
    return arguments.rest()


async def blob_copy(work: Work, arguments: Arguments) -> Answers:
    """Blob/copy: between accounts, and there is but one."""
    source = arguments.take("fromAccountId", an_id, required=True)
    account = work.check_account(arguments)
    arguments.take("blobIds", ids, required=True)
    arguments.end()
    if source == account:
        raise InvalidArguments("fromAccountId and accountId must differ")
    raise MethodError("fromAccountNotFound")
