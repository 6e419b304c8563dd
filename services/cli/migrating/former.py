"""Options of Messaging Server that the table of options does not have, and what becomes of them. No I/O.

Names, meanings and defaults from the Messaging Server Administration Guide and Reference (6 2005Q4, 6.3) and its wiki
chapters. What the table has under its Messaging Server name is not here.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Final

NO: Final = frozenset({"", "no", "0", "false", "off"})
YES: Final = frozenset({"yes", "1", "true", "on"})


@dataclass(frozen=True, slots=True)
class Rule:
    """What becomes of the options that `pattern` names (`*` is any text), and why.

    `option`: ours that takes the value, by `convert`. `harmless`: values (in lower case) with which nothing is lost.
    """

    pattern: str
    reason: str
    option: str = ""
    convert: Callable[[str], str] = str
    harmless: frozenset[str] = frozenset()


_LOGS: Final = "logs go to standard error; journald or the cluster keeps, rotates and forwards them"
_SUBMISSION: Final = "mail is not sent through Mailkeep: clients submit it to an MTA"
_PROXY: Final = "HTTP reads the message store itself, so that no IMAP server lies in between"
_DELIVERY: Final = "of the MTA; Mailkeep takes mail by LMTP from any"

RULES: Final = (
    Rule("service.*.sslusessl", "TLS is there where tls.certfile names a certificate", harmless=YES),
    Rule(
        "service.*.allowanonymouslogin",
        "nobody is let in without a name; there are no public folders to show",
        harmless=NO,
    ),
    Rule("sasl.default.auto_transition", "stored passwords are not rewritten at a login", harmless=NO),
    Rule("sasl.default.ldap.domainmap", "what it does is not documented"),
    Rule("nsmsgpopminpoll", "Netscape's name; seconds between logins of one account", option="pop.logindelay"),
    Rule("local.imap.immediateflagupdate", "every session sees changed flags at once, always", harmless=YES | NO),
    Rule("local.store.sharedfolders", "mailboxes are not shared between accounts", harmless=NO),
    Rule("local.service.proxy.serverlist", "mailboxes are not shared between stores", harmless=frozenset({""})),
    Rule("local.service.proxy.*", _PROXY),
    Rule("logfile.*.loglevel", "services that Mailkeep does not have"),
    Rule("logfile.*", _LOGS),
    Rule("local.ugldapport", "the port is part of the server: ldap://HOST:PORT", harmless=frozenset({"", "0", "389"})),
    Rule("local.ugldapusessl", "the server's URL says so: ldaps://HOST; ldap:// is under StartTLS", harmless=NO),
    Rule("service.http.banner", "HTTP has no greeting"),
    Rule("service.http.maxmessagesize", _SUBMISSION),
    Rule("service.http.spooldir", _SUBMISSION),
    Rule("service.http.smtphost", _SUBMISSION),
    Rule("service.http.smtpport", _SUBMISSION),
    Rule("service.http.fullfromheader", _SUBMISSION),
    Rule("service.http.extrauserldapattrs", "served Messenger Express, which is gone"),
    Rule("service.http.allowadminproxy", "gone from Messaging Server 6.3, too"),
    Rule(
        "service.http.proxydomainallowed", "nobody logs in for another by his address alone", harmless=frozenset({""})
    ),
    Rule("service.http.*", "the HTTP service has no such setting"),
    Rule("service.imta.*", _DELIVERY),
    Rule("local.imta.*", _DELIVERY),
    Rule("local.mmp.*", "of the Multiplexor, which Mailkeep does without"),
    Rule("local.webmail.*", "served Messenger Express and Communications Express"),
    Rule("local.schedule.*", "the store looks after itself; backups are asked for by mailkeep store backup"),
    Rule("local.store.*", "the store is another one: see its options, and quota of accounts in docs/directory.md"),
    Rule("store.*", "the store is another one: see its options, and quota of accounts in docs/directory.md"),
    Rule("alarm.*", "alarms are made from metrics (docs/metrics.md)"),
    Rule("encryption.*", "certificates are PEM files: tls.certfile, tls.keyfile"),
    Rule("nsserversecurity", "TLS is there where tls.certfile names a certificate", harmless=frozenset({"on"})),
)
"""The first that matches counts."""


def _servers(value: str) -> str:
    """`a b:390` as `ldap://a, ldap://b:390`."""
    servers = value.replace(",", " ").split()
    return ", ".join(each if "://" in each else f"ldap://{each}" for each in servers)


def _separators(value: str) -> str:
    return value if "@" in value else f"@{value}"


def _banner(value: str) -> str | None:
    return None if re.search(r"%[A-Za-z]", value) else value


_BANNER: Final = (_banner, "variables such as %h are not filled in: the default greeting holds")
CONVERSIONS: Final[dict[str, tuple[Callable[[str], str | None], str]]] = {
    "service.pop.banner": _BANNER,
    "service.imap.banner": _BANNER,
    "local.ugldaphost": (_servers, "servers are URLs; ldap:// is spoken to by StartTLS (ldap.starttls)"),
    "service.loginseparator": (_separators, "@ is always one of them"),
}
"""Options that are here under their name in another form: what a value becomes (None: the default holds), and why."""

OPTIONS: Final = (
    *(
        f"service.{service}.{name}"
        for service in ("pop", "imap", "http")
        for name in (
            "enable", "port", "enablesslport", "sslport", "sslusessl", "maxsessions", "maxthreads", "numprocesses",
            "idletimeout", "banner", "plaintextmincipher", "domainallowed", "domainnotallowed", "connlimits",
        )
    ),
    "service.pop.bgpenalty", "service.imap.bgpenalty",
    "service.imap.allowanonymouslogin", "service.http.allowanonymouslogin", "service.http.proxydomainallowed",
    "service.http.sessiontimeout", "service.http.ipsecurity", "service.http.maxmessagesize", "service.http.spooldir",
    "service.http.smtphost", "service.http.smtpport", "service.http.fullfromheader", "service.http.extrauserldapattrs",
    "service.http.allowadminproxy", "local.service.proxy.imapport", "local.service.proxy.imapssl",
    "local.service.proxy.admin", "local.service.proxy.adminpass", "nsmsgpopminpoll", "service.loginseparator",
    "service.defaultdomain", "service.dcroot", "sasl.default.ldap.searchfordomain", "sasl.default.ldap.searchfilter",
    "sasl.default.ldap.has_plain_passwords", "sasl.default.auto_transition", "sasl.default.mech_list",
    "sasl.default.ldap.domainmap", "service.authcachesize", "service.authcachettl", "service.dnsresolveclient",
    "local.hostnames", "local.service.proxy.serverlist", "local.store.sharedfolders", "local.imap.immediateflagupdate",
    *(f"logfile.{service}.loglevel" for service in ("pop", "imap", "http")),
    *(
        f"logfile.*.{name}"
        for name in (
            "logdir", "maxlogfilesize", "rollovertime", "maxlogfiles", "maxlogsize", "minfreediskspace",
            "syslogfacility",
        )
    ),
)  # fmt: skip
"""Every documented option that concerns POP, IMAP, HTTP, logins and limits; * stands for a service."""

DEFAULTS: Final = {f"service.{service}.plaintextmincipher": "0" for service in ("pop", "imap", "http")}
"""Defaults that were others."""


def former_names(name: str) -> tuple[str, ...]:
    """The names before the unified configuration (8.0) that an option of its group `base` may have had."""
    group, _, rest = name.partition(".")
    return (f"service.{rest}", f"local.{rest}") if group == "base" and rest else (name,)


def find_rule(name: str) -> Rule | None:
    """What becomes of an option that the table does not have; None where nothing is known of it."""
    return next((rule for rule in RULES if fnmatchcase(name.lower(), rule.pattern)), None)
