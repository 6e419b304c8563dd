"""`mailkeep run`: every service on this machine under one supervisor."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from typing import Annotated

import typer

from services.cli import demo as demonstration
from services.cli import preflight
from services.cli.connecting import ROLE, explain
from services.cli.datafolder import AlreadyRunning, DataFolder
from services.cli.endpoints import endpoints
from services.cli.output import JsonOption, complain, fail, say, show, show_json
from services.cli.supervisor import Supervisor, environment
from services.common import configuration as configurations
from services.common import telemetry
from services.common.configuration import EXIT_CONFIGURATION
from services.common.errors import StoreError
from services.common.options import Configuration
from services.common.problems import ConfigurationError
from services.common.storeclient import connect


def run(
    demo: Annotated[
        bool,
        typer.Option(help="Ports below 1024 raised by 1000, a certificate, and demo@example.com (password demo)."),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Start the store and every enabled service and keep them running; Ctrl-C stops them in order."""
    known = _load(os.environ)
    try:
        with DataFolder(known.data):
            overrides = demonstration.overrides(known) if demo else {}
            known = _load({**os.environ, **overrides})
            preflight.check(known, ports=True)
            telemetry.configure_logging(known.log)
            code = asyncio.run(_supervise(known, overrides, demo, as_json))
    except ConfigurationError as error:
        fail(str(error), EXIT_CONFIGURATION)
    except AlreadyRunning as error:
        fail(str(error))
    except OSError as error:
        fail(f"{error.filename}: {error.strerror}" if error.filename else str(error))
    raise typer.Exit(code)


def _load(environ: Mapping[str, str]) -> Configuration:
    try:
        return configurations.load(environ=environ)
    except ConfigurationError as error:
        fail(str(error), EXIT_CONFIGURATION)


async def _supervise(known: Configuration, overrides: Mapping[str, str], demo: bool, as_json: bool) -> int:
    def ready() -> None:
        _tell(known, demo, as_json)

    async def prepare() -> None:
        await _fill_demo(known)

    return await Supervisor(known, environment(known, overrides), ready, prepare if demo else None).run()


async def _fill_demo(known: Configuration) -> None:
    """Sample mail for the demo account; without it everything runs as well."""
    client = connect(known, ROLE)
    try:
        await demonstration.fill(client)
    except StoreError as error:
        complain(f"no sample mail for {demonstration.ACCOUNT}: {explain(error)}")
    finally:
        await client.close()


def _tell(known: Configuration, demo: bool, as_json: bool) -> None:
    """Where what listens."""
    columns = ("service", "address", "port", "security", "health")
    rows = [
        (point.service, point.address, str(point.port or ""), point.security, point.health)
        for point in endpoints(known)
    ]
    if as_json:
        show_json({"running": [dict(zip(columns, row, strict=True)) for row in rows], "data": known.data})
        return
    say(False, "\nMailkeep is running")
    show(False, columns, rows)
    text = demonstration.lines_to_paste(known) if demo else ""
    say(False, f"{text}\nCtrl-C stops everything; the mail stays in {known.data}.")
