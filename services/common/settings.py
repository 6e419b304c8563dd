"""What the configuration file and the environment say, before it is known whether it makes sense."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import yaml

from services.common.values import BY_VARIABLE, PREFIX, TABLE, Row
from services.common.yamlfile import YamlError, compose, explain

RESERVED: Final = frozenset({"MAILKEEP_DATA", "MAILKEEP_CONFIG", "MAILKEEP_PARENT", "MAILKEEP_WORKER"})
MAX_DEPTH: Final = 4
_GROUPS: Final = frozenset(row.group.upper() for row in TABLE.values())
_KUBERNETES: Final = re.compile(r"SERVICE_HOST|SERVICE_PORT(_.*)?|PORT_[0-9]+_(TCP|UDP).*")
"""What Kubernetes puts into every pod for a Service that is named, say, mailkeep-imap."""


@dataclass(frozen=True, slots=True)
class Setting:
    """One value, and where it comes from (`mailkeep.yaml line 7`, `environment`)."""

    name: str
    value: Any
    source: str


class SettingsError(Exception):
    """The file cannot be read at all."""


def from_file(path: str, *, required: bool) -> list[Setting]:
    """The file's settings by dotted names; none where the file is missing and not required. Raises SettingsError."""
    try:
        with open(path, encoding="utf-8") as file:
            text = file.read()
    except FileNotFoundError:
        if required:
            raise SettingsError(f"{path}: there is no such file") from None
        return []
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: {getattr(error, 'strerror', None) or 'not UTF-8'}") from None
    return from_text(text, path)


def from_text(text: str, path: str) -> list[Setting]:
    """The settings of a file that holds `text`. Raises SettingsError."""
    try:
        root = compose(text)
    except YamlError as error:
        raise SettingsError(f"{path}: {error}") from None
    if root is None or root.tag == "tag:yaml.org,2002:null":
        return []
    if not isinstance(root, yaml.MappingNode):
        raise SettingsError(f"{path}: the file holds groups of options (`imap:` and so on)")
    try:
        return list(_flatten(root, "", os.path.basename(path)))
    except yaml.YAMLError as error:
        raise SettingsError(f"{path}: {explain(error)}") from None


def _flatten(node: yaml.MappingNode, prefix: str, file: str) -> Iterator[Setting]:
    """`imap: {maxsessions: 5}` as `imap.maxsessions`; dotted keys are as good."""
    for key, value in node.value:
        if not isinstance(key, yaml.ScalarNode):
            raise yaml.MarkedYAMLError(problem="a name is a word", problem_mark=key.start_mark)
        name = f"{prefix}{key.value}"
        if isinstance(value, yaml.MappingNode) and name.count(".") < MAX_DEPTH:
            yield from _flatten(value, f"{name}.", file)
        elif not (value.tag == "tag:yaml.org,2002:null" and name in _LOWER_GROUPS):
            yield Setting(name, _plain(value), f"{file} line {key.start_mark.line + 1}")


_LOWER_GROUPS: Final = frozenset(group.lower() for group in _GROUPS)


def _plain(node: yaml.Node) -> Any:
    try:
        return yaml.constructor.SafeConstructor().construct_document(node)
    except (ValueError, AttributeError):
        # The library checks dates and tagged numbers by trying to make them.
        problem = "a date or a tagged value is none of its kind"
        raise yaml.MarkedYAMLError(problem=problem, problem_mark=node.start_mark) from None


def from_environment(environ: Mapping[str, str]) -> list[Setting]:
    """`MAILKEEP_IMAP_MAXSESSIONS=5` as `imap.maxsessions`; an unknown option of a known group keeps its own name."""
    return [
        Setting(_option_name(name), value, "environment") for name, value in environ.items() if _is_ours(name, value)
    ]


def _option_name(name: str) -> str:
    row = BY_VARIABLE.get(name)
    return name if row is None else row.name


def _is_ours(name: str, value: str) -> bool:
    if not name.startswith(PREFIX) or name in RESERVED:
        return False
    row: Row | None = BY_VARIABLE.get(name)
    if row is not None:
        return not (row.option.port and value.startswith(("tcp://", "udp://")))
    group, _, rest = name.removeprefix(PREFIX).partition("_")
    return group in _GROUPS and bool(rest) and _KUBERNETES.fullmatch(rest) is None
