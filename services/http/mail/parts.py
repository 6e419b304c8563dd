"""The parts of a message as JMAP shows them: their tree, what is text, what is an attachment (RFC 8621 section 4.1.4).

No I/O.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol, TypeVar

from services.common.mime.charsets import codec_of, decode
from services.common.mime.contenttype import ContentType, Parameters, disposition, encoding, languages
from services.common.mime.encodedword import decode_header
from services.common.mime.headers import unfold
from services.common.mime.structure import Part, parse
from services.common.mime.transfer import DECODERS
from services.http.mail.headers import fields_of
from services.http.mail.names import BlobName

PROPERTIES: Final = (
    "partId",
    "blobId",
    "size",
    "name",
    "type",
    "charset",
    "disposition",
    "cid",
    "language",
    "location",
)
"""What a part shows where nothing else is asked for; `headers`, `subParts` and `header:` may be asked for too."""
KNOWN: Final = frozenset((*PROPERTIES, "headers", "subParts"))
_MEDIA: Final = ("image/", "audio/", "video/")


class Shown(Protocol):
    """What the algorithm looks at."""

    @property
    def kind(self) -> str: ...
    @property
    def disposition(self) -> str | None: ...
    @property
    def name(self) -> str | None: ...


Node = TypeVar("Node", bound=Shown)


@dataclass(slots=True)
class BodyPart:
    """One part of a message. `path` are its numbers, as a section of IMAP has them; () for a multipart."""

    part: Part
    kind: str
    disposition: str | None
    name: str | None
    path: tuple[int, ...]
    children: list[BodyPart] = field(default_factory=list)

    @property
    def part_id(self) -> str | None:
        """What names it in bodyValues."""
        return ".".join(map(str, self.path)) or None


def tree(message: bytes) -> BodyPart:
    """The parts of a message."""
    root = parse(message)
    return _body_part(root, () if root.is_multipart else (1,))


def _body_part(part: Part, path: tuple[int, ...]) -> BodyPart:
    place = disposition(part.fields.get(b"CONTENT-DISPOSITION", b""))
    made = BodyPart(
        part,
        f"{part.type.maintype.decode('latin-1')}/{part.type.subtype.decode('latin-1')}".lower(),
        place.value.decode("latin-1").lower() if place else None,
        _name(part.type, place.parameters if place else ()),
        () if part.is_multipart else path,
    )
    if part.is_multipart:
        made.children = [_body_part(child, (*path, number)) for number, child in enumerate(part.children, 1)]
    return made


def _name(kind: ContentType, parameters: Parameters) -> str | None:
    given = ContentType(b"", b"", parameters).parameter(b"FILENAME") or kind.parameter(b"NAME")
    return decode_header(given).strip() or None if given else None


def flat(part: BodyPart) -> Iterator[BodyPart]:
    """A part and all below it."""
    yield part
    for child in part.children:
        yield from flat(child)


# ---- what is shown how ----------------------------------------------------------------------------------------------
@dataclass(slots=True)
class Sorted:
    """textBody, htmlBody and attachments."""

    text: list[Any] = field(default_factory=list)
    html: list[Any] = field(default_factory=list)
    attachments: list[Any] = field(default_factory=list)

    @property
    def has_attachment(self) -> bool:
        """Whether there is one that is not to be shown in place."""
        return any(part.disposition != "inline" for part in self.attachments)


def arranged(root: Any) -> Sorted:
    """The algorithm of RFC 8621 section 4.1.4, on anything with kind, disposition, name and children."""
    found = Sorted()
    _arrange([root], "mixed", False, found.text, found.html, found.attachments)
    return found


def _arrange(
    parts: Sequence[Any],
    multipart: str,
    in_alternative: bool,
    text: list[Any] | None,
    html: list[Any] | None,
    attachments: list[Any],
) -> None:
    texts, htmls = len(text) if text is not None else -1, len(html) if html is not None else -1
    for place, part in enumerate(parts):
        if part.kind.startswith("multipart/"):
            inner = part.kind.partition("/")[2]
            alternative = in_alternative or inner == "alternative"
            _arrange(part.children, inner, alternative, text, html, attachments)
        elif not _is_inline(part, place, multipart):
            attachments.append(part)
        elif multipart == "alternative":
            _choose(part, text, html, attachments)
        else:
            if in_alternative and part.kind == "text/plain":
                html = None
            if in_alternative and part.kind == "text/html":
                text = None
            _show(part, text, html, attachments)
    if multipart == "alternative" and text is not None and html is not None:
        if texts == len(text) and htmls != len(html):
            text.extend(html[htmls:])
        if htmls == len(html) and texts != len(text):
            html.extend(text[texts:])


def _is_inline(part: Any, place: int, multipart: str) -> bool:
    media = part.kind.startswith(_MEDIA)
    if part.disposition == "attachment" or not (media or part.kind in ("text/plain", "text/html")):
        return False
    return place == 0 or (multipart != "related" and (media or not part.name))


def _choose(part: Any, text: list[Any] | None, html: list[Any] | None, attachments: list[Any]) -> None:
    """Within multipart/alternative."""
    target = {"text/plain": text, "text/html": html}.get(part.kind, attachments)
    if target is not None:
        target.append(part)


def _show(part: Any, text: list[Any] | None, html: list[Any] | None, attachments: list[Any]) -> None:
    if text is not None:
        text.append(part)
    if html is not None:
        html.append(part)
    if (text is None or html is None) and part.kind.startswith(_MEDIA):
        attachments.append(part)


# ---- the properties of a part ---------------------------------------------------------------------------------------
def content(message: bytes, part: Part) -> bytes:
    """What a part holds, its transfer encoding undone where that can be."""
    decoder = DECODERS.get(encoding(part.fields.get(b"CONTENT-TRANSFER-ENCODING")))
    data = message[part.body : part.end]
    return decoder(data) if decoder else data


def _field(part: Part, name: bytes) -> str | None:
    value = part.fields.get(name)
    return decode_header(unfold(value)) or None if value is not None else None


def value_of(message: bytes, body: BodyPart, name: str, blob: BlobName | None) -> Any:
    """One property of a part; `blob` names the message, None for one that has no name of its own."""
    part = body.part
    leaf = bool(body.path)
    if name == "partId":
        return body.part_id
    if name == "blobId":
        return str(BlobName(blob.content_id, body.path)) if leaf and blob is not None and blob.content_id else None
    if name == "size":
        return len(content(message, part)) if leaf else 0
    if name == "headers":
        return [{"name": each, "value": _raw(value)} for each, value in fields_of(message[part.start : part.body])]
    if name == "charset":
        return _charset(body)
    if name == "cid":
        found = _field(part, b"CONTENT-ID")
        return found.strip("<> \t") or None if found else None
    if name == "language":
        tags = languages(part.fields.get(b"CONTENT-LANGUAGE", b""))
        return [tag.decode("latin-1") for tag in tags] or None
    if name == "location":
        return _field(part, b"CONTENT-LOCATION")
    return {"name": body.name, "type": body.kind, "disposition": body.disposition}[name]


def _raw(value: bytes) -> str:
    return value.decode("utf-8", "replace")


def _charset(body: BodyPart) -> str | None:
    if not body.kind.startswith("text/"):
        return None
    found = body.part.type.parameter(b"CHARSET")
    return found.decode("latin-1") if found else "us-ascii"


@dataclass(frozen=True, slots=True)
class Text:
    """The text of a part (EmailBodyValue)."""

    value: str
    problem: bool
    truncated: bool

    def shown(self) -> dict[str, Any]:
        """As JSON."""
        return {"value": self.value, "isEncodingProblem": self.problem, "isTruncated": self.truncated}


def text_of(message: bytes, body: BodyPart, most: int) -> Text:
    """The text of a part, its line ends as LF, of `most` octets of UTF-8 (0: all of it)."""
    data = content(message, body.part)
    charset = (body.part.type.parameter(b"CHARSET") or b"").decode("latin-1")
    value = decode(data, charset).replace("\r\n", "\n").replace("\0", "")
    problem = _is_problem(data, charset, body.part)
    if most and len(octets := value.encode()) > most:
        return Text(octets[:most].decode("utf-8", "ignore"), problem, True)
    return Text(value, problem, False)


def _is_problem(data: bytes, charset: str, part: Part) -> bool:
    """Whether the text may differ from what was written: an encoding nobody knows, or octets that are none of it."""
    if encoding(part.fields.get(b"CONTENT-TRANSFER-ENCODING")) not in DECODERS:
        return True
    codec = codec_of(charset) if charset else "ascii"
    if codec is None:
        return True
    try:
        codecs.decode(data, codec)
    except (ValueError, LookupError):
        return True
    return False


# ---- hasAttachment, from BODYSTRUCTURE ------------------------------------------------------------------------------
@dataclass(slots=True)
class _Light:
    kind: str
    disposition: str | None = None
    name: str | None = None
    children: list[_Light] = field(default_factory=list)


_TOKEN: Final = re.compile(rb'[ ]*(?:(\()|(\))|"((?:[^"\\]|\\.)*)"|\{(\d+)\}\r\n|([^ ()"{]+))', re.DOTALL)


def has_attachment(bodystructure: bytes) -> bool:
    """Whether a message has something to be downloaded, from the store's BODYSTRUCTURE."""
    value = _read_list(bodystructure)
    return isinstance(value, list) and arranged(_light(value)).has_attachment


def _read_list(text: bytes) -> Any:
    """A parenthesised list of IMAP as lists and octets; None for NIL."""
    stack: list[list[Any]] = [[]]
    position = 0
    while match := _TOKEN.match(text, position):
        position = match.end()
        opened, closed, quoted, size, atom = match.groups()
        if opened:
            stack.append([])
        elif closed:
            if len(stack) == 1:
                break
            done = stack.pop()
            stack[-1].append(done)
        elif size is not None:
            stack[-1].append(text[position : position + int(size)])
            position += int(size)
        elif atom is not None:
            stack[-1].append(None if atom.upper() == b"NIL" else atom)
        else:
            stack[-1].append(re.sub(rb"\\(.)", rb"\1", quoted))
    return stack[0][0] if stack[0] else None


def _light(value: list[Any]) -> _Light:
    if value and isinstance(value[0], list):
        children = [each for each in value if isinstance(each, list)]
        count = next((at for at, each in enumerate(value) if not isinstance(each, list)), len(value))
        subtype = value[count] if count < len(value) else b"mixed"
        return _Light(f"multipart/{_lower(subtype)}", children=[_light(each) for each in children[:count]])
    kind = f"{_lower(value[0])}/{_lower(value[1])}" if len(value) > 1 else "text/plain"
    place = _place(value, kind)
    parameters = [*(place[1] or [] if place else []), *(value[2] or [] if len(value) > 2 else [])]
    return _Light(kind, _lower(place[0]) if place else None, _named(parameters))


def _place(value: list[Any], kind: str) -> list[Any] | None:
    """The disposition: after the fields of every part, those of the kind, and MD5."""
    extra = 1 if kind.startswith("text/") else 3 if kind in ("message/rfc822", "message/global") else 0
    at = 7 + extra + 1
    found = value[at] if len(value) > at else None
    return found if isinstance(found, list) and len(found) == 2 else None


def _named(parameters: list[Any]) -> str | None:
    names = {_lower(each).rstrip("*") for each in parameters[::2]}
    return "named" if names & {"filename", "name"} else None


def _lower(value: Any) -> str:
    return value.decode("latin-1").lower() if isinstance(value, bytes) else ""
