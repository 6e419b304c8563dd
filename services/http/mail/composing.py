"""A message made of an email's properties (RFC 8621 section 4.6). No I/O.

Lines end with CRLF, text is UTF-8 in the encoding that fits it, fields are folded and encoded by RFC 5322 and 2047.
"""

from __future__ import annotations

import base64
import quopri
import re
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.charset import QP, Charset
from email.header import Header
from email.utils import format_datetime
from typing import Any, Final
from urllib.parse import quote

from services.http.jmap.arguments import an_id, date, objects, string, strings
from services.http.jmap.errors import InvalidArguments, SetError, invalid_properties
from services.http.mail.headers import CONVENIENT, HeaderProperty, read_property

MAX_DEPTH: Final = 16
MAX_PARTS: Final = 1_000
MAX_LINE: Final = 998
BODY: Final = ("bodyStructure", "textBody", "htmlBody", "attachments", "bodyValues")
_UTF8: Final = Charset("utf-8")
_UTF8.header_encoding = QP
_PHRASE: Final = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~ -]+\Z")
_TOKEN: Final = re.compile(r"[A-Za-z0-9!#$&^_.+-]{1,127}/[A-Za-z0-9!#$&^_.+-]{1,127}\Z")
_MESSAGE_ID: Final = re.compile(r"[!-;=?-~]{1,900}\Z")
_ADDRESS: Final = re.compile(r"[^\s<>\x00-\x1f\x7f]{1,900}\Z")
_CONTENT_FIELDS: Final = (
    "content-type",
    "content-transfer-encoding",
    "content-disposition",
    "content-id",
    "content-language",
    "content-location",
)
_PART_KEYS: Final = frozenset(
    ("partId", "blobId", "size", "name", "type", "charset", "disposition", "cid", "language", "location", "subParts")
)


@dataclass(slots=True)
class Leaf:
    """A part without parts. `text` is its content, or `blob` names it."""

    kind: str
    text: str | None = None
    blob: str = ""
    lines: list[str] = field(default_factory=list)
    data: bytes = b""


@dataclass(slots=True)
class Multi:
    """A part of parts."""

    kind: str
    children: list[Leaf | Multi]
    lines: list[str] = field(default_factory=list)


Node = Leaf | Multi


@dataclass(frozen=True, slots=True)
class Draft:
    """A message on its way: its fields, its parts, the blobs that it is made of."""

    lines: Sequence[str]
    root: Node

    def leaves(self) -> Iterator[Leaf]:
        """Every leaf; those with a blob want its data before `octets`."""
        yield from _leaves(self.root)

    def octets(self) -> bytes:
        """The message."""
        return _crlf([*self.lines, "MIME-Version: 1.0"]) + _rendered(self.root)


def _leaves(node: Node) -> Iterator[Leaf]:
    if isinstance(node, Leaf):
        yield node
    else:
        for child in node.children:
            yield from _leaves(child)


def draft(properties: Mapping[str, Any], domain: str, now: float) -> Draft:
    """Reads the properties of a new email, without those that the store keeps. Raises SetError."""
    fields = _header_lines({name: value for name, value in properties.items() if name not in BODY})
    names = {line.partition(":")[0].lower() for line in fields}
    if "message-id" not in names:
        fields.append(f"Message-ID: <{secrets.token_hex(16)}@{domain or 'localhost'}>")
    if "date" not in names:
        fields.append(f"Date: {format_datetime(datetime.fromtimestamp(int(now), UTC))}")
    if wrong := sorted(names & set(_CONTENT_FIELDS)):
        raise invalid_properties(f"header:{wrong[0]}", description="it is made of the body's properties")
    return Draft(fields, _body({name: properties[name] for name in BODY if name in properties}))


# ---- header fields --------------------------------------------------------------------------------------------------
def _header_lines(properties: Mapping[str, Any]) -> list[str]:
    lines: list[str] = []
    seen: set[str] = set()
    for name, value in properties.items():
        asked = CONVENIENT.get(name)
        if asked is None:
            if not name.startswith("header:"):
                raise invalid_properties(name, description="there is no such property, or it cannot be given")
            asked = _read(name)
        if asked.name.lower() in seen:
            raise invalid_properties(name, description="the field is given twice")
        seen.add(asked.name.lower())
        if value is not None:
            lines += _field_lines(name, asked, value)
    return lines


def _read(name: str) -> HeaderProperty:
    try:
        return read_property(name)
    except InvalidArguments as error:
        raise invalid_properties(name, description=error.description) from None


def _field_lines(property_name: str, asked: HeaderProperty, value: Any) -> list[str]:
    values = value if asked.every else [value]
    if not isinstance(values, list):
        raise invalid_properties(property_name)
    write = WRITERS[asked.form]
    try:
        return [f"{asked.name}:{write(each, asked.name)}" for each in values]
    except (ValueError, UnicodeError):
        raise invalid_properties(property_name) from None


def _raw(value: Any, name: str) -> str:
    """As it is given; its line breaks must be folds."""
    lines = string(value).replace("\r\n", "\n").split("\n")
    if any(not line.startswith((" ", "\t")) or not line.strip() for line in lines[1:]):
        raise ValueError
    if any(ord(character) < 32 and character != "\t" for line in lines for character in line):
        raise ValueError
    return "\r\n".join(lines)


def _text(value: Any, name: str) -> str:
    return " " + _encoded(string(value), len(name) + 2)


def _encoded(text: str, used: int = 0) -> str:
    """Text as RFC 2047 wants it, folded."""
    if any(ord(character) < 32 or ord(character) == 127 for character in text):
        text = " ".join("".join(c if ord(c) >= 32 and ord(c) != 127 else " " for c in text).split())
    if text.isascii() and len(text) + used <= 78 and "=?" not in text:
        return text
    charset = "us-ascii" if text.isascii() and "=?" not in text else _UTF8
    return Header(text, charset, maxlinelen=76, header_name="X" * max(used - 2, 1)).encode(linesep="\r\n")


def _addresses(value: Any, name: str) -> str:
    return " " + ",\r\n ".join(_address(each) for each in objects(value))


def _address(value: Mapping[str, Any]) -> str:
    if set(value) - {"name", "email"}:
        raise ValueError
    email, shown = string(value.get("email")), value.get("name")
    if not _ADDRESS.match(email):
        raise ValueError
    if shown is None or not string(shown).strip():
        return email
    return f"{_phrase(shown)} <{email}>"


def _phrase(text: str) -> str:
    if text.isascii() and text.isprintable() and len(text) < 60:
        escaped = text.replace("\\", "\\\\").replace('"', '\\"')
        return text if _PHRASE.match(text) else f'"{escaped}"'
    return _encoded(text, 10)


def _grouped(value: Any, name: str) -> str:
    found = []
    for group in objects(value):
        shown, members = group.get("name"), [_address(each) for each in objects(group.get("addresses"))]
        found.append(", ".join(members) if shown is None else f"{_phrase(string(shown))}: {', '.join(members)};")
    return " " + ",\r\n ".join(found)


def _message_ids(value: Any, name: str) -> str:
    found = strings(value)
    if not found or not all(_MESSAGE_ID.match(each) for each in found):
        raise ValueError
    return " " + "\r\n ".join(f"<{each}>" for each in found)


def _date(value: Any, name: str) -> str:
    date(value)
    return " " + format_datetime(datetime.fromisoformat(re.sub(r"\.\d+", "", str(value))))


def _urls(value: Any, name: str) -> str:
    found = strings(value)
    if not found or not all(_ADDRESS.match(each) for each in found):
        raise ValueError
    return " " + ",\r\n ".join(f"<{each}>" for each in found)


WRITERS: Final[Mapping[str, Callable[[Any, str], str]]] = {
    "asRaw": _raw,
    "asText": _text,
    "asAddresses": _addresses,
    "asGroupedAddresses": _grouped,
    "asMessageIds": _message_ids,
    "asDate": _date,
    "asURLs": _urls,
}


# ---- the body -------------------------------------------------------------------------------------------------------
def _body(properties: Mapping[str, Any]) -> Node:
    values = _values(properties.get("bodyValues"))
    used: set[str] = set()
    if "bodyStructure" in properties:
        others = [name for name in ("textBody", "htmlBody", "attachments") if name in properties]
        if others:
            raise invalid_properties("bodyStructure", *others, description="either the structure or its parts")
        root = _node("bodyStructure", properties["bodyStructure"], values, used, 0)
    else:
        root = _assembled(properties, values, used)
    unused = sorted(set(values) - used)
    if unused:
        raise invalid_properties("bodyValues", description="a value is not of any part")
    if sum(1 for _ in _leaves(root)) > MAX_PARTS:
        raise SetError("tooLarge", "there are too many parts")
    return root


def _values(value: Any) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, each in (value or {}).items() if isinstance(value or {}, dict) else ():
        known = isinstance(each, dict) and isinstance(each.get("value"), str)
        if not known or each.get("isEncodingProblem") or each.get("isTruncated"):
            raise invalid_properties(f"bodyValues/{name}")
        found[name] = each["value"]
    if value is not None and not isinstance(value, dict):
        raise invalid_properties("bodyValues")
    return found


def _assembled(properties: Mapping[str, Any], values: Mapping[str, str], used: set[str]) -> Node:
    """textBody, htmlBody and attachments as parts that stand to one another as is usual."""
    found: list[Node] = []
    for name, kind in (("textBody", "text/plain"), ("htmlBody", "text/html")):
        given = _list(name, properties.get(name))
        if len(given) > 1:
            raise invalid_properties(name, description="exactly one part")
        for each in given:
            node = _node(name, {"type": kind, **each}, values, used, 0)
            if node.kind != kind:
                raise invalid_properties(f"{name}/0/type")
            found.append(node)
    attached = [
        _node("attachments", each, values, used, 0) for each in _list("attachments", properties.get("attachments"))
    ]
    inline = [node for node in attached if any(line.lower().startswith("content-id:") for line in node.lines)]
    others = [node for node in attached if node not in inline]
    if not found:
        found = [Leaf("text/plain", "")]
    if inline and found[-1].kind == "text/html":
        found[-1] = Multi("multipart/related", [found[-1], *inline])
    else:
        others = attached
    root = found[0] if len(found) == 1 else Multi("multipart/alternative", found)
    return Multi("multipart/mixed", [root, *others]) if others else root


def _list(name: str, value: Any) -> Sequence[Mapping[str, Any]]:
    try:
        return () if value is None else objects(value)
    except ValueError:
        raise invalid_properties(name) from None


def _node(where: str, value: Any, values: Mapping[str, str], used: set[str], depth: int) -> Node:
    if not isinstance(value, dict) or depth > MAX_DEPTH:
        raise invalid_properties(where)
    headers = {name: each for name, each in value.items() if name.startswith("header:")}
    if unknown := sorted(set(value) - _PART_KEYS - set(headers)):
        raise invalid_properties(f"{where}/{unknown[0]}")
    kind = value.get("type") or ("multipart/mixed" if value.get("subParts") is not None else "text/plain")
    if not isinstance(kind, str) or not _TOKEN.match(kind):
        raise invalid_properties(f"{where}/type")
    kind = kind.lower()
    lines = _header_lines(headers)
    if any(line.lower().startswith("content-transfer-encoding:") for line in lines):
        raise invalid_properties(f"{where}/header:Content-Transfer-Encoding")
    if kind.startswith("multipart/"):
        return _multi(where, kind, value, lines, values, used, depth)
    return _leaf(where, kind, value, lines, values, used)


def _multi(
    where: str,
    kind: str,
    value: Mapping[str, Any],
    lines: list[str],
    values: Mapping[str, str],
    used: set[str],
    depth: int,
) -> Multi:
    children = value.get("subParts")
    if not isinstance(children, list) or not children or value.get("partId") or value.get("blobId"):
        raise invalid_properties(f"{where}/subParts")
    return Multi(kind, [_node(f"{where}/subParts", each, values, used, depth + 1) for each in children], lines)


def _leaf(
    where: str, kind: str, value: Mapping[str, Any], lines: list[str], values: Mapping[str, str], used: set[str]
) -> Leaf:
    part, blob = value.get("partId"), value.get("blobId")
    if (part is None) == (blob is None) or value.get("subParts"):
        raise invalid_properties(f"{where}/partId", f"{where}/blobId", description="one of them")
    if part is None:
        return Leaf(kind, None, _checked_id(where, blob), [*lines, *_describing(where, kind, value)])
    if part not in values or not kind.startswith("text/") or value.get("charset") or value.get("size"):
        raise invalid_properties(f"{where}/partId")
    used.add(part)
    return Leaf(kind, values[part], "", [*lines, *_describing(where, kind, {**value, "charset": "utf-8"})])


def _checked_id(where: str, blob: Any) -> str:
    try:
        return an_id(blob)
    except ValueError:
        raise invalid_properties(f"{where}/blobId") from None


def _describing(where: str, kind: str, value: Mapping[str, Any]) -> list[str]:
    """Content-Type and its like."""
    try:
        name, charset = value.get("name"), value.get("charset")
        lines = [f"Content-Type: {kind}" + _parameter("charset", charset) + _parameter("name", name)]
        place = value.get("disposition") or ("attachment" if name is not None else None)
        if place is not None:
            if not re.match(r"[A-Za-z-]{1,64}\Z", string(place)):
                raise ValueError
            lines.append(f"Content-Disposition: {place}" + _parameter("filename", name))
        if value.get("cid") is not None:
            lines.append(f"Content-ID:{_message_ids([value['cid']], '')}")
        if value.get("language") is not None:
            tags = strings(value["language"])
            if not all(re.match(r"[A-Za-z0-9-]{1,64}\Z", tag) for tag in tags):
                raise ValueError
            lines.append(f"Content-Language: {', '.join(tags)}")
        if value.get("location") is not None:
            lines.append(f"Content-Location: {_encoded(string(value['location']), 18)}")
    except ValueError:
        raise invalid_properties(where) from None
    return lines


def _parameter(name: str, value: Any) -> str:
    """A parameter (RFC 2231 where it must be)."""
    if value is None:
        return ""
    text = string(value)
    if re.match(r"[A-Za-z0-9._+-]{1,60}\Z", text):
        return f"; {name}={text}"
    if text.isascii() and text.isprintable() and len(text) < 60:
        escaped = text.replace("\\", "\\\\").replace('"', '\\"')
        return f';\r\n {name}="{escaped}"'
    encoded = quote(text, safe="")
    pieces = [encoded[at : at + 54] for at in range(0, len(encoded), 54)]
    if len(pieces) == 1:
        return f";\r\n {name}*=utf-8''{encoded}"
    return "".join(
        f";\r\n {name}*{place}*={'utf-8' + chr(39) * 2 if place == 0 else ''}{piece}"
        for place, piece in enumerate(pieces)
    )


# ---- octets ---------------------------------------------------------------------------------------------------------
def _crlf(lines: Sequence[str]) -> bytes:
    return "".join(f"{line}\r\n" for line in lines).encode()


def _rendered(node: Node) -> bytes:
    """A part from its Content-Type on."""
    if isinstance(node, Multi):
        boundary = f"=_{secrets.token_hex(16)}"
        head = [*node.lines, f'Content-Type: {node.kind}; boundary="{boundary}"', ""]
        inner = b"".join(b"--%b\r\n%b\r\n" % (boundary.encode(), _rendered(child)) for child in node.children)
        return _crlf(head) + inner + b"--%b--\r\n" % boundary.encode()
    if node.kind in ("message/rfc822", "message/global"):
        # RFC 2046 section 5.2.1: no encoding but 7bit, 8bit and binary.
        plain = "8bit" if not node.data.isascii() else "7bit"
        return _crlf([*node.lines, f"Content-Transfer-Encoding: {plain}", ""]) + node.data
    if node.text is not None:
        data = node.text.replace("\r\n", "\n").replace("\r", "\n").replace("\n", "\r\n").encode("utf-8", "replace")
        lines = node.lines or ["Content-Type: text/plain; charset=utf-8"]
        return _crlf([*lines, f"Content-Transfer-Encoding: {_transfer(data)}", ""]) + _ENCODED[_transfer(data)](data)
    return _crlf([*node.lines, "Content-Transfer-Encoding: base64", ""]) + _base64(node.data)


def _transfer(data: bytes) -> str:
    """How text goes: as it is where every line is short and ASCII, else by what is shorter."""
    short = all(len(line) <= MAX_LINE - 2 for line in data.split(b"\r\n"))
    if data.isascii() and short and b"\0" not in data:
        return "7bit"
    foreign = sum(1 for octet in data if octet > 126 or octet == 61)
    return "base64" if foreign * 6 > len(data) else "quoted-printable"


def _quoted(data: bytes) -> bytes:
    return quopri.encodestring(data.replace(b"\r\n", b"\n")).replace(b"\n", b"\r\n")


def _base64(data: bytes) -> bytes:
    return base64.encodebytes(data).replace(b"\n", b"\r\n")


_ENCODED: Final[Mapping[str, Callable[[bytes], bytes]]] = {
    "7bit": lambda data: data,
    "quoted-printable": _quoted,
    "base64": _base64,
}
