"""Login names in the one form in which they are compared, and where they are split. No I/O.

The local part is prepared by the UsernameCaseMapped profile of PRECIS (RFC 8265 section 3.3), which leaves out what
only looks like a name's letters: ligatures, symbols, invisible characters. Addresses of mail are not login names and
are compared by `services.common.directory.parse_name`, which agrees with this on every name that can log in.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Final

from services.common.saslprep import saslprep

if TYPE_CHECKING:
    from precis_i18n.profile import Profile

AT: Final = "@"


def prepare_name(text: str) -> str:
    """The name in the form that is compared; "" stays so. Raises ValueError where nobody can have such a name.

    The domain is put into lower case by `parse_name` later; here it has to be text without control characters.
    """
    if text.isascii() and text.isprintable():
        return text.lower()
    local, at, domain = text.rpartition(AT)
    if not at:
        local, domain = domain, ""
    prepared = saslprep(domain)
    return f"{_profile().enforce(local) if local else ''}{at}{prepared.lower()}"


def split_at(name: str, separators: str) -> str:
    """The name with `@` before its domain, wherever `separators` (`service.loginseparator`) let it be split.

    The last separator counts, as in addresses. A name without one has no domain and stays as it is.
    """
    if separators == AT:
        return name
    place = max(map(name.rfind, separators), default=-1)
    return name if place < 0 else f"{name[:place]}{AT}{name[place + 1 :]}"


@lru_cache
def _profile() -> Profile:
    # Its tables cost 20 ms, and most processes never meet such a name.
    from precis_i18n import get_profile

    return get_profile("UsernameCaseMapped")
