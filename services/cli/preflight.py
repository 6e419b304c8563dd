"""What is looked at before anything starts, with every problem at once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from services.common import configuration as configurations
from services.common.directory.usersfile import UsersFile, UsersFileError
from services.common.options import Configuration
from services.common.problems import ConfigurationError, Problem


def problems(known: Configuration, *, ports: bool) -> list[Problem]:
    """What is wrong with the files that the configuration names and, if asked for, with the ports."""
    checks: list[Callable[[Configuration], None]] = [configurations.check_files, _check_users]
    if ports:
        checks.append(configurations.check_ports)
    found: list[Problem] = []
    for check in checks:
        try:
            check(known)
        except ConfigurationError as error:
            found.extend(error.problems)
    return found


def check(known: Configuration, *, ports: bool) -> None:
    """Raises ConfigurationError with all of them."""
    found = problems(known, ports=ports)
    if found:
        raise ConfigurationError(found)


def _check_users(known: Configuration) -> None:
    if known.directory.kind != "users":
        return
    try:
        UsersFile(Path(known.directory.usersfile)).users()
    except UsersFileError as error:
        raise ConfigurationError([Problem("directory.usersfile", "", text) for text in error.problems]) from None
