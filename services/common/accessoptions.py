"""Options of who is believed, and who is kept out for a while; a group of the table in `services.common.options`."""

from __future__ import annotations

from dataclasses import dataclass

from services.common.option import option


@dataclass(frozen=True, slots=True)
class AccessOptions:
    """Who is believed, and who is kept out for a while."""

    trustedproxies: tuple[str, ...] = option(
        (), "Networks of balancers and front ends that are believed when they say who their client is: by the PROXY "
        "header on a proxy port, by XCLIENT in POP3, ID in IMAP, and in HTTP by http.forwardedfields.",
        live=True, syntax="network",
    )  # fmt: skip
    dnsresolveclient: bool = option(
        False, "Whether the host name of each client is looked up for the log; what filters and rules ask for is found "
        "out anyway.", live=True, legacy="service.dnsresolveclient",
    )  # fmt: skip
    nameservers: tuple[str, ...] = option(
        (), "Name servers that are asked for host names; empty: those of the system.", syntax="nameserver"
    )
    bgmaxbadness: int = option(
        60, "Seconds that a login waits at most because of earlier ones that failed.", low=0, high=600, unit="s",
        live=True,
    )  # fmt: skip
    bgdecay: int = option(
        900, "Seconds without a failed login after which an address does not wait any more.", low=1, high=86_400,
        unit="s", live=True,
    )  # fmt: skip
    banfailures: int = option(
        100, "Failed logins from one address, with none between them that succeeds, that shut it out; 0: none do.",
        low=0, high=1_000_000, live=True,
    )  # fmt: skip
    banwindow: int = option(600, "Seconds in which they have to come.", low=1, high=86_400, unit="s", live=True)
    bantime: int = option(
        3600, "Seconds that the address is shut out then.", low=1, high=31_536_000, unit="s", live=True
    )
    bgexcluded: tuple[str, ...] = option(
        ("127.0.0.0/8", "::1/128"), "Networks whose failed logins are never held against them; trusted proxies' own "
        "addresses are not either.", live=True, syntax="network",
    )  # fmt: skip
    ipv6prefix: int = option(
        64, "Length of the IPv6 networks that count as one client: for sessions of an address, waits and bans.",
        low=16, high=128, unit="bits",
    )  # fmt: skip
    statefile: str = option(
        "run/access.state", "File in which the processes of a machine share who waits and who is shut out; empty: "
        "each process knows only what it saw.", path=True,
    )  # fmt: skip
