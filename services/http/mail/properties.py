"""The properties of an email, and what each is made of (RFC 8621 section 4.1). No I/O."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from services.common.domain import Column
from services.http.jmap.arguments import Arguments, boolean, strings, unsigned, utc
from services.http.jmap.errors import InvalidArguments
from services.http.mail import names, parts
from services.http.mail.headers import CONVENIENT, Fields, HeaderProperty, fields_of, read_property
from services.http.mail.index import Email, Index
from services.http.mail.names import BlobName

META: Final[Mapping[str, Callable[[Index, Email], Any]]] = {
    "id": lambda index, email: names.email(email.number),
    "blobId": lambda index, email: str(BlobName(email.number)),
    "threadId": lambda index, email: names.thread(email.thread),
    "mailboxIds": lambda index, email: {names.mailbox(place[0]): True for place in email.places},
    "keywords": lambda index, email: dict.fromkeys(sorted(index.keywords(email)), True),
    "size": lambda index, email: email.size,
    "receivedAt": lambda index, email: utc(email.received),
}
"""Properties that the index knows."""
BODY: Final = frozenset({"headers", "bodyStructure", "bodyValues", "textBody", "htmlBody", "attachments"})
"""Properties that need the message itself."""
DERIVED: Final = frozenset({"hasAttachment", "preview"})
KNOWN: Final = frozenset(META) | BODY | DERIVED | frozenset(CONVENIENT)
USUAL: Final = (
    "id", "blobId", "threadId", "mailboxIds", "keywords", "size", "receivedAt", "messageId", "inReplyTo", "references",
    "sender", "from", "to", "cc", "bcc", "replyTo", "subject", "sentAt", "hasAttachment", "preview", "bodyValues",
    "textBody", "htmlBody", "attachments",
)  # fmt: skip
"""What Email/get gives where nothing is asked for (RFC 8621 section 4.2)."""
USUAL_PARSED: Final = tuple(
    name for name in USUAL if name not in ("id", "threadId", "mailboxIds", "keywords", "receivedAt", "size", "blobId")
)
"""The same for Email/parse (section 4.9)."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What is asked of each email."""

    properties: tuple[str, ...]
    headers: Mapping[str, HeaderProperty]
    body_properties: tuple[str, ...] = parts.PROPERTIES
    part_headers: Mapping[str, HeaderProperty] = field(default_factory=dict)
    text_values: bool = False
    html_values: bool = False
    all_values: bool = False
    max_bytes: int = 0

    @property
    def needs_body(self) -> bool:
        """Whether the message itself must be read: the store keeps the common fields apart."""
        return any(name in BODY for name in self.properties) or not all(each.common for each in self.headers.values())

    @property
    def columns(self) -> Column:
        """What the store is asked for."""
        wanted = Column(0)
        if self.needs_body:
            wanted |= Column.LOCATION
        elif self.headers:
            wanted |= Column.HEADERS
        if "preview" in self.properties:
            wanted |= Column.PREVIEW
        if "hasAttachment" in self.properties:
            wanted |= Column.BODYSTRUCTURE
        return wanted


def plan(arguments: Arguments, usual: Sequence[str]) -> Plan:
    """Reads properties, bodyProperties and what says which values are wanted. Raises InvalidArguments."""
    asked = tuple(dict.fromkeys(arguments.take("properties", strings) or usual))
    headers = {name: CONVENIENT[name] for name in asked if name in CONVENIENT}
    headers |= {name: read_property(name) for name in asked if name.startswith("header:")}
    unknown = [name for name in asked if name not in KNOWN and name not in headers]
    if unknown:
        raise InvalidArguments(f"properties: there is no {unknown[0][:64]}")
    of_parts = tuple(dict.fromkeys(arguments.take("bodyProperties", strings) or parts.PROPERTIES))
    part_headers = {name: read_property(name) for name in of_parts if name.startswith("header:")}
    unknown = [name for name in of_parts if name not in parts.KNOWN and name not in part_headers]
    if unknown:
        raise InvalidArguments(f"bodyProperties: there is no {unknown[0][:64]}")
    return Plan(
        asked,
        headers,
        of_parts,
        part_headers,
        arguments.take("fetchTextBodyValues", boolean, False),
        arguments.take("fetchHTMLBodyValues", boolean, False),
        arguments.take("fetchAllBodyValues", boolean, False),
        arguments.take("maxBodyValueBytes", unsigned, 0),
    )


@dataclass(slots=True)
class Material:
    """What is known of one message. `message` None: it was not read; `fields` are the common ones then."""

    message: bytes | None = None
    fields: Fields = ()
    preview: str = ""
    has_attachment: bool = False


def record(wanted: Plan, material: Material, meta: Mapping[str, Any], blob: BlobName | None) -> dict[str, Any]:
    """The properties that are asked for; `meta` are those of META as far as they are wanted."""
    body = _body_values(wanted, material, blob) if material.message is not None else {}
    found: dict[str, Any] = {}
    for name in wanted.properties:
        if name in meta:
            found[name] = meta[name]
        elif name in wanted.headers:
            found[name] = wanted.headers[name].read(material.fields)
        elif name in body:
            found[name] = body[name]
        else:
            found[name] = material.preview if name == "preview" else material.has_attachment
    return found


def with_message(material: Material, message: bytes) -> parts.BodyPart:
    """Fill in what the message tells; its parts."""
    root = parts.tree(message)
    material.message, material.fields = message, fields_of(message[: root.part.body])
    return root


def _body_values(wanted: Plan, material: Material, blob: BlobName | None) -> dict[str, Any]:
    message = material.message or b""
    root = with_message(material, message)
    if not any(name in BODY for name in wanted.properties):
        return {}
    arranged = parts.arranged(root)

    def shown(found: Sequence[parts.BodyPart]) -> list[dict[str, Any]]:
        return [_part(wanted, message, each, blob, nested=False) for each in found]

    makers: Mapping[str, Callable[[], Any]] = {
        "headers": lambda: parts.value_of(message, root, "headers", blob),
        "bodyStructure": lambda: _part(wanted, message, root, blob, nested=True),
        "bodyValues": lambda: _texts(wanted, message, root, arranged),
        "textBody": lambda: shown(arranged.text),
        "htmlBody": lambda: shown(arranged.html),
        "attachments": lambda: shown(arranged.attachments),
    }
    return {name: make() for name, make in makers.items() if name in wanted.properties}


def _part(wanted: Plan, message: bytes, body: parts.BodyPart, blob: BlobName | None, *, nested: bool) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name in wanted.body_properties:
        if name in wanted.part_headers:
            found[name] = wanted.part_headers[name].read(fields_of(message[body.part.start : body.part.body]))
        elif name != "subParts":
            found[name] = parts.value_of(message, body, name, blob)
    if body.children and nested:
        found["subParts"] = [_part(wanted, message, child, blob, nested=True) for child in body.children]
    elif "subParts" in wanted.body_properties:
        found["subParts"] = []
    return found


def _texts(wanted: Plan, message: bytes, root: parts.BodyPart, arranged: parts.Sorted) -> dict[str, Any]:
    chosen: list[parts.BodyPart] = []
    if wanted.all_values:
        chosen += parts.flat(root)
    if wanted.text_values:
        chosen += arranged.text
    if wanted.html_values:
        chosen += arranged.html
    return {
        str(part.part_id): parts.text_of(message, part, wanted.max_bytes).shown()
        for part in chosen
        if part.kind.startswith("text/") and part.path
    }
