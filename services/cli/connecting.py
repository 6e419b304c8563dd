"""How a command reaches the configuration and the running store."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Final, TypeVar

from services.cli.datafolder import supervisor_of
from services.cli.output import EXIT_FAILURE, EXIT_UNAVAILABLE, fail
from services.common import configuration as configurations
from services.common.configuration import EXIT_CONFIGURATION
from services.common.errors import Reason, StoreError
from services.common.options import Configuration
from services.common.problems import ConfigurationError
from services.common.storeaddress import UNIX, store_address

if TYPE_CHECKING:
    from services.common.storeclient import StoreClient

T = TypeVar("T")
ROLE: Final = "admin"
STORE_WAIT_SECONDS: Final = 3
"""A person waits for an answer: not as long as a mail client would."""

_CODES: Final = {Reason.UNAVAILABLE: EXIT_UNAVAILABLE, Reason.DEADLINE_EXCEEDED: EXIT_UNAVAILABLE}
_DETAIL: Final = "detail"
"""Metadata that is an explanation for people."""


def configuration() -> Configuration:
    """The configuration that the services see. Prints every error and exits with 78 where it is bad."""
    try:
        return configurations.load(environ=os.environ)
    except ConfigurationError as error:
        fail(str(error), EXIT_CONFIGURATION)


@asynccontextmanager
async def store(known: Configuration | None = None) -> AsyncIterator[StoreClient]:
    """A connection to the running store. Raises UNAVAILABLE, at once where it cannot be there."""
    known = known or configuration()
    _check_reachable(known)
    from services.common.storeclient import connect  # gRPC takes longer to import than many a command to run

    patient = replace(known, store=replace(known.store, storewait=min(known.store.storewait, STORE_WAIT_SECONDS)))
    try:
        client = connect(patient, ROLE)
    except OSError as error:
        raise StoreError(Reason.UNAVAILABLE, {_DETAIL: f"{error.filename}: {error.strerror}"}) from None
    try:
        yield client
    finally:
        await client.close()


def _check_reachable(known: Configuration) -> None:
    """Nobody behind the socket, and no supervisor that is about to start one: no need to wait."""
    address = store_address(known)
    if not address.startswith(UNIX) or supervisor_of(known.data):
        return
    path = address.removeprefix(UNIX)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(STORE_WAIT_SECONDS)
        try:
            probe.connect(path)
        except OSError as error:
            raise StoreError(Reason.UNAVAILABLE, {_DETAIL: f"{path}: {error.strerror or error}"}) from None


def with_store(work: Callable[[StoreClient], Awaitable[T]]) -> T:
    """Run `work` against the running store; a refusal is told and ends the command."""
    known = configuration()

    async def run() -> T:
        async with store(known) as client:
            return await work(client)

    try:
        return asyncio.run(run())
    except StoreError as error:
        fail(explain(error), exit_code(error))


def explain(error: StoreError) -> str:
    """A refusal for people."""
    facts = dict(error.metadata)
    detail = facts.pop(_DETAIL, "")
    if error.reason is Reason.INVALID_ARGUMENT and detail:
        return detail
    told = ", ".join([*([detail] if detail else []), *(f"{name} {value}" for name, value in facts.items())])
    text = f"{error.reason.value} ({told})" if told else error.reason.value
    return f"{text}: is it running? (mailkeep run)" if error.reason is Reason.UNAVAILABLE else text


def exit_code(error: StoreError) -> int:
    """69 (EX_UNAVAILABLE) where trying later helps, else 1."""
    return _CODES.get(error.reason, EXIT_FAILURE)
