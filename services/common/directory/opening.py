"""The directory that the options name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, TypeAlias

from services.common.directory import Directory
from services.common.directory.users import UsersFileDirectory
from services.common.directory.usersfile import UsersFileError
from services.common.live import Live
from services.common.options import Configuration
from services.common.problems import ConfigurationError, Problem
from services.common.telemetry import NO_OBSERVER, Observer

Gauge: TypeAlias = tuple[str, str, Callable[[], float]]
"""Name, documentation, and how it is read."""


class OpenDirectory(Directory, Protocol):
    """A directory that is to be closed, and what it has to show in metrics."""

    @property
    def gauges(self) -> Sequence[Gauge]:
        """Numbers to be read whenever they are asked for."""

    def close(self) -> None:
        """Let threads and connections go."""


def open_directory(configuration: Live[Configuration], observer: Observer = NO_OBSERVER) -> OpenDirectory:
    """For one process, in its event loop. Raises ConfigurationError."""
    if configuration.value.directory.kind == "ldap":
        # Here, because ldap3 takes its time to import and most installations begin with a users file.
        from services.common.directory.ldap.directory import LdapDirectory

        return LdapDirectory(configuration, observer)
    try:
        return UsersFileDirectory(configuration.part(lambda value: value.directory))
    except UsersFileError as error:
        problems = [Problem("directory.usersfile", "", text) for text in error.problems]
        raise ConfigurationError(problems) from None
