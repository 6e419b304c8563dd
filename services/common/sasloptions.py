"""Options of how clients show who they are; a group of the table in `services.common.options`."""

from __future__ import annotations

from dataclasses import dataclass

from services.common.option import option


@dataclass(frozen=True, slots=True)
class SaslOptions:
    """How clients show who they are."""

    mech_list: tuple[str, ...] = option(
        (), "Mechanisms that may be used, in the order in which they are offered; empty: all that are switched on. "
        "Whatever it says, one is offered only where it can work.", live=True, legacy="sasl.default.mech_list",
        syntax="mechanism",
    )  # fmt: skip
    scram: bool = option(
        False, "Whether SCRAM-SHA-256 is offered, and its secrets are stored when a password is set; accounts whose "
        "password was set before cannot use it.", live=True,
    )  # fmt: skip
    has_plain_passwords: bool = option(
        False, "Whether CRAM-MD5 and APOP are offered; they need passwords that are stored in clear.", live=True,
        legacy="sasl.default.ldap.has_plain_passwords",
    )  # fmt: skip
    oauthkeys: str = option(
        "", "The authorization server's keys (JSON Web Key Set): a file, or an https URL; empty: no bearer tokens.",
        live=True, syntax="keys",
    )  # fmt: skip
    oauthissuer: str = option("", "Issuer (iss) that a token must have.", live=True)
    oauthaudience: str = option("", "Audience (aud) that a token must have: what it was issued for.", live=True)
    oauthscope: str = option("", "Scope that a token must have; empty: any.", live=True)
    oauthclaim: str = option("email", "Claim of a token that holds the login name.", low=1, high=128, live=True)
    oauthkeysttl: int = option(
        3600, "Seconds that keys are kept before they are fetched anew.", low=60, high=604_800, unit="s", live=True
    )
    localplaintext: bool = option(
        True, "Whether clients on this machine (loopback, Unix sockets) may send passwords without TLS where "
        "plaintextmincipher asks for it.", live=True,
    )  # fmt: skip
