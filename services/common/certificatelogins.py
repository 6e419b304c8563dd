"""Whom a client's certificate means: by `certmap.conf`, or by the mail address in it."""

from __future__ import annotations

import asyncio
from typing import Final

from services.common.certmap import CertmapError, Map, choose
from services.common.certmapfile import load_certmap
from services.common.clientcert import CertificateInvalid, ClientCertificate, read
from services.common.directory import DirectoryUnavailable, Entry
from services.common.directory.users import signature
from services.common.live import Live
from services.common.login import Login
from services.common.sharedoptions import TlsOptions
from services.common.telemetry import current_log

_BY_SUBJECT: Final = Map("subject", None)
MAX_MAILS: Final = 10
"""Addresses of one certificate that are looked up."""


class CertificateLogins:
    """Answers for one service. The map is read again when its file has changed."""

    def __init__(self, service: str, login: Login, options: Live[TlsOptions]) -> None:
        self._service = service
        self._login = login
        self._options = options
        self._maps: tuple[Map, ...] = ()
        self._read: tuple[str, object] = ("", None)

    async def name(self, der: bytes, authorize_as: str) -> str | None:
        """The account that the certificate (DER) means, None where it means none; the log says why.

        Where its addresses are those of several accounts, it is the one that the client names. Raises
        DirectoryUnavailable.
        """
        try:
            certificate = await asyncio.to_thread(read, der)
        except CertificateInvalid as error:
            current_log(self._service).warning("the certificate cannot be read", why=str(error))
            return None
        found = {entry.account for entry in await self._entries(certificate)}
        if len(found) > 1 and authorize_as:
            named = await self._login.account(authorize_as)
            found &= {named.account} if named else set()
        if len(found) != 1:
            current_log(self._service).warning(
                "the certificate means no account", accounts=len(found), subject=_text(certificate)
            )
            return None
        return found.pop()

    async def _entries(self, certificate: ClientCertificate) -> list[Entry]:
        path = self._options.value.certmap
        if path:
            chosen = choose(await self._current(path), certificate)
            query = chosen.query(certificate) if chosen else None
        elif certificate.mails:
            found = [await self._login.by_address(mail) for mail in certificate.mails[:MAX_MAILS]]
            return [entry for entry in found if entry is not None]
        else:
            query = _BY_SUBJECT.query(certificate)
        entry = await self._login.by_certificate(query) if query else None
        return [] if entry is None else [entry]

    async def _current(self, path: str) -> tuple[Map, ...]:
        """The maps of the file as it is; those of before where it cannot be used. Raises DirectoryUnavailable."""
        now = (path, await asyncio.to_thread(signature, path))
        if now != self._read:
            try:
                self._maps = await asyncio.to_thread(load_certmap, path)
            except CertmapError as error:
                current_log(self._service).error("the certificate map cannot be used", path=path, problems=str(error))
            self._read = now
        if not self._maps:
            raise DirectoryUnavailable("there is no certificate map")
        return self._maps


def _text(certificate: ClientCertificate) -> str:
    return ",".join(f"{name}={value}" for rdn in certificate.subject for name, value in rdn)
