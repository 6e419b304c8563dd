"""`mailkeep access`: who may connect, and why."""

from __future__ import annotations

import asyncio
from enum import Enum
from ipaddress import ip_address
from typing import Annotated

import typer

from services.cli.connecting import configuration
from services.cli.output import EXIT_FAILURE, EXIT_USAGE, JsonOption, fail, show_facts
from services.common.access.filters import Decision
from services.common.access.patterns import HostName, NameNeeded, host
from services.common.access.service import ServiceFilters
from services.common.hostnames import HostNames

commands = typer.Typer(no_args_is_help=True, help="Who may connect: ask what the filters decide.")


class Service(Enum):
    """Services that have filters."""

    POP = "pop"
    IMAP = "imap"


@commands.callback()
def _group() -> None:
    """A group also while it has one command."""


@commands.command("test")
def decide(
    service: Annotated[Service, typer.Option(help="The service that is connected to.")],
    address: Annotated[str, typer.Option(help="The client's IP address.")],
    server: Annotated[str, typer.Option(help="The address that it connects to, for filters with service@host.")] = "",
    as_json: JsonOption = False,
) -> None:
    """Say whether a client may connect and which filter decides; exits with 1 where it may not.

    Judged by the configuration as it is now (domainallowed, domainnotallowed of the service).
    """
    for text in filter(None, (address, server)):
        _check_address(text)
    options = getattr(configuration(), service.value)
    filters = ServiceFilters(options.domainallowed, options.domainnotallowed)
    decision = asyncio.run(_decide(filters, service.value, address, server))
    facts = {"service": service.value, "address": address, "allowed": decision.allowed}
    show_facts(as_json, {**facts, "filter": decision.rule or None, "because": decision.because})
    if not decision.allowed:
        raise typer.Exit(EXIT_FAILURE)


async def _decide(filters: ServiceFilters, service: str, address: str, server: str) -> Decision:
    """As a service does: names are looked up only where they are needed."""
    try:
        return filters.decide(service, host(address), host(server))
    except NameNeeded:
        names = HostNames()
        server_name = await names.find(server) if server else HostName()
        return filters.decide(service, host(address, await names.find(address)), host(server, server_name))


def _check_address(text: str) -> None:
    try:
        ip_address(text.partition("%")[0])
    except ValueError:
        fail(f"{text} is no IP address", EXIT_USAGE)
