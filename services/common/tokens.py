"""Bearer tokens (JWT, RFC 7519): whether an authorization server signed one for us, and whom it names.

The server's keys are a JSON Web Key Set (RFC 7517), from a file or by HTTPS. What is fetched is kept for
`sasl.oauthkeysttl` seconds, and fetched anew before that where a token names a key that is not in it, at most every
`RETRY_SECONDS`. While the server does not answer the keys of before stay good.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any, Final
from urllib.error import URLError
from urllib.request import HTTPRedirectHandler, build_opener

from services.common.directory import DirectoryUnavailable
from services.common.keysource import is_url
from services.common.live import Live
from services.common.sasloptions import SaslOptions
from services.common.telemetry import current_log

if TYPE_CHECKING:
    from jwt import PyJWK

ALGORITHMS: Final = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
"""Signatures with a public key only: with a shared secret, whoever checks tokens could make them."""
KEY_TYPES: Final = frozenset({"RSA", "EC", "OKP"})
LEEWAY_SECONDS: Final = 60
RETRY_SECONDS: Final = 30.0
FETCH_SECONDS: Final = 10.0
MAX_KEYS_BYTES: Final = 1 << 20
MAX_KEYS: Final = 100


class TokenRefused(Exception):  # noqa: N818 - an answer, not a fault
    """The token is not valid here; the text is for the log."""


class KeysUnavailable(Exception):  # noqa: N818 - a state, not a fault
    """The keys cannot be had; the text is for the log."""


@dataclass(frozen=True, slots=True)
class _Keys:
    """One key set, and when and whence it came."""

    source: str
    stamp: object
    since: float
    keys: tuple[PyJWK, ...] = ()

    def named(self, kid: str | None) -> tuple[PyJWK, ...]:
        """The keys that a token may be signed with; all where it names none."""
        return self.keys if kid is None else tuple(key for key in self.keys if key.key_id == kid)


class Tokens:
    """Checks tokens for one service, by the options as they are at the moment."""

    def __init__(self, service: str, options: Live[SaslOptions], clock: Callable[[], float] = monotonic) -> None:
        self._service = service
        self._options = options
        self._clock = clock
        self._keys = _Keys("", None, 0.0)
        self._tried = ("", 0.0)
        self._fetching: asyncio.Task[None] | None = None

    async def name(self, token: str) -> str | None:
        """The login name in a valid token; None where it is not valid here, and the log says why.

        Raises DirectoryUnavailable where there are no keys to check it with.
        """
        try:
            kid = await asyncio.to_thread(_key_id, token)
            keys = await self._keys_for(kid)
            return await asyncio.to_thread(_validated, token, keys, self._options.value)
        except TokenRefused as error:
            current_log(self._service).warning("token refused", why=str(error))
            return None
        except KeysUnavailable as error:
            raise DirectoryUnavailable(f"keys for tokens: {error}") from None

    async def _keys_for(self, kid: str | None) -> tuple[PyJWK, ...]:
        options = self._options.value
        source, now = options.oauthkeys, self._clock()
        stamp = None if is_url(source) else await asyncio.to_thread(_stamp, source)
        known = self._keys
        stale = known.source != source or known.stamp != stamp or now - known.since >= options.oauthkeysttl
        if stale or (is_url(source) and not known.named(kid)):
            await self._renew(source, stamp)
        if self._keys.source != source or not self._keys.keys:
            raise KeysUnavailable(f"none from {source}")
        return self._keys.named(kid)

    async def _renew(self, source: str, stamp: object) -> None:
        """Fetch, once for all who wait; not again soon after it was tried."""
        if self._fetching is None:
            tried, when = self._tried
            if tried == source and is_url(source) and self._clock() - when < RETRY_SECONDS:
                return
            self._tried = (source, self._clock())
            self._fetching = asyncio.get_running_loop().create_task(self._fetch(source, stamp))
        await asyncio.shield(self._fetching)

    async def _fetch(self, source: str, stamp: object) -> None:
        try:
            async with asyncio.timeout(FETCH_SECONDS):
                keys = await asyncio.to_thread(_load, source)
            self._keys = _Keys(source, stamp, self._clock(), keys)
        except (KeysUnavailable, TimeoutError) as error:
            why = str(error) or "no answer in time"
            current_log(self._service).error("the keys for tokens cannot be had", source=source, why=why)
        finally:
            self._fetching = None


# ---- keys, in a thread ----------------------------------------------------------------------------------------------
def _stamp(path: str) -> object:
    try:
        found = Path(path).stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def _load(source: str) -> tuple[PyJWK, ...]:
    """Raises KeysUnavailable."""
    try:
        data = _download(source) if is_url(source) else Path(source).read_bytes()
    except (OSError, URLError, ValueError) as error:
        raise KeysUnavailable(str(getattr(error, "reason", None) or error)) from None
    return parse_keys(data)


class _NoRedirects(HTTPRedirectHandler):
    """Another place than the one that the administrator named is not asked."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


def _download(url: str) -> bytes:
    # Only http and https come here (`is_source`), and http from this machine alone.
    with build_opener(_NoRedirects).open(url, timeout=FETCH_SECONDS / 2) as answer:
        data = answer.read(MAX_KEYS_BYTES + 1)
    if len(data) > MAX_KEYS_BYTES:
        raise ValueError("too large")
    return bytes(data)


def parse_keys(data: bytes) -> tuple[PyJWK, ...]:
    """The usable public keys of a key set. Raises KeysUnavailable where there are none."""
    from jwt import PyJWK
    from jwt.exceptions import PyJWTError

    try:
        listed = json.loads(data)["keys"]
        wanted = [key for key in listed[:MAX_KEYS] if key.get("kty") in KEY_TYPES and key.get("use", "sig") == "sig"]
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise KeysUnavailable("not a JSON Web Key Set") from None
    keys = []
    for key in wanted:
        try:
            keys.append(PyJWK.from_dict(key))
        except (PyJWTError, ValueError, TypeError):
            continue
    if not keys:
        raise KeysUnavailable("no public key for signatures in it")
    return tuple(keys)


# ---- a token, in a thread -------------------------------------------------------------------------------------------
def _key_id(token: str) -> str | None:
    import jwt

    try:
        kid = jwt.get_unverified_header(token).get("kid")
    except jwt.PyJWTError as error:
        raise TokenRefused(f"not a token: {error}") from None
    return kid if isinstance(kid, str) else None


def _validated(token: str, keys: Sequence[PyJWK], options: SaslOptions) -> str:
    """The name in the token. Raises TokenRefused."""
    if not keys:
        raise TokenRefused("signed with an unknown key")
    return _name(_claims(token, keys, options), options)


def _claims(token: str, keys: Sequence[PyJWK], options: SaslOptions) -> Mapping[str, Any]:
    import jwt

    why = ""
    for key in keys:
        try:
            claims: Mapping[str, Any] = jwt.decode(
                token,
                key,
                algorithms=[name for name in ALGORITHMS if name == key.algorithm_name],
                audience=options.oauthaudience,
                issuer=options.oauthissuer,
                leeway=LEEWAY_SECONDS,
                options={"require": ["exp", "iss", "aud"]},
            )
        except jwt.InvalidSignatureError:
            why = "the signature is not right"
        except jwt.PyJWTError as error:
            why = str(error)
        else:
            return claims
    raise TokenRefused(why)


def _name(claims: Mapping[str, Any], options: SaslOptions) -> str:
    granted = claims.get("scope", claims.get("scp", ""))
    scopes = granted.split() if isinstance(granted, str) else granted
    if options.oauthscope and options.oauthscope not in (scopes if isinstance(scopes, list) else []):
        raise TokenRefused(f"it has no scope {options.oauthscope}")
    name = claims.get(options.oauthclaim)
    if not isinstance(name, str) or not name:
        raise TokenRefused(f"it has no claim {options.oauthclaim}")
    if options.oauthclaim == "email" and claims.get("email_verified") is False:
        raise TokenRefused("the address in it was not verified")
    return name
