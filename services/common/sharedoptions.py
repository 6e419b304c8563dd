"""The part of the table of options that no service has to itself: TLS, logs, traces."""

from __future__ import annotations

from dataclasses import dataclass

from services.common.option import LOG_LEVELS, LOG_SYNONYMS, option


@dataclass(frozen=True, slots=True)
class TlsOptions:
    """Certificates for clients. A changed file is taken up without a restart."""

    certfile: str = option("", "Certificate chain (PEM); empty: no TLS.", path=True, live=True)
    keyfile: str = option("", "Private key (PEM).", path=True, live=True)
    snifolder: str = option(
        "", "Folder of more certificates, a sub-folder with tls.crt and tls.key for each; a client gets the one that "
        "has the host name it asks for, else tls.certfile.", path=True, live=True,
    )  # fmt: skip
    clientca: str = option(
        "", "CA (PEM) of client certificates: for LMTP, IMAP and POP3, as their options say.", path=True, live=True
    )
    crlfile: str = option(
        "", "Revocation lists (PEM) of that CA; with it every certificate's issuer needs one that is in force.",
        path=True, live=True,
    )  # fmt: skip
    certmap: str = option(
        "", "File in the format of certmap.conf that says which account a client certificate means; empty: the one "
        "with the mail address in it.", path=True, live=True,
    )  # fmt: skip
    minversion: str = option("TLSv1.2", "Oldest protocol version.", choices=("TLSv1.2", "TLSv1.3"), live=True)
    ciphers: str = option(
        "", "Cipher suites of TLS 1.2, as OpenSSL writes a list of them; empty: its own choice.", live=True
    )


@dataclass(frozen=True, slots=True)
class LogOptions:
    """What the services write to standard error."""

    level: str = option(
        "info", "Least important level that is written.", choices=LOG_LEVELS, synonyms=LOG_SYNONYMS, live=True
    )
    format: str = option("text", "text (key=value) or json.", choices=("text", "json"))


@dataclass(frozen=True, slots=True)
class TraceOptions:
    """Traces of commands, by OpenTelemetry's protocol; they need the extra `tracing`."""

    endpoint: str = option(
        "", "Collector that takes traces by OTLP over gRPC, such as http://127.0.0.1:4317; empty: nothing is traced.",
        syntax="otlp",
    )  # fmt: skip
    sample: int = option(
        10, "How many of a thousand commands are traced; 1000 is all of them.", low=0, high=1000, live=True
    )
