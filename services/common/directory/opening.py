"""The directory that the options name."""

from __future__ import annotations

from services.common.directory.users import UsersFileDirectory
from services.common.directory.usersfile import UsersFileError
from services.common.live import Live
from services.common.options import DirectoryOptions
from services.common.problems import ConfigurationError, Problem


def open_directory(options: Live[DirectoryOptions]) -> UsersFileDirectory:
    """Opened for the front ends of one process. Raises ConfigurationError."""
    try:
        return UsersFileDirectory(options)
    except UsersFileError as error:
        problems = [Problem("directory.usersfile", "", text) for text in error.problems]
        raise ConfigurationError(problems) from None
