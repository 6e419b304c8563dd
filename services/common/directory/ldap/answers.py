"""What a directory's answer to a password means. No I/O.

Result codes: RFC 4511 appendix A. Password policy: draft-behera-ldap-password-policy-11 sections 6.2 and 9.1, the older
expired control of the iPlanet line (2.16.840.1.113730.3.4.4), and the codes that Active Directory writes into its text.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from services.common.directory import LoginRefusal

POLICY_CONTROL: Final = "1.3.6.1.4.1.42.2.27.8.5.1"
EXPIRED_CONTROL: Final = "2.16.840.1.113730.3.4.4"
SUCCESS: Final = 0
COMPARE_FALSE: Final = 5
COMPARE_TRUE: Final = 6
NO_SUCH_OBJECT: Final = 32
INVALID_CREDENTIALS: Final = 49

_REFUSED: Final[dict[int, LoginRefusal]] = {
    16: LoginRefusal.CREDENTIALS,  # noSuchAttribute: there is no password to compare with
    COMPARE_FALSE: LoginRefusal.CREDENTIALS,
    19: LoginRefusal.LOCKED,  # constraintViolation: too many wrong passwords, in directories of the iPlanet line
    NO_SUCH_OBJECT: LoginRefusal.CREDENTIALS,
    48: LoginRefusal.CREDENTIALS,  # inappropriateAuthentication: the entry has no password
    INVALID_CREDENTIALS: LoginRefusal.CREDENTIALS,
    53: LoginRefusal.LOCKED,  # unwillingToPerform: the directory has made the entry inactive
}
_POLICY: Final[dict[int, LoginRefusal]] = {
    0: LoginRefusal.EXPIRED,
    1: LoginRefusal.LOCKED,
    2: LoginRefusal.MUST_CHANGE,
}
_ACTIVE_DIRECTORY: Final[dict[str, LoginRefusal]] = {
    "532": LoginRefusal.EXPIRED,
    "533": LoginRefusal.INACTIVE,
    "701": LoginRefusal.INACTIVE,
    "773": LoginRefusal.MUST_CHANGE,
    "775": LoginRefusal.LOCKED,
}
_CODE_IN_TEXT: Final = re.compile(r"\bdata ([0-9a-f]{3}), v")
_SEQUENCE: Final = 0x30
_WARNING: Final = 0xA0
_ERROR: Final = 0x81


class NoAnswer(Exception):  # noqa: N818 - an answer, not a fault
    """The directory says neither yes nor no: busy, unavailable, a limit of its own."""


@dataclass(frozen=True, slots=True)
class PasswordAnswer:
    """The answer to a bind or compare: result code, text, and the values of its controls by number."""

    code: int
    text: str = ""
    controls: Mapping[str, bytes] = field(default_factory=dict)


def refusal(answer: PasswordAnswer) -> LoginRefusal | None:
    """Why the login is refused; None where the password is right. Raises NoAnswer."""
    error = policy_error(answer.controls.get(POLICY_CONTROL, b""))
    if answer.code in (SUCCESS, COMPARE_TRUE):
        if error == 2 or EXPIRED_CONTROL in answer.controls:
            return LoginRefusal.MUST_CHANGE
        return None
    if answer.code not in _REFUSED:
        raise NoAnswer(f"result {answer.code}")
    if error in _POLICY:
        return _POLICY[error]
    if answer.code == INVALID_CREDENTIALS and EXPIRED_CONTROL in answer.controls:
        return LoginRefusal.EXPIRED
    code = _CODE_IN_TEXT.search(answer.text)
    return _ACTIVE_DIRECTORY.get(code[1] if code else "", _REFUSED[answer.code])


def policy_error(value: bytes) -> int | None:
    """The `error` of a password policy response; None where there is none, or no such value."""
    tag, content, _ = _element(value)
    if tag != _SEQUENCE:
        return None
    tag, inner, rest = _element(content)
    if tag == _WARNING:
        tag, inner, rest = _element(rest)
    return inner[0] if tag == _ERROR and len(inner) == 1 else None


def _element(data: bytes) -> tuple[int, bytes, bytes]:
    """Tag, content and what follows, of lengths below 128 bytes; (-1, "", "") where that is not what is there."""
    if len(data) < 2 or data[1] > 0x7F or len(data) < 2 + data[1]:
        return -1, b"", b""
    end = 2 + data[1]
    return data[0], data[2:end], data[end:]
