"""Blob management (RFC 9404): blobs made of pieces, read in pieces, and their digests."""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from services.common.errors import StoreError
from services.http.jmap.arguments import Arguments, ids, objects, objects_by_id, strings, unsigned
from services.http.jmap.errors import SET_ERRORS, InvalidArguments, MethodError, SetError, invalid_properties
from services.http.jmap.standard import MAX_OBJECTS_IN_SET

if TYPE_CHECKING:
    from services.http.jmap.work import Answers, Work

MAX_DATA_SOURCES: Final = 64
MAX_BYTES: Final = 8 << 20
"""Octets that one call makes or shows; what is larger goes by upload and download."""
DIGESTS: Final = ("sha", "sha-256", "sha-512")
_HASHES: Final = {"sha": "sha1", "sha-256": "sha256", "sha-512": "sha512"}
PROPERTIES: Final = ("data", "data:asText", "data:asBase64", "size", *(f"digest:{name}" for name in DIGESTS))
_TYPE: Final = re.compile(r"[A-Za-z0-9!#$&^_.+-]{1,127}/[A-Za-z0-9!#$&^_.+-]{1,127}\Z")


# ---- Blob/upload ----------------------------------------------------------------------------------------------------
async def upload(work: Work, arguments: Arguments) -> Answers:
    """Blob/upload: each blob is made of texts, base64, and parts of other blobs."""
    account = work.check_account(arguments)
    create = arguments.take("create", objects_by_id, required=True)
    arguments.end()
    if len(create) > MAX_OBJECTS_IN_SET:
        raise MethodError("requestTooLarge", f"at most {MAX_OBJECTS_IN_SET} blobs")
    created: dict[str, Any] = {}
    refused: dict[str, Any] = {}
    for key, value in create.items():
        try:
            data = await _made(work, value)
            name = str(await work.service.blobs.upload(work.account_id, data))
            created[key] = {"id": name, "type": value.get("type"), "size": len(data)}
            work.created[key] = name
        except SetError as error:
            refused[key] = error.value()
        except StoreError as error:
            refused[key] = {"type": SET_ERRORS[error.reason]}
    return {"accountId": account, "created": created or None, "notCreated": refused or None}


async def _made(work: Work, value: Mapping[str, Any]) -> bytes:
    """The octets of a new blob. Raises SetError, StoreError."""
    if unknown := sorted(set(value) - {"data", "type"}):
        raise invalid_properties(unknown[0][:255])
    kind = value.get("type")
    if kind is not None and not (isinstance(kind, str) and _TYPE.match(kind)):
        raise invalid_properties("type")
    try:
        sources = objects(value.get("data"))
    except ValueError:
        raise invalid_properties("data") from None
    if len(sources) > MAX_DATA_SOURCES:
        raise SetError("tooLarge", f"at most {MAX_DATA_SOURCES} data sources")
    parts: list[bytes] = []
    for source in sources:
        parts.append(await _source(work, source))
        if sum(map(len, parts)) > MAX_BYTES:
            raise SetError("tooLarge", f"at most {MAX_BYTES} octets", maxSize=MAX_BYTES)
    return b"".join(parts)


async def _source(work: Work, source: Mapping[str, Any]) -> bytes:
    given = [name for name in ("data:asText", "data:asBase64", "blobId") if source.get(name) is not None]
    if len(given) != 1 or set(source) - {"data:asText", "data:asBase64", "blobId", "offset", "length"}:
        raise invalid_properties("data", description="a source has a text, base64, or a blob")
    value = source[given[0]]
    if not isinstance(value, str):
        raise invalid_properties("data")
    try:
        if given[0] == "data:asText":
            return value.encode()
        if given[0] == "data:asBase64":
            return base64.b64decode(value, validate=True)
        return await _slice(work, value, source)
    except (ValueError, binascii.Error):
        raise invalid_properties("data") from None


async def _slice(work: Work, blob: str, source: Mapping[str, Any]) -> bytes:
    try:
        data = await work.service.blobs.read(work.account_id, work.resolved(blob))
    except InvalidArguments:
        data = None
    if data is None:
        raise SetError("blobNotFound", notFound=[blob])
    offset, length = unsigned(source.get("offset") or 0), source.get("length")
    wanted = len(data) - offset if length is None else unsigned(length)
    if wanted < 0 or offset + wanted > len(data):
        raise invalid_properties("data", description="the range is outside of the blob")
    return data[offset : offset + wanted]


# ---- Blob/get -------------------------------------------------------------------------------------------------------
async def get(work: Work, arguments: Arguments) -> Answers:
    """Blob/get."""
    account = work.check_account(arguments)
    asked = list(dict.fromkeys(arguments.take("ids", ids, required=True)))
    properties = arguments.take("properties", strings) or ["data", "size"]
    offset, length = arguments.take("offset", unsigned, 0), arguments.take("length", unsigned)
    arguments.end()
    unknown = [name for name in properties if name not in (*PROPERTIES, "id")]
    if unknown:
        raise InvalidArguments(f"properties: there is no {unknown[0][:64]}")
    found: list[dict[str, Any]] = []
    missing: list[str] = []
    left = MAX_BYTES
    for name in asked:
        data = await work.service.blobs.read(work.account_id, name)
        if data is None:
            missing.append(name)
            continue
        part = data[offset:] if length is None else data[offset : offset + length]
        left -= len(part) if any(each.startswith("data") for each in properties) else 0
        if left < 0:
            raise MethodError("requestTooLarge", f"at most {MAX_BYTES} octets")
        short = offset > len(data) or (length is not None and offset + length > len(data))
        found.append(await asyncio.to_thread(_shown, name, len(data), part, short, properties))
    return {"accountId": account, "list": found, "notFound": missing}


def _shown(name: str, size: int, part: bytes, short: bool, properties: list[str]) -> dict[str, Any]:
    shown: dict[str, Any] = {"id": name}
    text = _text(part)
    if short:
        shown["isTruncated"] = True
    if text is None and any(each in ("data", "data:asText") for each in properties):
        shown["isEncodingProblem"] = True
    for each in properties:
        if each == "size":
            shown["size"] = size
        elif each.startswith("digest:"):
            digest = hashlib.new(_HASHES[each[7:]], part, usedforsecurity=False).digest()
            shown[each] = base64.b64encode(digest).decode()
        elif each == "data:asText":
            shown[each] = text
        elif each == "data:asBase64" or (each == "data" and text is None):
            shown["data:asBase64"] = base64.b64encode(part).decode()
        elif each == "data":
            shown["data:asText"] = text
    return shown


def _text(part: bytes) -> str | None:
    try:
        return part.decode()
    except UnicodeDecodeError:
        return None


# ---- Blob/lookup ----------------------------------------------------------------------------------------------------
async def lookup(work: Work, arguments: Arguments) -> Answers:
    """Blob/lookup: no type is announced for it (`supportedTypeNames`), so each is unknown (RFC 9404 section 4.3)."""
    work.check_account(arguments)
    arguments.take("typeNames", strings, required=True)
    arguments.take("ids", ids, required=True)
    arguments.end()
    raise MethodError("unknownDataType")
