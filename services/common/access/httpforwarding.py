"""What proxies say of a client in an HTTP request: `Forwarded` (RFC 7239), or `X-Forwarded-For` and `-Proto`.

Each proxy adds to the end of the list, and what stands before may be the client's own invention. So the list is read
from its end, as long as those who are named are trusted themselves: the first who is not is the client.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final

from services.common.access.patterns import host
from services.common.peer import Forwarded

MAX_ELEMENTS: Final = 32
FORWARDED: Final = "forwarded"
X_FORWARDED: Final = "x-forwarded"
_SECURE: Final = frozenset({"https", "wss"})
_WORD: Final = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_PAIR: Final = re.compile(rf'\s*({_WORD})=({_WORD}|"(?:[^"\\]|\\.)*")\s*(;|,|$)')
_ESCAPED: Final = re.compile(r"\\(.)")
_NODE: Final = re.compile(r"(?:\[([0-9A-Fa-f:.]{2,45})\]|(\d{1,3}(?:\.\d{1,3}){3}))(?::[0-9A-Za-z._-]{1,20})?")

Element = Mapping[str, str]
"""What one proxy said: `for` and perhaps `proto` and `by`."""


def forwarded_elements(lines: Sequence[str]) -> list[Element]:
    """Read the fields `Forwarded` of a request. Raises ValueError."""
    return _bounded([element for line in lines for element in _elements(line)])


def x_forwarded_elements(names: Sequence[str], protocols: Sequence[str]) -> list[Element]:
    """The same of `X-Forwarded-For` and `X-Forwarded-Proto`, whose lists belong together from their ends."""
    clients, schemes = _listed(names), _listed(protocols)
    # Most proxies replace the protocol instead of adding theirs: the one that is left is that of the client.
    missing = max(0, len(clients) - len(schemes))
    schemes = [schemes[0]] * missing + schemes if schemes else []
    paired = schemes[len(schemes) - len(clients) :] if schemes else [""] * len(clients)
    return _bounded([{"for": name, "proto": scheme} for name, scheme in zip(clients, paired, strict=True)])


def read_client(elements: Sequence[Element], trusts: Callable[[str], bool]) -> Forwarded | None:
    """The client that the elements name; None where they name none (`unknown`, a made-up name, nothing)."""
    found: Forwarded | None = None
    for element in reversed(elements):
        address = _address(element.get("for", ""))
        if address is None:
            return None
        scheme = element.get("proto", "").lower()
        found = Forwarded(address, tls=scheme in _SECURE if scheme else None, relayed=True)
        if not trusts(address):
            return found
    # Nobody beyond the proxies: a request of their own network.
    return found


def _elements(line: str) -> Iterator[Element]:
    element: dict[str, str] = {}
    position = 0
    while position < len(line):
        pair = _PAIR.match(line, position)
        if pair is None:
            raise ValueError("this is no Forwarded field")
        name, value, end = pair.groups()
        element[name.lower()] = _ESCAPED.sub(r"\1", value[1:-1]) if value.startswith('"') else value
        position = pair.end()
        if end != ";":
            yield element
            element = {}
    if element:
        yield element


def _listed(lines: Sequence[str]) -> list[str]:
    return [word for line in lines for part in line.split(",") if (word := part.strip())]


def _bounded(elements: list[Element]) -> list[Element]:
    if len(elements) > MAX_ELEMENTS:
        raise ValueError("too many proxies")
    return elements


def _address(node: str) -> str | None:
    """The address of a node (RFC 7239 section 6), with or without its port; None where it has none."""
    match = _NODE.fullmatch(node)
    text = (match[1] or match[2]) if match else node
    address = host(text).address if "%" not in text else None
    return None if address is None else str(address)
