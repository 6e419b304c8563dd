"""How a name server is written: `192.0.2.1`, `192.0.2.1:5353`, `2001:db8::1`, `[2001:db8::1]:5353`."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Final

PORT: Final = 53


def parse_nameserver(text: str) -> tuple[str, int]:
    """Address and port. Raises ValueError."""
    if text.count(":") == 1 or text.startswith("["):
        address, _, port = text.rpartition(":") if not text.endswith("]") else (text, "", str(PORT))
        if not (port.isascii() and port.isdecimal() and 0 < int(port) < 65_536):
            raise ValueError("this is no port")
        return str(ip_address(address.removeprefix("[").removesuffix("]"))), int(port)
    return str(ip_address(text)), PORT
