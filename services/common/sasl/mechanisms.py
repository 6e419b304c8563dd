"""The table of mechanisms, and which of them are offered on a connection. No I/O."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import IntFlag
from functools import lru_cache
from typing import Final

from services.common.sasl.digest import apop, cram_md5
from services.common.sasl.external import external
from services.common.sasl.oauth import oauthbearer, xoauth2
from services.common.sasl.plain import login, plain
from services.common.sasl.scram import scram
from services.common.sasl.steps import Run, Situation


class Means(IntFlag):
    """What a mechanism needs, and a connection or the configuration has."""

    NONE = 0
    PASSWORDS = 1
    """A password may cross this connection."""
    PRIVATE = 2
    """Nobody can read along, whatever is said of passwords."""
    CERTIFICATE = 4
    """The client has shown a certificate."""
    BINDING = 8
    """TLS ends here, so that a mechanism can be bound to it."""
    BINDING_OF_DEFAULT = 128
    """What clients bind to unless they know better is known here, too."""
    TOKENS = 16
    """There are keys to check bearer tokens with."""
    SCRAM = 32
    """Accounts have SCRAM secrets (`sasl.scram`)."""
    CLEARTEXT = 64
    """Accounts have passwords in clear (`sasl.has_plain_passwords`)."""


@dataclass(frozen=True, slots=True)
class Mechanism:
    """One row. `needs`: without these it cannot work here, and is neither offered nor taken. `switches`: without these
    it is not offered unless `sasl.mech_list` names it.
    """

    name: str
    run: Callable[[bytes | None, Situation], Run]
    needs: Means = Means.NONE
    switches: Means = Means.NONE


MECHANISMS: Final[dict[str, Mechanism]] = {
    row.name: row
    for row in (
        Mechanism("SCRAM-SHA-256-PLUS", scram(plus=True), Means.BINDING, Means.SCRAM | Means.BINDING_OF_DEFAULT),
        Mechanism("SCRAM-SHA-256", scram(plus=False), switches=Means.SCRAM),
        Mechanism("EXTERNAL", external, Means.CERTIFICATE),
        Mechanism("OAUTHBEARER", oauthbearer, Means.TOKENS | Means.PRIVATE),
        Mechanism("XOAUTH2", xoauth2, Means.TOKENS | Means.PRIVATE),
        Mechanism("PLAIN", plain, Means.PASSWORDS),
        Mechanism("LOGIN", login, Means.PASSWORDS),
        Mechanism("CRAM-MD5", cram_md5, switches=Means.CLEARTEXT),
    )
}
APOP: Final = Mechanism("APOP", apop, switches=Means.CLEARTEXT)
"""A command of POP3 rather than a mechanism, and in `sasl.mech_list` named like one."""
NAMES: Final = (*MECHANISMS, APOP.name)


@lru_cache
def offered(means: Means, listed: Sequence[str] = ()) -> tuple[str, ...]:
    """Names of the mechanisms for CAPA and CAPABILITY: those of `listed` (`sasl.mech_list`) in its order, else all in
    the table's that are switched on, as far as they can work.
    """
    named = (MECHANISMS[name] for name in listed if name in MECHANISMS) if listed else MECHANISMS.values()
    return tuple(row.name for row in named if works(row, means, listed))


def works(row: Mechanism, means: Means, listed: Sequence[str]) -> bool:
    """Whether the mechanism is on, and can be used."""
    wanted = row.name in listed if listed else row.switches & means == row.switches
    return wanted and row.needs & means == row.needs
