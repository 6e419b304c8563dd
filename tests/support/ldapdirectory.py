"""The LDAP directory over a test's own servers."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

from services.common.directory.ldap.directory import LdapDirectory
from services.common.live import Live
from services.common.options import Configuration, DirectoryOptions, LdapOptions
from services.common.telemetry import NO_OBSERVER, Observer
from tests.support.slapd import PASSWORD, READER, Slapd


def configured(*servers: Slapd, directory: dict[str, Any] | None = None, **options: Any) -> Live[Configuration]:
    """Options for these servers, by StartTLS; `directory` and `options` change some."""
    given = {
        "servers": tuple(server.url for server in servers),
        "cafile": str(servers[0].cafile),
        "binddn": READER,
        "bindpassword": PASSWORD,
        "basedn": "o=isp",
        **options,
    }
    known = DirectoryOptions(kind="ldap", faildelay=0)
    return Live(
        Configuration(data="", directory=replace(known, **(directory or {})), ldap=replace(LdapOptions(), **given))
    )


@asynccontextmanager
async def opened(
    *servers: Slapd, observer: Observer = NO_OBSERVER, directory: dict[str, Any] | None = None, **options: Any
) -> AsyncIterator[LdapDirectory]:
    """A directory over the servers, closed at the end."""
    found = LdapDirectory(configured(*servers, directory=directory, **options), observer)
    try:
        yield found
    finally:
        found.close()
        await found.pool.wait_closed()
