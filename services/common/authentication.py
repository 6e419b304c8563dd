"""How the clients of one service show who they are: which ways are open on a connection, and where each one leads."""

from __future__ import annotations

from services.common.directory import Entry, LoginRefusal, LoginRefused
from services.common.live import Live
from services.common.login import Login
from services.common.loginnames import prepare_name, split_at
from services.common.options import Configuration
from services.common.peer import Peer
from services.common.sasl.mechanisms import MECHANISMS, Means, Mechanism, offered
from services.common.sasl.steps import Credentials
from services.common.saslprep import saslprep


class Authentication:
    """What a front end asks about logins: what may be used here (`mechanisms`), and who it is (`password`).

    `service` is the front end's name, whose group of options has `plaintextmincipher`.
    """

    def __init__(self, service: str, login: Login, configuration: Live[Configuration]) -> None:
        self._service = service
        self._login = login
        self._configuration = configuration

    # ---- what is open on this connection
    def takes_passwords(self, peer: Peer) -> bool:
        """Whether a password may be sent on such a connection (`plaintextmincipher`, `sasl.localplaintext`).

        Says also whether LOGINDISABLED is announced and USER, PLAIN and LOGIN are offered.
        """
        configuration = self._configuration.value
        bits: int = getattr(configuration, self._service).plaintextmincipher
        if bits <= 0:
            return bits == 0
        return is_strong(peer, bits) or (peer.local and configuration.sasl.localplaintext)

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

    def _means(self, peer: Peer) -> Means:
        return Means.PASSWORDS if self.takes_passwords(peer) else Means.NONE

    # ---- who it is
    def prepared(self, name: str, password: str) -> Credentials:
        """A name and a password as they are compared (RFC 8265, RFC 4013). Raises ValueError: they cannot be right."""
        return Credentials(prepare_name(name), saslprep(password))

    def cached(self, credentials: Credentials, peer: Peer) -> Entry | None:
        """The account, at once, where this password was right not long ago; the fast path before `password`."""
        return self._login.cached(self._service, self._split(credentials.name), credentials.password, peer)

    async def password(self, credentials: Credentials, peer: Peer) -> Entry:
        """The account, if the password is right and its status allows a login. Raises as `Login.password` does."""
        return await self._login.password(self._service, self._split(credentials.name), credentials.password, peer)

    def _split(self, name: str) -> str:
        return split_at(name, self._configuration.value.directory.loginseparator)


def is_strong(peer: Peer, bits: int) -> bool:
    """Whether TLS protects the connection with a cipher of so many bits.

    A trusted proxy that ends TLS and does not tell the cipher is believed: what it negotiates is set there.
    """
    return peer.tls and (peer.cipherbits >= bits or (peer.proxied_tls and not peer.cipherbits))
