"""Options of a MailService on Kubernetes, read and changed by kubectl, which knows the cluster and who may.

The API server judges a change as a whole; what its definition of MailService has no field for is set by the operator.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, NoReturn

from services.common import configuration as configurations
from services.common.configfile import Edit, checked
from services.common.options import Configuration
from services.common.problems import ConfigurationError, Problem
from services.common.values import TABLE, convert

KUBECTL: Final = "kubectl"
KIND: Final = "mailservices.mailkeep.dev"
SECONDS: Final = 60.0
MAX_MESSAGE: Final = 2000

Spec = Mapping[str, Any]


class MailService:
    """The MailService that NAMESPACE/NAME is. Every method raises ConfigurationError."""

    def __init__(self, place: str) -> None:
        namespace, _, name = place.partition("/")
        self.place = place
        if not namespace or not name or place.startswith("-") or name.startswith("-"):
            self._fail("is not NAMESPACE/NAME")
        self._where = (KIND, name, "--namespace", namespace)

    def given(self) -> dict[str, Any]:
        """Option name -> value, of what differs from the default."""
        return {name: value for name, value in _values(self._get()).items() if value != TABLE[name].default}

    def check(self) -> Configuration:
        """What it says now; options that it has no field for have their defaults."""
        return _configuration(self._get())

    def names(self) -> set[str]:
        """Options that it has."""
        return set(_values(self._get()))

    def change(self, wanted: Mapping[str, str | None], *, write: bool = True) -> Edit:
        """Set options (by their own names) to what somebody typed; None puts back the default. All or nothing.

        Without `write` the API server only says what it would do.
        """
        values = checked(wanted)
        patch = json.dumps({"spec": patched(values)})
        before = _configuration(self._get())
        tried = self._run("patch", *self._where, "--type", "merge", "--patch", patch, "--dry-run=server", "-o", "json")
        self._check_fields(values, _values(_spec(tried)))
        new = tried
        if write:
            new = self._run("patch", *self._where, "--type", "merge", "--patch", patch, "-o", "json")
        return Edit(configurations.changes(before, _configuration(_spec(new))), ())

    def _check_fields(self, values: Mapping[str, Any], after: Mapping[str, Any]) -> None:
        """The API server leaves out what it has no field for, and says so to people alone."""
        lost = [
            name for name, value in values.items()
            if value is not None and after.get(name) != convert(TABLE[name], value)
        ]  # fmt: skip
        if lost:
            text = "a MailService has no such field: the operator sets it"
            raise ConfigurationError([Problem(name, "", text) for name in lost])

    def _get(self) -> Spec:
        return _spec(self._run("get", *self._where, "-o", "json"))

    def _run(self, *words: str) -> dict[str, Any]:
        try:
            done = subprocess.run(
                [KUBECTL, *words], stdin=subprocess.DEVNULL, capture_output=True, timeout=SECONDS, check=False
            )
        except FileNotFoundError:
            self._fail(f"{KUBECTL} is not installed here")
        except (OSError, subprocess.TimeoutExpired) as error:
            self._fail(f"{KUBECTL} failed: {getattr(error, 'strerror', None) or 'no answer in time'}")
        if done.returncode:
            self._fail(done.stderr.decode(errors="replace").strip()[:MAX_MESSAGE])
        try:
            answer = json.loads(done.stdout)
        except ValueError:
            answer = None
        if not isinstance(answer, dict):
            self._fail(f"{KUBECTL} gave no object")
        return answer

    def _fail(self, text: str) -> NoReturn:
        raise ConfigurationError([Problem(f"MailService {self.place}", "", text)])


def patched(values: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Option name -> value as fields of a spec, None for one that is taken out."""
    spec: dict[str, dict[str, Any]] = {}
    for name, value in values.items():
        group, _, option = name.partition(".")
        spec.setdefault(group, {})[option] = value
    return spec


def _spec(answer: Mapping[str, Any]) -> Spec:
    spec = answer.get("spec")
    return spec if isinstance(spec, dict) else {}


def _values(spec: Spec) -> dict[str, Any]:
    """Option name -> value of every option that the spec has a field for."""
    found: dict[str, Any] = {}
    for name, row in TABLE.items():
        group, _, option = name.partition(".")
        fields = spec.get(group)
        if isinstance(fields, dict) and option in fields:
            try:
                found[name] = convert(row, fields[option])
            except ValueError:
                continue  # of a definition of another release
    return found


def _configuration(spec: Spec) -> Configuration:
    known = configurations.load(environ={}, text="")
    for group, fields in patched(_values(spec)).items():
        known = replace(known, **{group: replace(getattr(known, group), **fields)})
    return known


def command(place: str, name: str, value: str | None) -> Sequence[str]:
    """The words that change an option there."""
    return ["configutil", "--mailservice", place, "-o", name, *(["-d"] if value is None else ["-v", value])]
