"""How a command reaches the configuration and the running store."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TypeVar

from services.cli.output import EXIT_CONFIGURATION, EXIT_UNAVAILABLE, fail
from services.common import configuration as configurations
from services.common.errors import Reason, StoreError
from services.common.options import Configuration
from services.common.storeclient import StoreClient, connect

T = TypeVar("T")
ROLE = "admin"
STORE_WAIT_SECONDS = 3
"""A person waits for an answer: not as long as a mail client would."""

_CODES = {Reason.UNAVAILABLE: EXIT_UNAVAILABLE, Reason.DEADLINE_EXCEEDED: EXIT_UNAVAILABLE}


def configuration() -> Configuration:
    """The configuration that the services see. Prints every error and exits with 78 where it is bad."""
    try:
        return configurations.load(environ=os.environ)
    except configurations.ConfigurationError as error:
        fail(str(error), EXIT_CONFIGURATION)


@asynccontextmanager
async def store() -> AsyncIterator[StoreClient]:
    """A connection to the running store."""
    known = configuration()
    patient = replace(known, store=replace(known.store, storewait=min(known.store.storewait, STORE_WAIT_SECONDS)))
    client = connect(patient, ROLE)
    try:
        yield client
    finally:
        await client.close()


def with_store(work: Callable[[StoreClient], Awaitable[T]]) -> T:
    """Run `work` against the running store; a refusal is told and ends the command."""

    async def run() -> T:
        async with store() as client:
            return await work(client)

    try:
        return asyncio.run(run())
    except StoreError as error:
        facts = ", ".join(f"{name} {value}" for name, value in error.metadata.items())
        text = f"{error.reason.value}{f' ({facts})' if facts else ''}"
        hint = ": is it running? (mailkeep run)" if error.reason is Reason.UNAVAILABLE else ""
        fail(text + hint, _CODES.get(error.reason, 1))
