"""One connection to one directory server, by ldap3. Used by one thread at a time; every step has a time-out."""

from __future__ import annotations

import ssl
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from time import monotonic
from typing import Any, Final

import ldap3
from ldap3.core.exceptions import LDAPException, LDAPExceptionError

from services.common.directory.ldap.answers import (
    NO_SUCH_OBJECT,
    POLICY_CONTROL,
    SUCCESS,
    NoAnswer,
    PasswordAnswer,
)
from services.common.directory.ldap.domains import Attributes
from services.common.directory.ldap.places import Place
from services.common.options import LdapOptions

SUBTREE: Final = "SUBTREE"
BASE: Final = "BASE"
CERTIFICATE: Final = "userCertificate;binary"
"""Where an entry holds certificates (RFC 4523 section 2.1)."""
SIZE_LIMIT: Final = 4
PAGE: Final = 500
_PAGED: Final = "1.2.840.113556.1.4.319"


class LinkLost(Exception):  # noqa: N818 - an answer, not a fault
    """The connection could not be made or is gone. `slow`: the server did not answer in time."""

    def __init__(self, text: str, *, slow: bool = False) -> None:
        super().__init__(text)
        self.slow = slow


@dataclass(frozen=True, slots=True)
class Found:
    """An entry that a search found. `certificates` are those that it holds (DER), where they were asked for."""

    dn: str
    attributes: Attributes
    certificates: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True)
class Question:
    """A search: where, in which scope, by which filter, for which attributes, and how many entries at most."""

    base: str
    filter: str
    attributes: Sequence[str]
    scope: str = SUBTREE
    limit: int = 2


class _Verified(ldap3.Tls):
    """TLS as Python's own context does it: chain, host name, no old versions. ldap3 would look at the name itself."""

    def __init__(self, context: ssl.SSLContext) -> None:
        super().__init__(validate=ssl.CERT_REQUIRED)
        self._context = context

    def wrap_socket(self, connection: Any, do_handshake: bool = False) -> None:
        """Called by ldap3 for ldaps and for StartTLS."""
        connection.socket = self._context.wrap_socket(
            connection.socket, do_handshake_on_connect=do_handshake, server_hostname=connection.server.host
        )


def tls_context(options: LdapOptions) -> ssl.SSLContext:
    """Trusts `ldap.cafile`, or where there is none the system's authorities. Raises OSError."""
    context = ssl.create_default_context(cafile=options.cafile or None)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


class Link:
    """An open connection. Every method raises LinkLost, after which it is of no use, and may raise NoAnswer."""

    def __init__(self, place: Place, options: LdapOptions) -> None:
        """Connects, and begins TLS where that is to be."""
        self._place = place
        self.used = monotonic()
        """When it was last of use."""
        self._connection = _connection(place, options)
        try:
            self._open(options)
        except (LDAPException, OSError, LinkLost) as error:
            # ldap3 leaves the socket open where TLS does not come about.
            if self._connection.socket is not None:
                self._connection.socket.close()
            raise _lost(error) from None

    def _open(self, options: LdapOptions) -> None:
        connection = self._connection
        connection.open(read_server_info=False)
        # From here on Python counts the time of each step, TLS or not.
        connection.socket.settimeout(options.connecttimeout)
        if options.starttls and not self._place.tls and not connection.start_tls(read_server_info=False):
            raise LinkLost("StartTLS is refused")
        connection.socket.settimeout(options.searchtimeout)

    def bind(self, dn: str, password: str) -> PasswordAnswer:
        """Ask whether the password is right; the connection is that account's from then on."""
        if not dn or not password:
            # Without one of them this would be an anonymous bind, which succeeds (RFC 4513 section 5.1.2).
            raise ValueError("a bind without name or password")
        connection = self._connection
        connection.user, connection.password, connection.authentication = dn, password, ldap3.SIMPLE
        try:
            connection.bind(read_server_info=False, controls=[(POLICY_CONTROL, False, None)])
        except (LDAPException, OSError) as error:
            raise _lost(error) from None
        finally:
            connection.password = None
        return _password_answer(connection.result)

    def compare(self, dn: str, attribute: str, value: str) -> PasswordAnswer:
        """Ask whether the entry's attribute has the value."""
        self._ask(lambda connection: connection.compare(dn, attribute, value))
        return _password_answer(self._connection.result)

    def search(self, question: Question) -> list[Found]:
        """The entries, at most `limit`; none where the base is not there."""
        self._ask(lambda connection: connection.search(**_search(question), size_limit=question.limit))
        if self._connection.result["result"] not in (SUCCESS, SIZE_LIMIT, NO_SUCH_OBJECT):
            raise NoAnswer(_said(self._connection.result))
        return self._found()

    def search_all(self, question: Question) -> Iterator[Found]:
        """Every entry, in pages (RFC 2696), so that no limit of the server cuts the answer."""
        cookie: bytes | None = None
        while True:
            page = {"paged_size": PAGE, "paged_criticality": True, "paged_cookie": cookie}
            self._ask(lambda connection, page=page: connection.search(**_search(question), **page))
            if self._connection.result["result"] != SUCCESS:
                raise NoAnswer(_said(self._connection.result))
            yield from self._found()
            cookie = self._connection.result["controls"].get(_PAGED, {}).get("value", {}).get("cookie")
            if not cookie:
                return

    def close(self) -> None:
        """Say goodbye, if the other end is there to hear it."""
        try:
            self._connection.unbind()
        except (LDAPException, OSError):
            return

    def _ask(self, send: Any) -> None:
        try:
            send(self._connection)
        except (LDAPException, OSError) as error:
            raise _lost(error) from None

    def _found(self) -> list[Found]:
        entries = self._connection.response or ()
        return [
            _entry(each["dn"], {name.lower(): values for name, values in each["raw_attributes"].items()})
            for each in entries
            if each["type"] == "searchResEntry"
        ]


def _connection(place: Place, options: LdapOptions) -> Any:
    """ldap3's connection, not open yet. Raises LinkLost where the CA file cannot be read."""
    secured = place.tls or options.starttls
    try:
        tls = _Verified(tls_context(options)) if secured else None
    except OSError as error:
        raise LinkLost(f"ldap.cafile: {error.strerror or error}") from None
    server = ldap3.Server(
        place.host, place.port, use_ssl=place.tls, tls=tls, get_info=ldap3.NONE, connect_timeout=options.connecttimeout
    )
    return ldap3.Connection(
        server,
        client_strategy=ldap3.SYNC,
        receive_timeout=options.searchtimeout,
        auto_referrals=False,
        check_names=False,
        read_only=True,
        auto_encode=False,
        auto_escape=False,
    )


def _search(question: Question) -> dict[str, Any]:
    return {
        "search_base": question.base,
        "search_filter": question.filter,
        "search_scope": question.scope,
        "dereference_aliases": ldap3.DEREF_NEVER,
        "attributes": list(question.attributes),
    }


def _entry(dn: str, values: dict[str, Sequence[bytes]]) -> Found:
    certificates = tuple(values.pop(CERTIFICATE.lower(), ()))
    return Found(dn, {name: _texts(each) for name, each in values.items()}, certificates)


def _texts(values: Sequence[bytes]) -> tuple[str, ...]:
    """Values as text; what is no UTF-8 can be compared with nothing."""
    return tuple(value.decode("utf-8", "replace") for value in values)


def _password_answer(result: dict[str, Any]) -> PasswordAnswer:
    controls = result.get("controls") or {}
    values = {oid: control["value"] or b"" for oid, control in controls.items()}
    return PasswordAnswer(
        result["result"], result["message"] or "", {oid: value for oid, value in values.items() if type(value) is bytes}
    )


def _said(result: dict[str, Any]) -> str:
    return f"result {result['result']} ({result['description']})"


def _lost(error: Exception) -> LinkLost:
    """One short text of what happened. ldap3 wraps what the socket said, not always as a cause."""
    if isinstance(error, LinkLost):
        return error
    text = " ".join(str(error).split())
    slow = isinstance(error, TimeoutError) or "timed out" in text or "temporarily unavailable" in text
    kind = "" if isinstance(error, LDAPExceptionError) else f"{type(error).__name__}: "
    return LinkLost(f"{kind}{text}" or type(error).__name__, slow=slow)
