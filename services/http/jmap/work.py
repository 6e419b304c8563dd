"""What a method is given beside its arguments."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from services.http.jmap.arguments import Arguments, an_id
from services.http.jmap.errors import InvalidArguments, MethodError
from services.http.mail import names

if TYPE_CHECKING:
    from services.common.domain import AccountId, Quota
    from services.http.callers import Caller
    from services.http.mail.index import Index
    from services.http.service import HttpService


@dataclass(slots=True)
class Work:
    """One request of one caller. `created` holds ids by creation id, of the whole request."""

    service: HttpService
    caller: Caller
    created: dict[str, str] = field(default_factory=dict)

    @property
    def account_id(self) -> AccountId:
        """Whose mail it is."""
        return self.caller.account_id

    @property
    def quota(self) -> Quota:
        """What the account may hold."""
        return self.caller.entry.quota

    def check_account(self, arguments: Arguments) -> str:
        """accountId: there is one. Raises MethodError accountNotFound, InvalidArguments."""
        given = arguments.take("accountId", an_id, required=True)
        if given != names.account(self.account_id):
            raise MethodError("accountNotFound")
        return given

    async def index(self) -> Index:
        """The account as it is now. Good until the next await."""
        return await self.service.views.current(self.account_id)

    def resolved(self, reference: str) -> str:
        """An id, also where it is the creation id of what was made just now. Raises InvalidArguments."""
        if not reference.startswith("#"):
            return reference
        found = self.created.get(reference[1:])
        if found is None:
            raise InvalidArguments("a creation id is not known")
        return found


Answers = Mapping[str, Any] | list[tuple[str, Mapping[str, Any]]]
"""The arguments of the response; or several responses with their names."""
Method = Callable[[Work, Arguments], Awaitable[Answers]]
