"""An authorization server for tests: keys, a key set, tokens, and a web server that gives the key set."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from time import time
from typing import Any, Final

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

ISSUER: Final = "https://login.example.com"
AUDIENCE: Final = "mail"


class Issuer:
    """Signs with an RSA key `rsa` or an elliptic one `ec`."""

    def __init__(self) -> None:
        self._rsa = rsa.generate_private_key(65537, 2048)
        self._ec = ec.generate_private_key(ec.SECP256R1())

    def key_set(self, *names: str) -> bytes:
        """The public keys with these ids; both without."""
        keys = {
            "rsa": RSAAlgorithm.to_jwk(self._rsa.public_key(), as_dict=True),
            "ec": ECAlgorithm.to_jwk(self._ec.public_key(), as_dict=True),
        }
        return json.dumps({"keys": [{**keys[name], "kid": name} for name in names or keys]}).encode()

    def token(self, name: str = "anna@example.com", *, key: str = "rsa", headers: Any = None, **claims: Any) -> str:
        """A token for `name`, with other claims than the usual ones where given; None takes one out."""
        usual = {"iss": ISSUER, "aud": AUDIENCE, "exp": int(time()) + 300, "email": name, "scope": "openid imap"}
        payload = {claim: value for claim, value in {**usual, **claims}.items() if value is not None}
        private, algorithm = (self._rsa, "RS256") if key == "rsa" else (self._ec, "ES256")
        return jwt.encode(payload, private, algorithm, headers={"kid": key} if headers is None else headers)


class KeyServer:
    """Answers `status` and `body` to whoever asks, and counts them."""

    def __init__(self, body: bytes) -> None:
        self.body = body
        self.status = "200 OK"
        self.asked = 0
        self.url = ""

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One request, one answer."""
        await reader.readuntil(b"\r\n\r\n")
        self.asked += 1
        writer.write(f"HTTP/1.1 {self.status}\r\nContent-Length: {len(self.body)}\r\n\r\n".encode() + self.body)
        writer.close()


@asynccontextmanager
async def key_server(body: bytes) -> AsyncIterator[KeyServer]:
    """A key server on a free port."""
    keys = KeyServer(body)
    server = await asyncio.start_server(keys.answer, "127.0.0.1", 0)
    keys.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/keys"
    try:
        yield keys
    finally:
        server.close()
        await server.wait_closed()
