"""Connections to directory servers, by ldap3: connected, under TLS, in a thread; and searches of many pages.

Every step has a time-out. What a login asks goes over `lanes`, which take the open connection over.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import ldap3
from ldap3.core.exceptions import LDAPException, LDAPExceptionError

from services.common.directory.ldap.answers import SUCCESS, NoAnswer
from services.common.directory.ldap.lanes import Found, LinkLost, Question, found_of
from services.common.directory.ldap.places import Place
from services.common.options import LdapOptions

PAGE: Final = 500
_PAGED: Final = "1.2.840.113556.1.4.319"


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


def connected(place: Place, options: LdapOptions) -> socket.socket:
    """A connection on which nothing has been said yet but what begins TLS. Blocks. Raises LinkLost."""
    found: socket.socket = _opened(place, options).socket
    return found


def bind_password(options: LdapOptions) -> str:
    """The service account's, without the line's end that a file may have. Blocks. Raises LinkLost."""
    if not options.bindpasswordfile:
        return options.bindpassword
    try:
        return Path(options.bindpasswordfile).read_text("utf-8").rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise LinkLost(f"ldap.bindpasswordfile cannot be read: {type(error).__name__}") from None


def search_all(place: Place, options: LdapOptions, question: Question) -> list[Found]:
    """Every entry, in pages (RFC 2696), so that no limit of the server cuts the answer. Blocks.

    Raises LinkLost, NoAnswer.
    """
    connection = _opened(place, options)
    try:
        if options.binddn:
            connection.user, connection.password = options.binddn, bind_password(options)
            connection.authentication = ldap3.SIMPLE
            if not connection.bind(read_server_info=False):
                raise LinkLost(f"the service account {options.binddn} is refused")
        return list(_pages(connection, question))
    except (LDAPException, OSError) as error:
        raise _lost(error) from None
    finally:
        _close(connection)


def _pages(connection: Any, question: Question) -> Iterator[Found]:
    cookie: bytes | None = None
    while True:
        connection.search(
            question.base,
            question.filter,
            search_scope=ldap3.SUBTREE,
            dereference_aliases=ldap3.DEREF_NEVER,
            attributes=list(question.attributes),
            paged_size=PAGE,
            paged_criticality=True,
            paged_cookie=cookie,
        )
        result = connection.result
        if result["result"] != SUCCESS:
            raise NoAnswer(f"result {result['result']}")
        for each in connection.response or ():
            if each["type"] == "searchResEntry":
                yield found_of(each["dn"], {name.lower(): held for name, held in each["raw_attributes"].items()})
        cookie = result["controls"].get(_PAGED, {}).get("value", {}).get("cookie")
        if not cookie:
            return


def _opened(place: Place, options: LdapOptions) -> Any:
    """ldap3's connection, under TLS where that is to be. Raises LinkLost."""
    connection = _connection(place, options)
    try:
        connection.open(read_server_info=False)
        # From here on Python counts the time of each step, TLS or not.
        connection.socket.settimeout(options.connecttimeout)
        if options.starttls and not place.tls and not connection.start_tls(read_server_info=False):
            raise LinkLost("StartTLS is refused")
        connection.socket.settimeout(options.searchtimeout)
    except (LDAPException, OSError, LinkLost) as error:
        # ldap3 leaves the socket open where TLS does not come about.
        if connection.socket is not None:
            connection.socket.close()
        raise _lost(error) from None
    return connection


def _close(connection: Any) -> None:
    try:
        connection.unbind()
    except (LDAPException, OSError):
        return


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


def _lost(error: Exception) -> LinkLost:
    """One short text of what happened. ldap3 wraps what the socket said, not always as a cause."""
    if isinstance(error, LinkLost):
        return error
    text = " ".join(str(error).split())
    slow = isinstance(error, TimeoutError) or "timed out" in text or "temporarily unavailable" in text
    kind = "" if isinstance(error, LDAPExceptionError) else f"{type(error).__name__}: "
    return LinkLost(f"{kind}{text}" or type(error).__name__, slow=slow)
