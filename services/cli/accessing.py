"""`mailkeep access`: who may connect and log in, and why."""

from __future__ import annotations

import asyncio
import os
from dataclasses import replace
from enum import Enum
from ipaddress import ip_address
from typing import Annotated

import typer

from services.cli.connecting import configuration
from services.cli.output import EXIT_FAILURE, EXIT_UNAVAILABLE, EXIT_USAGE, JsonOption, fail, show_facts
from services.common.access.filters import Decision, Visit
from services.common.access.patterns import HostName, NameNeeded, host
from services.common.access.rules import decide_login
from services.common.access.service import ServiceFilters
from services.common.badguys import BadGuys, open_marks
from services.common.configuration import EXIT_CONFIGURATION
from services.common.directory import LOGS_IN, DirectoryUnavailable, Entry, LoginRefused
from services.common.directory.opening import open_directory
from services.common.hostnames import HostNames
from services.common.live import Live
from services.common.options import Configuration
from services.common.problems import ConfigurationError

commands = typer.Typer(no_args_is_help=True, help="Who may connect and log in: ask what the rules decide.")


class Service(Enum):
    """Services that have filters."""

    POP = "pop"
    IMAP = "imap"
    HTTP = "http"


@commands.callback()
def _group() -> None:
    """A group also while it has one command."""


@commands.command("test")
def decide(
    service: Annotated[Service, typer.Option(help="The service that is connected to.")],
    address: Annotated[str, typer.Option(help="The client's IP address.")],
    server: Annotated[str, typer.Option(help="The address that it connects to, for filters with service@host.")] = "",
    user: Annotated[
        str, typer.Option(help="The name that it logs in with; without one only connecting is judged.")
    ] = "",
    tls: Annotated[bool, typer.Option("--tls", help="The login comes under TLS.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Say whether a client may connect, and log in where --user is given, and what decides; exits with 1 where not.

    Judged by the configuration and the directory as they are now: whether the address is shut out (`mailkeep ban`),
    domainallowed and domainnotallowed of the service, then the status of the account and its domain, then the access
    rules of both. No password is asked for.
    """
    for text in filter(None, (address, server)):
        _check_address(text)
    visit = Visit(service.value, host(address), host(server), tls)
    facts: dict[str, object] = {"service": service.value, "address": address}
    if user:
        facts |= {"user": user, "tls": tls}
    decided = asyncio.run(_decide(configuration(), visit, user))
    show_facts(as_json, {**facts, **decided})
    if not decided["allowed"]:
        raise typer.Exit(EXIT_FAILURE)


async def _decide(known: Configuration, visit: Visit, user: str) -> dict[str, object]:
    names = HostNames(known.access.nameservers)
    decision = await _connects(known, visit, names)
    if not user or not decision.allowed:
        return {"allowed": decision.allowed, "filter": decision.rule or None, "because": decision.because}
    return {**await _logs_in(known, visit, user, names), "filter": decision.rule or None}


async def _connects(known: Configuration, visit: Visit, names: HostNames) -> Decision:
    """As a service does: who is shut out first; names are looked up only where they are needed."""
    if _is_banned(known, str(visit.client.address)):
        return Decision(False, "", "the address is shut out: mailkeep ban list")
    options = getattr(known, visit.service)
    filters = ServiceFilters(options.domainallowed, options.domainnotallowed)
    try:
        return filters.decide(visit.service, visit.client, visit.server)
    except NameNeeded:
        server = str(visit.server.address) if visit.server.address else ""
        server_name = await names.find(server) if server else HostName()
        visit = await _named(visit, names)
        return filters.decide(visit.service, visit.client, replace(visit.server, name=server_name))


def _is_banned(known: Configuration, address: str) -> bool:
    path = known.access.statefile
    if not path or not os.path.exists(path):
        return False
    return BadGuys(Live(known.access), file=open_marks(path)).banned(address)


async def _logs_in(known: Configuration, visit: Visit, user: str, names: HostNames) -> dict[str, object]:
    entry = await _entry(known, user)
    if entry is None:
        return {"allowed": False, "because": "there is no such account"}
    found = {"account": entry.account, "status": entry.status.value}
    if entry.status not in LOGS_IN:
        return {**found, "allowed": False, "because": f"the account is {entry.status.value}"}
    try:
        decision = decide_login(entry.allowed_access, visit)
    except NameNeeded:
        decision = decide_login(entry.allowed_access, await _named(visit, names))
    return {**found, "allowed": decision.allowed, "rule": decision.rule or None, "because": decision.because}


async def _named(visit: Visit, names: HostNames) -> Visit:
    return replace(visit, client=replace(visit.client, name=await names.find(str(visit.client.address))))


async def _entry(known: Configuration, user: str) -> Entry | None:
    """The account that logs in by this name; None where there is none."""
    try:
        directory = open_directory(Live(known))
    except ConfigurationError as error:
        fail(str(error), EXIT_CONFIGURATION)
    try:
        return await directory.account(user)
    except LoginRefused:
        return None
    except DirectoryUnavailable as error:
        fail(f"the directory does not answer: {error}", EXIT_UNAVAILABLE)
    finally:
        directory.close()


def _check_address(text: str) -> None:
    try:
        ip_address(text.partition("%")[0])
    except ValueError:
        fail(f"{text} is no IP address", EXIT_USAGE)
