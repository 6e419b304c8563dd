"""What a directory keeps of a password: its hash, and secrets for mechanisms that never see the password."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from services.common.passwords import hash_password
from services.common.sasl.scram import make_secret, parse_secret
from services.common.sasl.steps import SecretKind
from services.common.saslprep import saslprep

MAX_CLEARTEXT: Final = 4096
_MAKERS: Final[dict[SecretKind, Callable[[str], str]]] = {
    SecretKind.SCRAM_SHA_256: lambda password: str(make_secret(password)),
    SecretKind.CLEARTEXT: str,
}


def secured(password: str, old: Iterable[str], *, scram: bool) -> tuple[str, list[str]]:
    """The hash of a password, and secrets of the kinds that `old` has and, with `scram`, of SCRAM.

    In the form in which every protocol compares it (RFC 4013). Without a password nothing is kept, so that an old one
    works nowhere. Raises ValueError where the password cannot be used. Takes some ten milliseconds.
    """
    if not password:
        return "", []
    prepared = saslprep(password)
    if not prepared:
        raise ValueError("it has no character that counts (RFC 4013)")
    kinds = {kind for text in old for kind in SecretKind if text.startswith(kind.value)}
    if scram:
        kinds.add(SecretKind.SCRAM_SHA_256)
    return hash_password(prepared), [f"{kind.value}{_MAKERS[kind](prepared)}" for kind in SecretKind if kind in kinds]


def is_secret(text: str) -> bool:
    """Whether the text is a secret that a mechanism can use."""
    if text.startswith(SecretKind.CLEARTEXT.value):
        return 0 < len(text) - len(SecretKind.CLEARTEXT.value) <= MAX_CLEARTEXT
    scram = SecretKind.SCRAM_SHA_256.value
    try:
        parse_secret(text.removeprefix(scram))
    except ValueError:
        return False
    return text.startswith(scram)
