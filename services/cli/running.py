"""`mailkeep run`: every service on this machine under one supervisor."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from services.cli import demo as demonstration
from services.cli.connecting import ROLE
from services.cli.output import EXIT_CONFIGURATION, console, fail, show
from services.cli.supervisor import FRONT_ENDS, Supervisor, environment
from services.common import configuration as configurations
from services.common import telemetry
from services.common.options import Configuration
from services.common.storeclient import connect
from services.common.tls import write_self_signed
from services.common.usersfile import UsersFile
from services.common.values import variable

CERTIFICATE = "demo-certificate.pem"
KEY = "demo-key.pem"


def run(
    demo: Annotated[
        bool,
        typer.Option(help="Ports below 1024 raised by 1000, a certificate, and demo@example.com (password demo)."),
    ] = False,
) -> None:
    """Start store, lmtp, pop and imap and keep them running; Ctrl-C stops them in order."""
    try:
        overrides = _demo_overrides(os.environ) if demo else {}
        known = configurations.load(environ={**os.environ, **overrides})
        Path(known.data).mkdir(parents=True, exist_ok=True)
        configurations.check_ports(known)
    except configurations.ConfigurationError as error:
        fail(str(error), EXIT_CONFIGURATION)
    telemetry.configure_logging(known.log)
    code = asyncio.run(_supervise(known, overrides, demo))
    raise typer.Exit(code)


async def _supervise(known: Configuration, overrides: Mapping[str, str], demo: bool) -> int:
    tasks: set[asyncio.Task[None]] = set()

    def ready() -> None:
        task = asyncio.create_task(_started(known, demo))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    return await Supervisor(known, environment(known, overrides), ready).run()


async def _started(known: Configuration, demo: bool) -> None:
    """Fill the demo account and print where things are."""
    if demo:
        client = connect(known, ROLE)
        try:
            given = await demonstration.fill(client)
        finally:
            await client.close()
        if given:
            console.print(f"{given} messages put into {demonstration.ACCOUNT}", highlight=False)
    show(False, ("service", "address", "port", "security", "health"), _table(known), title="Mailkeep is running")
    if demo:
        console.print(_lines_to_paste(known), highlight=False, markup=False, soft_wrap=True)


def _table(known: Configuration) -> list[tuple[str, str, str, str, str]]:
    rows = [
        (
            "store",
            known.store.socket,
            "",
            "Unix socket, this user only",
            _health(known.store.listen, known.store.adminport),
        )
    ]
    for name in FRONT_ENDS:
        options = getattr(known, name)
        if not options.enable:
            continue
        starttls = "STLS" if name == "pop" else "STARTTLS"
        health = _health(options.listen, options.adminport)
        rows.append((name, options.listen, str(options.port), starttls if known.tls.certfile else "none", health))
        if known.tls.certfile and getattr(options, "enablesslport", False):
            rows.append((f"{name}s", options.listen, str(options.sslport), "TLS", health))
    return rows


def _health(listen: str, port: int) -> str:
    return f"http://{listen or '127.0.0.1'}:{port}/readyz" if port else ""


def _lines_to_paste(known: Configuration) -> str:
    user = f"{demonstration.ACCOUNT}:{demonstration.PASSWORD}"
    imap, pop = f"{known.imap.listen}:{known.imap.port}", f"{known.pop.listen}:{known.pop.port}"
    return f"""
Read the demo account (password: {demonstration.PASSWORD}) from another terminal:
  curl -u {user} imap://{imap}/                            # folders
  curl -u {user} 'imap://{imap}/INBOX;MAILINDEX=1'         # the first message
  curl -u {user} imap://{imap}/INBOX -X 'SEARCH UNSEEN'    # what is new
  curl -u {user} pop3://{pop}/                             # the same by POP3
Ctrl-C stops everything; the mail stays in {known.data}."""


def _demo_overrides(environ: Mapping[str, str]) -> dict[str, str]:
    """Ports below 1024 raised by 1000, and a certificate; what the configuration says of one stays.

    Makes the certificate and the account where they are missing.
    """
    known = configurations.load(environ=environ)
    Path(known.data).mkdir(parents=True, exist_ok=True)
    _demo_account(Path(known.directory.usersfile))
    overrides = {
        variable(name): str(number + 1000) for name, number in configurations.ports(known).items() if number < 1024
    }
    if not known.tls.certfile:
        certificate, key = Path(known.data, CERTIFICATE), Path(known.data, KEY)
        if not certificate.exists():
            write_self_signed(certificate, key)
        overrides |= {variable("tls.certfile"): str(certificate), variable("tls.keyfile"): str(key)}
    return overrides


def _demo_account(path: Path) -> None:
    users = UsersFile(path)
    if demonstration.ACCOUNT not in users.names():
        users.add(demonstration.ACCOUNT, demonstration.PASSWORD)
