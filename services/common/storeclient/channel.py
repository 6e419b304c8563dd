"""How a front end reaches the store: target, credentials, channel options, who the caller is."""

from __future__ import annotations

import os
import secrets
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import grpc

from services.common.framesocket import frames_path
from services.common.options import Configuration
from services.common.storeaddress import UNIX, store_address

ROLE_KEY: Final = "mailkeep-role"
"""Metadata: the caller's role; believed only on the Unix socket, over TCP the certificate says it."""
PROCESS_KEY: Final = "mailkeep-process"
"""Metadata: the caller's process, whose end frees its sessions and maildrop locks."""

CONTRACT_KEY: Final = "mailkeep-contract"
"""Metadata: the contract that the caller speaks."""

GREETING_KEY: Final = "mailkeep-store"
"""Initial metadata of the store's long streams: the stream is open, its caller is let in; the value is CONTRACT."""

CONTRACT: Final = "2"
"""Which contract is spoken. It grows when an old caller and a new store, or the other way round, cannot work together;
they then refuse one another, instead of misunderstanding.
"""

MAX_MESSAGE: Final = 64 << 20
"""Largest gRPC message in either direction. Frames and chunks are about 1 MiB; only a list of UIDs of a mailbox with
hundreds of thousands of messages is larger.
"""

Options = list[tuple[str, int | str]]

CHANNEL_OPTIONS: Final[Options] = [
    ("grpc.max_receive_message_length", MAX_MESSAGE),
    ("grpc.max_send_message_length", MAX_MESSAGE),
    # A store that is gone without a word, or stands still, is noticed within a quarter of a minute.
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    # Without it a ping that nobody answers has a minute of its own (measured), whatever the time-out of keepalive.
    ("grpc.http2.ping_timeout_ms", 5_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
    # Without these a stream whose reader stalls keeps 6 MiB in the transport (measured), with them 0.2.
    ("grpc.http2.bdp_probe", 0),
    ("grpc.http2.lookahead_bytes", 1 << 18),
    ("grpc.initial_reconnect_backoff_ms", 50),
    ("grpc.min_reconnect_backoff_ms", 1_000),
    ("grpc.max_reconnect_backoff_ms", 1_000),
    ("grpc.enable_retries", 0),
    # Two clients of one process shall not share a connection: each is a caller of its own.
    ("grpc.use_local_subchannel_pool", 1),
]


@dataclass(frozen=True, slots=True)
class Target:
    """Where the store is; the three files are set for TCP (mutual TLS) and empty for a Unix socket.

    `frames` is the path of its socket for frames without gRPC, where it is on this machine.
    """

    address: str
    cafile: str = ""
    certfile: str = ""
    keyfile: str = ""
    frames: str = ""


def target_of(configuration: Configuration) -> Target:
    """The store as the options have it."""
    options, address = configuration.store, store_address(configuration)
    if address.startswith(UNIX):
        return Target(address, frames=frames_path(address.removeprefix(UNIX)))
    files = (options.cafile, options.clientcertfile, options.clientkeyfile)
    cafile, certfile, keyfile = (str(Path(configuration.data, name)) if name else "" for name in files)
    return Target(address, cafile, certfile, keyfile)


def open_channel(target: Target) -> grpc.aio.Channel:
    """A channel; it connects at the first call. Raises OSError where a certificate file cannot be read."""
    if target.address.startswith(UNIX):
        # The name is checked by nobody on a socket of this machine; a path must not end up in it.
        options = [*CHANNEL_OPTIONS, ("grpc.default_authority", "localhost")]
        return grpc.aio.insecure_channel(target.address, options=options)
    return grpc.aio.secure_channel(target.address, _credentials(target), options=CHANNEL_OPTIONS)


def stamp_of(target: Target) -> tuple[tuple[int, int], ...]:
    """What changes when a certificate file is replaced; empty on a Unix socket. Raises OSError."""
    names = (target.cafile, target.certfile, target.keyfile)
    return tuple((status.st_mtime_ns, status.st_ino) for status in map(os.stat, filter(None, names)))


def _credentials(target: Target) -> grpc.ChannelCredentials:
    return grpc.ssl_channel_credentials(
        root_certificates=Path(target.cafile).read_bytes(),
        private_key=Path(target.keyfile).read_bytes(),
        certificate_chain=Path(target.certfile).read_bytes(),
    )


def process_name() -> str:
    """A name for this process that no other has had: for `mailkeep who`, and as the owner of locks."""
    return f"{socket.gethostname()}:{os.getpid()}-{secrets.token_hex(4)}"


def metadata_of(role: str, process: str) -> tuple[tuple[str, str], ...]:
    """What goes with every call."""
    return ((ROLE_KEY, role), (PROCESS_KEY, process))
