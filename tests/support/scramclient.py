"""The client's side of SCRAM-SHA-256 (RFC 5802), written apart from the server's."""

from __future__ import annotations

import hashlib
import hmac
from base64 import b64decode, b64encode


class ScramClient:
    """One authentication: `first`, `final` of the server's challenge, `check` of its last word."""

    def __init__(
        self,
        name: str,
        password: str,
        *,
        authorize_as: str = "",
        binding: tuple[str, bytes] | None = None,
        flag: str = "n",
    ) -> None:
        self.mechanism = "SCRAM-SHA-256-PLUS" if binding else "SCRAM-SHA-256"
        self._password = password
        self._data = binding[1] if binding else b""
        flag = f"p={binding[0]}" if binding else flag
        self._header = f"{flag},{f'a={_escaped(authorize_as)}' if authorize_as else ''},"
        self._bare = f"n={_escaped(name)},r=fyko+d2lbbFgONRv9qkxdawL"
        self._expected = b""

    def first(self) -> bytes:
        """The first message."""
        return f"{self._header}{self._bare}".encode()

    def final(self, challenge: bytes) -> bytes:
        """The answer to the server's first message."""
        values = dict(part.split("=", 1) for part in challenge.decode().split(","))
        without_proof = f"c={b64encode(self._header.encode() + self._data).decode()},r={values['r']}"
        message = f"{self._bare},{challenge.decode()},{without_proof}".encode()
        salted = hashlib.pbkdf2_hmac("sha256", self._password.encode(), b64decode(values["s"]), int(values["i"]))
        key = _mac(salted, b"Client Key")
        signature = _mac(hashlib.sha256(key).digest(), message)
        proof = bytes(left ^ right for left, right in zip(key, signature, strict=True))
        self._expected = b"v=" + b64encode(_mac(_mac(salted, b"Server Key"), message))
        return f"{without_proof},p={b64encode(proof).decode()}".encode()

    def check(self, challenge: bytes) -> None:
        """The server has to know the password's secret, too."""
        assert challenge == self._expected, challenge


def _escaped(name: str) -> str:
    return name.replace("=", "=3D").replace(",", "=2C")


def _mac(key: bytes, message: bytes) -> bytes:
    return hmac.new(key, message, hashlib.sha256).digest()
