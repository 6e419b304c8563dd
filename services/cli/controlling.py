"""`mailkeep start`, `stop`, `restart`, `refresh`: services of the running supervisor.

Whether a service is enabled (`service.X.enable`) is a setting and stays; whether it runs is what these commands change,
until the next `mailkeep run`.
"""

from __future__ import annotations

from typing import Annotated, Any

import typer

from services.cli.connecting import configuration
from services.cli.controlsocket import NotRunning, Request, Verb, ask
from services.cli.output import EXIT_UNAVAILABLE, JsonOption, fail, say, show_json
from services.common.crosschecks import SERVICES


def _parse(text: str) -> str:
    if text not in SERVICES:
        raise typer.BadParameter(f"{text!r} is none of {', '.join(SERVICES)}")
    return text


Services = Annotated[
    list[str], typer.Argument(parser=_parse, metavar="SERVICE...", help=f"One or more of {', '.join(SERVICES)}.")
]
AnyServices = Annotated[
    list[str] | None,
    typer.Argument(parser=_parse, metavar="SERVICE...", help="Some of them; without, all that run."),
]


def start(services: Services, as_json: JsonOption = False) -> None:
    """Start services that were stopped, or were enabled since; a disabled one is refused (configutil enables it)."""
    _act(Verb.START, services, as_json)


def stop(services: Services, as_json: JsonOption = False) -> None:
    """Stop services: sessions are drained, the others stay; it lasts until start, or the next mailkeep run."""
    _act(Verb.STOP, services, as_json)


def restart(services: Services, as_json: JsonOption = False) -> None:
    """Stop services and start them with the configuration as it is now; one that was disabled stays stopped."""
    _act(Verb.RESTART, services, as_json)


def refresh(services: AnyServices = None, as_json: JsonOption = False) -> None:
    """Have running services read the configuration again, and say which options wait for a restart."""
    _act(Verb.REFRESH, services or [], as_json)


def _act(verb: Verb, services: list[str], as_json: bool) -> None:
    try:
        answer = ask(configuration().data, Request(verb, tuple(services)))
    except NotRunning as error:
        fail(str(error), EXIT_UNAVAILABLE)
    if "error" in answer:
        fail(str(answer["error"]), int(answer["code"]))
    if as_json:
        show_json(answer["services"])
        return
    for each in answer["services"]:
        say(False, _line(each))


def _line(outcome: dict[str, Any]) -> str:
    count = outcome["processes"]
    processes = f", {count} process{'' if count == 1 else 'es'}" if count else ""
    waiting = f"; waits for a restart: {', '.join(outcome['waiting'])}" if outcome["waiting"] else ""
    return f"{outcome['service']}: {outcome['outcome']}{processes}{waiting}"
