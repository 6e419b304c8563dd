"""A directory for tests: people and their passwords in a dictionary."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from services.common.certmap import CertificateQuery
from services.common.directory import (
    AddressUnknown,
    DirectoryUnavailable,
    Entry,
    LoginRefusal,
    LoginRefused,
    Status,
    parse_name,
)
from services.common.directory.matching import matches
from services.common.domain import Quota

PASSWORD = "correct horse"


@dataclass(slots=True)
class People:
    """Implements `services.common.directory.Directory`; all have one quota, and `away` nobody can be looked up."""

    passwords: dict[str, str] = field(default_factory=dict)
    statuses: Mapping[str, Status] = field(default_factory=dict)
    quota: Quota = field(default_factory=Quota)
    access: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """The texts of `Entry.allowed_access` by account."""
    secrets: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """`Entry.secrets` by account."""
    administrators: frozenset[str] = frozenset()
    dns: Mapping[str, str] = field(default_factory=dict)
    """`Entry.dn` by account."""
    away: bool = False
    generation: int = 0
    ready: bool = True
    current: bool = True

    async def refresh(self) -> None:
        """See `Directory.refresh`."""

    async def authenticate(self, name: str, password: str) -> Entry:
        """See `Directory.authenticate`."""
        if self.away:
            raise DirectoryUnavailable
        account = str(parse_name(name))
        if self.passwords.get(account) != password:
            raise LoginRefused(LoginRefusal.CREDENTIALS)
        return self._entry(account)

    async def account(self, name: str) -> Entry:
        """See `Directory.account`."""
        if self.away:
            raise DirectoryUnavailable
        account = str(parse_name(name))
        if account not in self.passwords:
            raise LoginRefused(LoginRefusal.CREDENTIALS)
        return self._entry(account)

    async def by_certificate(self, query: CertificateQuery) -> Entry:
        """See `CertificateDirectory.by_certificate`."""
        found = [entry for entry in map(self._entry, self.passwords) if matches(entry, query)]
        if len(found) != 1:
            raise LoginRefused(LoginRefusal.CREDENTIALS)
        return found[0]

    async def lookup(self, address: str) -> Entry:
        """See `Directory.lookup`."""
        account = str(parse_name(address))
        if account not in self.passwords:
            raise AddressUnknown
        return self._entry(account)

    def _entry(self, account: str) -> Entry:
        return Entry(
            account,
            status=self.statuses.get(account, Status.ACTIVE),
            quota=self.quota,
            allowed_access=self.access.get(account, ()),
            secrets=self.secrets.get(account, ()),
            administrator=account in self.administrators,
            password_stamp=self.passwords[account],
            dn=self.dns.get(account, ""),
        )
