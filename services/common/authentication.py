"""How the clients of one service show who they are: which ways are open on a connection, and where each one leads."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from hashlib import blake2b
from typing import Final

from services.common.certificatelogins import CertificateLogins
from services.common.directory import Entry, LoginRefusal, LoginRefused
from services.common.live import Live
from services.common.login import Login
from services.common.loginnames import prepare_name, split_at
from services.common.memory import Memory
from services.common.options import Configuration
from services.common.peer import Peer
from services.common.sasl.exchange import Exchange
from services.common.sasl.mechanisms import APOP, MECHANISMS, Means, Mechanism, offered, works
from services.common.sasl.steps import (
    CertificateWanted,
    Challenge,
    Credentials,
    End,
    Proved,
    Rejected,
    SecretKind,
    SecretWanted,
    Situation,
    Step,
    Wanted,
)
from services.common.saslprep import saslprep
from services.common.tokens import Tokens

NONCE_BYTES: Final = 18
LATELY: Final = 1000
LATELY_SECONDS: Final = 10.0
TLS_OF_UNIQUE: Final = "TLSv1.2"
"""Where tls-unique is what clients bind to (RFC 5929 section 3, RFC 9266 section 3)."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Who has logged in: the account that is used, and the one whose password (or certificate, ...) was right."""

    entry: Entry
    by: Entry

    @property
    def administrator(self) -> Entry | None:
        """Who may go on to act as others; None for everybody else."""
        return self.by if self.by.acts_for_others else None


class Authentication:
    """What a front end asks about logins: what may be used here (`mechanisms`), and who it is (`finish`).

    `service` is the front end's name, whose group of options has `plaintextmincipher`.
    """

    def __init__(self, service: str, login: Login, configuration: Live[Configuration]) -> None:
        self._service = service
        self._login = login
        self._configuration = configuration
        self._certificates = CertificateLogins(service, login, configuration.part(lambda value: value.tls))
        self._certified: Memory[bytes, str] = Memory(LATELY)
        """Accounts by the certificates that meant them a moment ago, "" for none."""
        self._tokens = Tokens(service, configuration.part(lambda value: value.sasl))
        self._decoy_key = _decoy_key(configuration.value.tls.keyfile)
        self._decoy_like = ""

    # ---- what is open on this connection
    def takes_passwords(self, peer: Peer) -> bool:
        """Whether a password may be sent on such a connection (`plaintextmincipher`, `sasl.localplaintext`).

        Says also whether LOGINDISABLED is announced and USER, PLAIN and LOGIN are offered.
        """
        bits: int = getattr(self._configuration.value, self._service).plaintextmincipher
        return bits == 0 or (bits > 0 and self._is_private(peer, bits))

    def mechanisms(self, peer: Peer) -> tuple[str, ...]:
        """The SASL mechanisms that can be used on this connection now."""
        return offered(self._means(peer), self._configuration.value.sasl.mech_list)

    def mechanism(self, name: str, peer: Peer) -> Mechanism | None:
        """The mechanism of that name, where it can be used on this connection now.

        Raises LoginRefused (PLAINTEXT): it sends a password, and none may cross here.
        """
        if name in self.mechanisms(peer):
            return MECHANISMS[name]
        if name in MECHANISMS and MECHANISMS[name].needs & Means.PASSWORDS and not self.takes_passwords(peer):
            raise LoginRefused(LoginRefusal.PLAINTEXT)
        return None

    @property
    def takes_apop(self) -> bool:
        """Whether APOP is switched on; it works on every connection."""
        return works(APOP, self._switches(), self._configuration.value.sasl.mech_list)

    def _means(self, peer: Peer) -> Means:
        means = self._switches()
        if self.takes_passwords(peer):
            means |= Means.PASSWORDS
        if self._is_private(peer, 1):
            means |= Means.PRIVATE
        if peer.certificate is not None:
            means |= Means.CERTIFICATE
        if peer.tls and not peer.proxied_tls:
            # Under TLS 1.3 clients bind to tls-exporter (RFC 9266), which the ssl module does not have: one that is
            # offered -PLUS there takes it, and fails.
            means |= Means.BINDING | (Means.BINDING_OF_DEFAULT if peer.version == TLS_OF_UNIQUE else Means.NONE)
        return means

    def _switches(self) -> Means:
        options = self._configuration.value.sasl
        switched = ((Means.SCRAM, options.scram), (Means.CLEARTEXT, options.has_plain_passwords))
        known = (*switched, (Means.TOKENS, bool(options.oauthkeys)))
        return Means(sum(means for means, on in known if on))

    def _is_private(self, peer: Peer, bits: int) -> bool:
        return is_strong(peer, bits) or (peer.local and self._configuration.value.sasl.localplaintext)

    # ---- an exchange
    def exchange(self, mechanism: Mechanism, peer: Peer, bind: Callable[[], Mapping[str, bytes]]) -> Exchange:
        """Begin one. `bind` gives the connection's bindings by their names (RFC 5929); asked where they are needed."""
        bindings = bind() if mechanism.needs & Means.BINDING else {}
        binds = "SCRAM-SHA-256-PLUS" in self.mechanisms(peer)
        return Exchange(mechanism, Situation(bindings, binds, self.nonce(), self._decoy_key, self._decoy_like))

    def apop(self, nonce: str) -> Exchange:
        """An exchange whose challenge, made of `nonce`, was in the greeting."""
        return Exchange(APOP, Situation(nonce=nonce))

    def nonce(self) -> str:
        """Text that nobody can foresee and that does not come again."""
        return secrets.token_urlsafe(NONCE_BYTES)

    async def settle(self, exchange: Exchange, step: Step, peer: Peer) -> Challenge | End:
        """Answer what the mechanism wants of our side, until the client is to be asked or it is over.

        Raises SaslError, LoginRefused (BANNED), DirectoryUnavailable.
        """
        while isinstance(step, Wanted):
            step = exchange.supply(await self._supply(step, peer))
        return step

    async def _supply(self, wanted: Wanted, peer: Peer) -> str | None:
        """Before the answer, not after: the next challenge may tell the client already whether it was right."""
        await self._login.hold_up(self._service, getattr(wanted, "name", ""), peer)
        if isinstance(wanted, SecretWanted):
            entry = await self._login.account(self._split(wanted.name))
            secret = None if entry is None else _secret(entry, wanted.kind.value)
            if secret is not None and wanted.kind is SecretKind.SCRAM_SHA_256:
                self._decoy_like = secret
            return secret
        if isinstance(wanted, CertificateWanted):
            return await self._certificates.name(peer.certificate or b"", self._split(wanted.authorize_as))
        return await self._token_name(wanted.token)

    async def _token_name(self, token: str) -> str | None:
        name = await self._tokens.name(token)
        try:
            return None if name is None else prepare_name(name)
        except ValueError:
            return None

    # ---- who it is
    def prepared(self, name: str, password: str) -> Credentials:
        """A name and a password as they are compared (RFC 8265, RFC 4013). Raises ValueError: they cannot be right."""
        return Credentials(prepare_name(name), saslprep(password))

    def cached(self, credentials: Credentials, peer: Peer) -> Identity | None:
        """The account, at once, where this password was right not long ago; the fast path before `finish`."""
        if credentials.authorize_as not in ("", credentials.name):
            return None
        entry = self._login.cached(self._service, self._split(credentials.name), credentials.password, peer)
        return None if entry is None else Identity(entry, entry)

    async def finish(self, end: End, peer: Peer) -> Identity:
        """What the exchange comes to. Raises LoginRefused, DirectoryUnavailable; see `Login`, which logs and delays."""
        name, judge = self._split(end.name), self._login
        if isinstance(end, Credentials):
            entry = await judge.password(self._service, name, end.password, peer)
        elif isinstance(end, Proved):
            entry = await judge.proved(self._service, name, peer)
        else:
            await judge.refuse(self._service, name, peer, end.why)
        if end.authorize_as in ("", end.name):
            return Identity(entry, entry)
        return await self.acting(entry, end.authorize_as, peer)

    # ---- without an exchange
    def takes_tokens(self, peer: Peer) -> bool:
        """Whether a bearer token may be shown on such a connection, outside of SASL (RFC 6750)."""
        wanted = Means.TOKENS | Means.PRIVATE
        return self._means(peer) & wanted == wanted

    async def bearer(self, token: str, peer: Peer) -> Identity:
        """Whom a bearer token names. Raises LoginRefused, DirectoryUnavailable."""
        if not self.takes_tokens(peer):
            raise LoginRefused(LoginRefusal.PLAINTEXT)
        await self._login.hold_up(self._service, "", peer)
        name = await self._token_name(token)
        return await self._lately(name, peer) if name else await self.finish(Rejected("", "the token is no good"), peer)

    async def certified(self, peer: Peer) -> Identity | None:
        """Whom the client's certificate means, where it has shown one; None where it means nobody.

        Raises LoginRefused, where it means an account that may not log in, and DirectoryUnavailable.
        """
        if peer.certificate is None:
            return None
        name = self._certified.get(peer.certificate)
        if name is None:
            name = await self._certificates.name(peer.certificate, "") or ""
            self._certified.put(peer.certificate, name, LATELY_SECONDS)
        return await self._lately(name, peer) if name else None

    async def _lately(self, name: str, peer: Peer) -> Identity:
        """Who has shown to be `name`, as request after request does: the directory is asked now and then."""
        await self._login.account(self._split(name))
        return await self.finish(Proved(name), peer)

    async def acting(self, entry: Entry, name: str, peer: Peer) -> Identity:
        """`entry` acting as the account `name`. Raises as `Login.acting` does."""
        return Identity(await self._login.acting(self._service, entry, self._split(name), peer), entry)

    def _split(self, name: str) -> str:
        return split_at(name, self._configuration.value.directory.loginseparator)


def is_strong(peer: Peer, bits: int) -> bool:
    """Whether TLS protects the connection with a cipher of so many bits.

    A trusted proxy that ends TLS and does not tell the cipher is believed: what it negotiates is set there.
    """
    return peer.tls and (peer.cipherbits >= bits or (peer.proxied_tls and not peer.cipherbits))


def _secret(entry: Entry, prefix: str) -> str | None:
    """The account's stored secret of one kind, without its prefix."""
    return next((text[len(prefix) :] for text in entry.secrets if text.startswith(prefix)), None)


def _decoy_key(keyfile: str) -> bytes:
    """A key for secrets of names that are unknown: the same in every process and on every host that has the TLS key,
    so that who asks twice cannot tell them from known ones; without TLS one of this process alone.
    """
    try:
        with open(keyfile, "rb") as file:
            return blake2b(b"".join(iter(partial(file.read, 1 << 16), b"")), digest_size=32, person=b"decoys").digest()
    except OSError:
        return os.urandom(32)
