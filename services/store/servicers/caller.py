"""Who calls: the role that the table knows, and the process that owns locks and sessions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from services.common.errors import Reason, StoreError
from services.common.storeclient.channel import PROCESS_KEY, ROLE_KEY
from services.common.tracing import TRACEPARENT, read_traceparent
from services.store.roles import ROLES, role_of_names
from services.store.status import ServicerContext

MAX_PROCESS: Final = 200
"""Characters of a process's name."""
_NAMES: Final = ("x509_common_name", "x509_subject_alternative_name")


@dataclass(frozen=True, slots=True)
class Caller:
    """The one at the other end. `may` are the names of the methods that its role may call."""

    role: str
    process: str
    may: frozenset[str]

    def check(self, method: str) -> None:
        """Raises PERMISSION_DENIED."""
        if method not in self.may:
            raise StoreError(Reason.PERMISSION_DENIED, {"role": self.role, "method": method})


def caller_of(context: ServicerContext) -> Caller:
    """The caller of a call. Raises INVALID_ARGUMENT where its process has no usable name."""
    metadata = {key: value for key, value in context.invocation_metadata() or () if isinstance(value, str)}
    return _caller(_role(context, metadata), metadata)


def context_of(context: ServicerContext) -> bytes:
    """The span that a call is a part of, b"" for none."""
    given = dict(context.invocation_metadata() or ()).get(TRACEPARENT, "")
    return read_traceparent(given) if isinstance(given, str) else b""


def local_caller(metadata: Mapping[str, str]) -> Caller:
    """The caller over the Unix socket for frames, by what it says of itself. Raises INVALID_ARGUMENT."""
    return _caller(metadata.get(ROLE_KEY, ""), metadata)


def _caller(role: str, metadata: Mapping[str, str]) -> Caller:
    process = metadata.get(PROCESS_KEY, "")
    if len(process) > MAX_PROCESS:
        raise StoreError(Reason.INVALID_ARGUMENT)
    # A process's name is worth no more than the role that vouches for it.
    return Caller(role, f"{role}/{process}" if process else "", ROLES.get(role, frozenset()))


def _role(context: ServicerContext, metadata: Mapping[str, str]) -> str:
    proven = context.auth_context()
    if context.peer().startswith("unix:") and not any(name in proven for name in _NAMES):
        return metadata.get(ROLE_KEY, "")
    return role_of_names(name.decode("utf-8", "replace") for key in _NAMES for name in proven.get(key, ()))
