"""The one table of options.

Each field below is an option: its name (`imap.maxsessions`), type, default, bounds, unit, whether a running service
takes a new value, one line of documentation, and the name Messaging Server's `configutil` knows it by
(`service.imap.maxsessions`). The config file's checks, `mailkeep config`, docs/options.md and the typed values that the
services read all come from here; `services.common.configuration` does the work.
"""

from __future__ import annotations

from dataclasses import dataclass

from services.common.accessoptions import AccessOptions
from services.common.option import (
    LOG_LEVELS,
    LOG_SYNONYMS,
    admin_listen,
    admin_port,
    allowing_filters,
    connection_limits,
    listening_port,
    option,
    penalty,
    proxy_port,
    refusing_filters,
)
from services.common.sasloptions import SaslOptions
from services.common.sharedoptions import LogOptions, TlsOptions, TraceOptions


@dataclass(frozen=True, slots=True)
class ServiceOptions:
    """Options that each front end has."""

    enable: bool = option(True, "Whether the service is started.")
    listen: str = option("127.0.0.1", "Address that the service listens on.", syntax="address")
    adminlisten: str = admin_listen()
    maxthreads: int = option(
        250,
        "Commands, and threads for what blocks in them, that run at once in one process; waiting clients hold none.",
        low=1,
        high=100_000,
        live=True,
    )
    maxsessionsperuser: int = option(
        50,
        "Sessions that one account may have at once in a service on one machine; 0 is no limit.",
        low=0,
        high=100_000,
        live=True,
    )
    maxsessionsperaddress: int = option(
        200,
        "Sessions from one client address in a service on one machine; 0 is no limit.",
        low=0,
        high=100_000,
        live=True,
    )
    logintimeout: int = option(60, "Seconds a client has to log in.", low=5, high=3600, unit="s", live=True)
    writetimeout: int = option(
        60, "Seconds a client may leave what was sent to it unread.", low=5, high=3600, unit="s", live=True
    )
    drainseconds: int = option(
        30, "Seconds from SIGTERM until the last session is closed.", low=0, high=3600, unit="s", live=True
    )
    loglevel: str = option(
        "default", "Least important level that this service writes; default: log.level.",
        choices=("default", *LOG_LEVELS), synonyms=LOG_SYNONYMS, live=True, legacy="logfile.*.loglevel",
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class PopOptions(ServiceOptions):
    """The POP3 service."""

    port: int = listening_port(110, "POP3 port, with STLS.", "service.pop.port")
    enablesslport: bool = option(True, "Whether the POP3S port is opened.", legacy="service.pop.enablesslport")
    sslport: int = listening_port(995, "POP3S port (TLS from the first byte).", "service.pop.sslport")
    proxyport: int = proxy_port("POP3 port for balancers that send a PROXY header (version 1 or 2); 0 opens none.")
    proxysslport: int = proxy_port("POP3S port for them: TLS begins after the header; 0 opens none.")
    adminport: int = admin_port(9110)
    maxsessions: int = option(
        600, "Connections per process.", low=1, high=1_000_000, live=True, legacy="service.pop.maxsessions"
    )
    numprocesses: int = option(1, "Worker processes.", low=1, high=64, legacy="service.pop.numprocesses")
    idletimeout: int = option(
        10, "Minutes until an idle connection is closed.", low=10, high=1440, floor=True, unit="min", live=True,
        legacy="service.pop.idletimeout",
    )  # fmt: skip
    banner: str = option(
        "Mailkeep POP3 ready", "Text of the greeting.", high=256, live=True, legacy="service.pop.banner"
    )
    clientcertificates: bool = option(
        False, "Whether clients are asked for a certificate of tls.clientca (AUTH=EXTERNAL); they need not have one."
    )
    plaintextmincipher: int = option(
        128, "Bits that the cipher of TLS must have where passwords are sent; 0: they may be sent without TLS, -1: "
        "they are never taken.", low=-1, high=512, unit="bits", live=True,
    )  # fmt: skip
    connlimits: tuple[str, ...] = connection_limits()
    bgpenalty: int = penalty()
    domainallowed: tuple[str, ...] = allowing_filters("pop")
    domainnotallowed: tuple[str, ...] = refusing_filters()
    logindelay: int = option(
        0,
        "Seconds an account must wait between logins to one process (LOGIN-DELAY).",
        low=0,
        high=86400,
        unit="s",
        live=True,
    )
    expire: int = option(
        -1, "Days the site keeps mail that users leave here, as EXPIRE announces it; -1: for ever (NEVER).",
        low=-1, high=36_500, unit="days", live=True,
    )  # fmt: skip
    language: str = option(
        "en", "Language of the replies to clients that leave the choice to the server (LANG *).",
        choices=("en", "de", "fr", "es"), live=True,
    )  # fmt: skip
    utf8headers: str = option(
        "send", "What a client without UTF8 mode gets of a message with UTF-8 headers: send it as it is, or refuse it.",
        choices=("send", "refuse"), live=True,
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class ImapOptions(ServiceOptions):
    """The IMAP service."""

    port: int = listening_port(143, "IMAP port, with STARTTLS.", "service.imap.port")
    enablesslport: bool = option(True, "Whether the IMAPS port is opened.", legacy="service.imap.enablesslport")
    sslport: int = listening_port(993, "IMAPS port (TLS from the first byte).", "service.imap.sslport")
    proxyport: int = proxy_port("IMAP port for balancers that send a PROXY header (version 1 or 2); 0 opens none.")
    proxysslport: int = proxy_port("IMAPS port for them: TLS begins after the header; 0 opens none.")
    adminport: int = admin_port(9143)
    maxsessions: int = option(
        4000, "Connections per process.", low=1, high=1_000_000, live=True, legacy="service.imap.maxsessions"
    )
    numprocesses: int = option(1, "Worker processes.", low=1, high=64, legacy="service.imap.numprocesses")
    idletimeout: int = option(
        30, "Minutes until an idle connection is closed.", low=30, high=10080, floor=True, unit="min", live=True,
        legacy="service.imap.idletimeout",
    )  # fmt: skip
    banner: str = option(
        "Mailkeep IMAP ready", "Text of the greeting.", high=256, live=True, legacy="service.imap.banner"
    )
    clientcertificates: bool = option(
        True, "Whether clients are asked for a certificate of tls.clientca (AUTH=EXTERNAL); they need not have one."
    )
    plaintextmincipher: int = option(
        128, "Bits that the cipher of TLS must have where passwords are sent; 0: they may be sent without TLS, -1: "
        "they are never taken.", low=-1, high=512, unit="bits", live=True,
    )  # fmt: skip
    connlimits: tuple[str, ...] = connection_limits()
    bgpenalty: int = penalty()
    domainallowed: tuple[str, ...] = allowing_filters("imap")
    domainnotallowed: tuple[str, ...] = refusing_filters()
    literal: str = option(
        "LITERAL+", "Which non-synchronising literals are offered (RFC 7888).", choices=("LITERAL+", "LITERAL-")
    )
    literaltimeout: int = option(
        300, "Seconds in which a literal must go on arriving.", low=10, high=3600, unit="s", live=True
    )
    cachebytes: int = option(
        268_435_456, "Memory for rendered answers, columns and bodies, per process.",
        low=1_048_576, high=1 << 40, unit="bytes", live=True,
    )  # fmt: skip
    inflightbytes: int = option(
        268_435_456, "Memory for APPENDs that are arriving, per process.",
        low=1_048_576, high=1 << 40, unit="bytes", live=True,
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class HttpOptions(ServiceOptions):
    """The HTTP service: logins of browsers, and JMAP."""

    port: int = listening_port(8990, "HTTP port.", "service.http.port")
    enablesslport: bool = option(True, "Whether the HTTPS port is opened.", legacy="service.http.enablesslport")
    sslport: int = listening_port(8991, "HTTPS port (TLS from the first byte).", "service.http.sslport")
    adminport: int = admin_port(9080)
    maxsessions: int = option(
        6000, "Connections per process; logins are not counted.", low=1, high=1_000_000, live=True,
        legacy="service.http.maxsessions",
    )  # fmt: skip
    numprocesses: int = option(1, "Worker processes.", low=1, high=64, legacy="service.http.numprocesses")
    logintimeout: int = option(
        60, "Seconds in which a request's line and header fields must have arrived.",
        low=5, high=3600, unit="s", live=True,
    )  # fmt: skip
    idletimeout: int = option(
        3, "Minutes until an idle connection is closed; the login goes on.", low=3, high=1440, floor=True, unit="min",
        live=True, legacy="service.http.idletimeout",
    )  # fmt: skip
    sessiontimeout: int = option(
        7200, "Seconds without a request until a login ends by itself.", low=60, high=31_536_000, unit="s", live=True,
        legacy="service.http.sessiontimeout",
    )  # fmt: skip
    ipsecurity: bool = option(
        False, "Whether a login may be used from the address alone that it was begun from.", live=True,
        legacy="service.http.ipsecurity",
    )  # fmt: skip
    clientcertificates: bool = option(
        False, "Whether clients are asked for a certificate of tls.clientca, and are whom it means; they need not have "
        "one. Browsers ask their users which to show."
    )  # fmt: skip
    plaintextmincipher: int = option(
        128, "Bits that the cipher of TLS must have where passwords are sent; 0: they may be sent without TLS, -1: "
        "they are never taken.", low=-1, high=512, unit="bits", live=True,
    )  # fmt: skip
    forwardedfields: str = option(
        "x-forwarded", "Header fields in which trusted proxies (access.trustedproxies) name their client: x-forwarded "
        "(X-Forwarded-For, X-Forwarded-Proto) or forwarded (RFC 7239); the proxy has to set or remove what is read.",
        choices=("x-forwarded", "forwarded"), live=True,
    )  # fmt: skip
    connlimits: tuple[str, ...] = connection_limits()
    bgpenalty: int = penalty()
    domainallowed: tuple[str, ...] = allowing_filters("http")
    domainnotallowed: tuple[str, ...] = refusing_filters()
    maxpostsize: int = option(
        10_485_760, "Largest JMAP request; uploads may be as large as store.maxmessagesize.",
        low=1_048_576, high=1 << 30, unit="bytes", live=True, legacy="service.http.maxpostsize",
    )  # fmt: skip
    cachebytes: int = option(
        268_435_456, "Memory for the accounts that are looked at and for bodies, per process.",
        low=1_048_576, high=1 << 40, unit="bytes", live=True,
    )  # fmt: skip
    inflightbytes: int = option(
        268_435_456, "Memory for requests and uploads that are arriving, per process.",
        low=1_048_576, high=1 << 40, unit="bytes", live=True,
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class LmtpOptions(ServiceOptions):
    """Delivery in by LMTP."""

    port: int = listening_port(24, "LMTP port, with STARTTLS.")
    proxyport: int = proxy_port("LMTP port for balancers that send a PROXY header (version 1 or 2); 0 opens none.")
    socket: str = option("", "Unix socket to listen on as well; empty opens none.", path=True)
    adminport: int = admin_port(9024)
    maxsessions: int = option(1000, "Connections per process.", low=1, high=1_000_000, live=True)
    numprocesses: int = option(1, "Worker processes.", low=1, high=64)
    idletimeout: int = option(
        5, "Minutes until an idle connection is closed (RFC 5321 section 4.5.3.2).", low=5, high=1440, floor=True,
        unit="min", live=True,
    )  # fmt: skip
    allowedclients: tuple[str, ...] = option(
        ("127.0.0.0/8", "::1/128"), "Networks whose clients may deliver; a Unix socket is always allowed.", live=True,
        syntax="network",
    )  # fmt: skip
    requireclientcert: bool = option(False, "Whether a TLS client certificate of tls.clientca is asked for.")
    overquota: str = option(
        "temporary", "Answer for an account over quota: 452 4.2.2 or 552 5.2.2.", choices=("temporary", "permanent"),
        live=True,
    )  # fmt: skip
    maxrecipients: int = option(1000, "Recipients of one message.", low=100, high=100_000, live=True)
    inflightbytes: int = option(
        268_435_456, "Memory for messages that are arriving, per process.",
        low=1_048_576, high=1 << 40, unit="bytes", live=True,
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class StoreOptions:
    """The message store."""

    path: str = option("store", "Folder of the metadata and the bodies.", path=True)
    socket: str = option("run/store.sock", "Unix socket (mode 0600) that the services call.", path=True)
    listen: str = option("", "Address for calls over TCP (always mutual TLS); empty opens none.", syntax="address")
    port: int = listening_port(7643, "TCP port of the store, where store.listen is set.")
    adminport: int = admin_port(9643)
    adminlisten: str = admin_listen()
    target: str = option(
        "", "Where the front ends find the store: host:port, or unix:PATH; empty is store.socket.", syntax="target"
    )
    bodyaccess: str = option(
        "auto", "How front ends read bodies: auto (segment files where visible, else gRPC) or grpc.",
        choices=("auto", "grpc"),
    )  # fmt: skip
    storewait: int = option(
        30, "Seconds a command waits for a store that is away.", low=0, high=600, unit="s", live=True
    )
    maxmessagesize: int = option(52_428_800, "Largest message.", low=65_536, high=1 << 31, unit="bytes", live=True)
    maxmailboxes: int = option(10_000, "Mailboxes of one account.", low=10, high=1_000_000, live=True)
    segmentbytes: int = option(
        268_435_456, "Size at which a body segment is closed and a new one begun.", low=1_048_576, high=1 << 40,
        unit="bytes", live=True,
    )  # fmt: skip
    compactpercent: int = option(
        50, "Share of dead bytes from which a segment is rewritten.", low=5, high=95, unit="%", live=True
    )
    cleanupage: int = option(
        60, "Minutes that a deleted body stays readable.", low=0, high=525_600, unit="min", live=True
    )
    drainseconds: int = option(
        10, "Seconds from SIGTERM until calls that still run are cut.", low=0, high=3600, unit="s", live=True
    )
    certfile: str = option("", "The store's certificate (PEM) for calls over TCP.", path=True)
    keyfile: str = option("", "Its private key (PEM).", path=True)
    cafile: str = option("", "CA (PEM) of the services' certificates.", path=True)
    clientcertfile: str = option("", "A front end's certificate (PEM); its name is its role.", path=True)
    clientkeyfile: str = option("", "Its private key (PEM).", path=True)


@dataclass(frozen=True, slots=True)
class DirectoryOptions:
    """Who may log in."""

    kind: str = option(
        "users", "Where the accounts are: the users file, or an LDAP directory (group ldap).", choices=("users", "ldap")
    )
    usersfile: str = option("users.yaml", "The users file.", path=True)
    hostnames: tuple[str, ...] = option(
        (), "Names of this host as mailHost has them: who has another host there is refused; none: not looked at.",
        live=True, legacy="local.hostnames", syntax="address",
    )  # fmt: skip
    defaultdomain: str = option(
        "", "Domain whose users may leave it out.", live=True, legacy="service.defaultdomain", syntax="domain"
    )
    authcachesize: int = option(
        10_000, "Successful logins that are remembered.", low=0, high=10_000_000, legacy="service.authcachesize"
    )
    authcachettl: int = option(
        900, "Seconds they are.", low=0, high=86_400, unit="s", live=True, legacy="service.authcachettl"
    )
    negativecachettl: int = option(
        10, "Seconds that an unknown name or a wrong password is remembered, where the directory is LDAP.",
        low=0, high=600, unit="s", live=True,
    )  # fmt: skip
    faildelay: int = option(2, "Seconds that a failed login waits for its answer.", low=0, high=60, unit="s", live=True)
    loginseparator: str = option(
        "@", "Characters that part a login name from its domain (@+ takes anna+example.com too); addresses of mail are "
        "never split at +.", low=1, live=True, legacy="service.loginseparator", syntax="separators",
    )  # fmt: skip
    administrators: tuple[str, ...] = option(
        (), "Accounts that may act for every other one, beside those that the directory says are administrators.",
        live=True, legacy="store.admins", syntax="account",
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class LdapOptions:
    """The LDAP directory, where directory.kind is ldap."""

    servers: tuple[str, ...] = option(
        (), "Servers in the order in which they are asked, such as `ldaps://a.example.com` or `ldap://b.example.com:389`.",
        legacy="local.ugldaphost", syntax="ldapserver",
    )  # fmt: skip
    starttls: bool = option(
        True, "Whether TLS is begun on ldap:// connections before anything else is said.", live=True
    )
    cafile: str = option("", "CA (PEM) of the servers' certificates; empty: the system's.", path=True, live=True)
    binddn: str = option(
        "", "Name that Mailkeep searches as; empty: without one.", live=True, legacy="local.ugldapbinddn"
    )
    bindpassword: str = option("", "Its password.", secret=True, live=True, legacy="local.ugldapbindcred")
    bindpasswordfile: str = option(
        "", "File with the password, in place of ldap.bindpassword; read for every connection.", path=True, live=True
    )
    schema: str = option(
        "orgtree", "How the directory says who is who: the domain tree of Schema 1, the organisations of Schema 2, "
        "inetOrgPerson without domains, or Active Directory.",
        choices=("dctree", "orgtree", "plain", "activedirectory"),
    )  # fmt: skip
    basedn: str = option("", "What all people are below.", live=True, legacy="local.ugldapbasedn")
    dcroot: str = option(
        "", "Where domains are looked for; empty: o=Internet for dctree, ldap.basedn for orgtree.", live=True,
        legacy="service.dcroot",
    )  # fmt: skip
    searchfilter: str = option(
        "(&(objectClass=inetOrgPerson)(uid=%U))",
        "Finds who logs in, where the domain has no inetDomainSearchFilter: %U user, %V domain, %s both, %o as typed.",
        live=True, legacy="sasl.default.ldap.searchfilter", syntax="ldapfilter",
    )  # fmt: skip
    searchfordomain: bool = option(
        True, "Whether a name's domain counts; if not, the user is looked for in the whole tree and must be unique.",
        live=True, legacy="sasl.default.ldap.searchfordomain",
    )  # fmt: skip
    attributes: tuple[str, ...] = option(
        (), "Attributes in place of the schema's, such as `aliases=mailLocalAddress`; docs/directory.md has the roles.",
        syntax="ldaprole",
    )  # fmt: skip
    passwords: str = option(
        "bind", "How a password is checked: by a bind as the person, or by comparing it with the stored one.",
        choices=("bind", "compare"), live=True,
    )  # fmt: skip
    passwordattribute: str = option("userPassword", "What compare compares with.", low=1, high=64, live=True)
    group: str = option(
        "", "Group (DN) whose members alone have accounts, by member, uniqueMember or memberUid; empty: all have.",
        live=True,
    )  # fmt: skip
    admingroup: str = option("", "Group whose members administer every account.", live=True)
    connections: int = option(
        30, "Questions at once, and connections of a kind (searches, passwords), per process.", low=1, high=200
    )
    connecttimeout: int = option(
        5, "Seconds to connect to a server.", low=1, high=60, unit="s", live=True, legacy="local.ldapconnecttimeout"
    )
    searchtimeout: int = option(
        10, "Seconds to wait for an answer.", low=1, high=120, unit="s", live=True, legacy="local.ldapsearchtimeout"
    )


@dataclass(frozen=True, slots=True)
class Configuration:
    """Every option's value. `data` is the data folder that relative paths are below."""

    data: str
    pop: PopOptions = PopOptions()
    imap: ImapOptions = ImapOptions()
    http: HttpOptions = HttpOptions()
    lmtp: LmtpOptions = LmtpOptions()
    store: StoreOptions = StoreOptions()
    directory: DirectoryOptions = DirectoryOptions()
    sasl: SaslOptions = SaslOptions()  # noqa: RUF009 - frozen like the others
    access: AccessOptions = AccessOptions()  # noqa: RUF009 - frozen like the others
    ldap: LdapOptions = LdapOptions()
    tls: TlsOptions = TlsOptions()  # noqa: RUF009 - frozen like the others
    log: LogOptions = LogOptions()  # noqa: RUF009 - frozen like the others
    trace: TraceOptions = TraceOptions()  # noqa: RUF009 - frozen like the others
