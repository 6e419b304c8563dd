"""Mail as people get it, made up: for the demo account and for measuring. The same seed gives the same mail.

Sizes follow a log-normal distribution with a median of 5 KB and a mean of 10 KB, as in real mailboxes; languages,
charsets, encodings, attachments, newsletters and threads vary.
"""

from __future__ import annotations

import base64
import quopri
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from email.utils import format_datetime
from typing import Final

NEWEST: Final = datetime(2025, 6, 1, 9, 0, tzinfo=UTC)
"""When the newest message was sent, unless the caller says otherwise."""

_MEDIAN: Final = 4_900
_SIGMA: Final = 1.177
"""Of the log-normal distribution: its mean is twice its median."""
_LARGEST: Final = 400_000
_REPLY: Final = 0.35
_REMEMBERED: Final = 60
_MAX_REFERENCES: Final = 10
_DAYS: Final = 720


@dataclass(frozen=True, slots=True)
class _Tongue:
    """A language: its charset on the wire, its transfer encoding, and something to say."""

    charset: str
    encoding: str
    people: tuple[str, ...]
    subjects: tuple[str, ...]
    sentences: tuple[str, ...]


_ENGLISH: Final = _Tongue(
    "utf-8",
    "7bit",
    ("Alice Hardwick", "Robert O'Neill", "Priya Raman", "Samuel Osei", "Hannah Lindgren", "Tom Bellamy"),
    (
        "Minutes of Tuesday's meeting",
        "Your invoice for June",
        "Harbour project: next steps",
        "Lunch on Friday?",
        "Photos from the weekend",
        "Question about the lease",
        "Re-scheduling the review",
        "Draft of the annual report",
        "Train tickets to Lisbon",
        "Server maintenance tonight",
    ),
    (
        "Thank you for getting back to me so quickly.",
        "I have put the figures in the shared folder, so that everyone can look before we meet.",
        "The harbour office asks for two more weeks, which seems fair to me.",
        "Could you check whether the second invoice has been paid?",
        "We should leave by eight if we want to catch the early train.",
        "Nothing is decided yet; tell me what you think and I will write it up.",
        "The builders found dry rot below the stairs, and the estimate has grown with it.",
        "Please bring the old drawings, they show where the pipes run.",
        "My daughter has drawn you a picture of the lighthouse.",
        "There will be soup, bread and far too much cheese.",
    ),
)
_GERMAN: Final = _Tongue(
    "iso-8859-1",
    "quoted-printable",
    ("Jörg Müller", "Käthe Schönfeld", "Anna-Lena Groß", "Björn Voß"),
    ("Änderungen am Vertrag", "Rückfrage zur Übergabe", "Grüße aus München", "Prüfung der Unterlagen"),
    (
        "Vielen Dank für die schnelle Rückmeldung.",
        "Die Übergabe der Schlüssel ist für nächsten Donnerstag geplant.",
        "Könnten Sie bitte prüfen, ob die Maße auf Blatt drei stimmen?",
        "Das Wetter war scheußlich, die Gespräche dafür umso schöner.",
    ),
)
_FRENCH: Final = _Tongue(
    "utf-8",
    "quoted-printable",
    ("Élodie Lefèvre", "François Dubœuf", "Zoé Chaînon"),
    ("Réunion de rentrée", "Été à la campagne", "Votre réservation nº 4711"),
    (
        "Je vous remercie de votre réponse si rapide.",
        "La réunion aura lieu à dix heures, près de la fenêtre.",
        "Pourriez-vous vérifier le dernier relevé avant vendredi ?",
        "Où étiez-vous à Noël, déjà ?",
    ),
)
_POLISH: Final = _Tongue(
    "iso-8859-2",
    "8bit",
    ("Łukasz Wójcik", "Małgorzata Żak"),
    ("Zażółć gęślą jaźń", "Spotkanie w środę"),
    ("Dziękuję za wiadomość.", "Wyślę resztę później, gdy skończę.", "Czy możemy się spotkać w środę o dziesiątej?"),
)
_RUSSIAN: Final = _Tongue(
    "koi8-r",
    "base64",
    ("Ольга Петрова", "Дмитрий Соколов"),
    ("Отчёт за квартал", "Билеты на поезд"),
    ("Спасибо за быстрый ответ.", "Поезд отходит в девять часов утра.", "Пожалуйста, проверьте вторую таблицу."),
)
_JAPANESE: Final = _Tongue(
    "iso-2022-jp",
    "7bit",
    ("田中 花子", "佐藤 健"),
    ("会議の議事録", "写真をお送りします"),
    ("お返事ありがとうございます。", "来週の会議は十時からです。", "添付の資料をご確認ください。"),
)
_CHINESE: Final = _Tongue(
    "gb18030",
    "base64",
    ("李小龙", "王芳"),
    ("关于下周的会议", "发票已寄出"),
    ("谢谢您的回复。", "请查看附件中的表格。", "我们下星期三上午十点见面。"),
)
_TONGUES: Final = (_ENGLISH, _GERMAN, _FRENCH, _POLISH, _RUSSIAN, _JAPANESE, _CHINESE)
_WEIGHTS: Final = (60, 12, 10, 4, 5, 5, 4)
_DOMAINS: Final = ("example.com", "example.org", "example.net", "mail.example.edu", "post.example")
_SYLLABLES: Final = (
    "ba",
    "cor",
    "del",
    "fen",
    "gul",
    "hy",
    "kor",
    "lim",
    "mor",
    "nas",
    "pel",
    "ros",
    "sul",
    "tin",
    "vek",
    "wo",
)
_GROWTH: Final = {"7bit": 1.0, "8bit": 1.0, "quoted-printable": 1.15, "base64": 1.37}
_FILES: Final = (
    ("application/pdf", "invoice-{n}.pdf"),
    ("image/jpeg", "IMG_{n}.jpg"),
    ("image/png", "plan {n}.png"),
    ("application/vnd.oasis.opendocument.spreadsheet", "figures-{n}.ods"),
    ("text/csv", "export_{n}.csv"),
)


@dataclass(frozen=True, slots=True)
class _Sent:
    """What a reply needs to know of a message."""

    message_id: str
    subject: str
    references: tuple[str, ...]
    tongue: _Tongue


def sample_mails(seed: int = 1, newest: datetime = NEWEST) -> Iterator[bytes]:
    """Messages without end, in no order of date; `newest` is the latest Date they carry."""
    writer = _Writer(random.Random(seed), newest)  # noqa: S311 - sample data
    while True:
        yield writer.message()


class _Writer:
    """Writes one message after the other and remembers the last ones to reply to."""

    def __init__(self, chance: random.Random, newest: datetime) -> None:
        self.chance = chance
        self.newest = newest
        self.sent: list[_Sent] = []

    def message(self) -> bytes:
        """One message with CRLF lines."""
        size = min(int(self.chance.lognormvariate(0, _SIGMA) * _MEDIAN), _LARGEST)
        parent = self.chance.choice(self.sent) if self.sent and self.chance.random() < _REPLY else None
        tongue = parent.tongue if parent else self.chance.choices(_TONGUES, _WEIGHTS)[0]
        header = self.header(tongue, parent)
        kind, body = self.chance.choices((self.plain, self.alternative, self.mixed), (55, 30, 15))[0](
            tongue, max(size - len(header) - 150, 100)
        )
        return header + b"MIME-Version: 1.0\r\n" + kind + b"\r\n" + body

    def header(self, tongue: _Tongue, parent: _Sent | None) -> bytes:
        """Trace, originator and threading fields."""
        chance = self.chance
        message_id = f"<{chance.getrandbits(64):016x}@{chance.choice(_DOMAINS)}>"
        references = (*parent.references, parent.message_id)[-_MAX_REFERENCES:] if parent else ()
        subject = parent.subject if parent else chance.choice(tongue.subjects)
        self.sent = [*self.sent[-_REMEMBERED:], _Sent(message_id, subject, references, tongue)]
        zone = timezone(timedelta(hours=chance.randint(-8, 9)))
        date = format_datetime((self.newest - timedelta(minutes=chance.randint(0, _DAYS * 1440))).astimezone(zone))
        lines = [
            *self.trace(date),
            f"Date: {date}",
            f"From: {self.person(tongue)}",
            "To: " + ",\r\n ".join(self.person(tongue) for _ in range(chance.choice((1, 1, 1, 2, 3)))),
            *([f"Cc: {self.person(_ENGLISH)}"] if chance.random() < 0.3 else []),
            f"Subject: {_encoded(('Re: ' if parent else '') + subject, tongue.charset)}",
            f"Message-ID: {message_id}",
            *([f"In-Reply-To: {references[-1]}", "References: " + "\r\n ".join(references)] if references else []),
            *self.habits(),
        ]
        return "".join(line + "\r\n" for line in lines).encode("ascii")

    def trace(self, date: str) -> list[str]:
        """What the mail servers on the way have put on top."""
        chance = self.chance
        signature = base64.b64encode(chance.randbytes(192)).decode("ascii")
        folded = "\r\n\t ".join(signature[start : start + 68] for start in range(0, len(signature), 68))
        host = chance.choice(_DOMAINS)
        return [
            f"Received: from mx{chance.randint(1, 9)}.{host} (mx.{host} [192.0.2.{chance.randint(1, 254)}])\r\n"
            f"\tby mail.example.com (Postfix) with ESMTPS id {chance.getrandbits(40):010X}\r\n"
            f"\tfor <demo@example.com>; {date}",
            f"DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed; d={host}; s=mail;\r\n"
            f"\th=From:To:Subject:Date:Message-ID:MIME-Version:Content-Type;\r\n\tb={folded}",
        ]

    def habits(self) -> list[str]:
        """Fields that some programs write."""
        chance = self.chance
        lines = [f"User-Agent: {chance.choice(('Mutt/2.2.9', 'Thunderbird 128.0', 'K-9 Mail for Android'))}"]
        if chance.random() < 0.2:
            name = chance.choice(("harbour", "announce", "friends"))
            lines += [f"List-Id: <{name}.example.org>", f"List-Unsubscribe: <mailto:{name}-leave@example.org>"]
        return lines + (["X-Priority: 1"] if chance.random() < 0.05 else [])

    def person(self, tongue: _Tongue) -> str:
        """A mailbox with a display name."""
        number = self.chance.randrange(len(tongue.people))
        name = tongue.people[number]
        local = name.lower().replace(" ", ".").replace("'", "") if name.isascii() else f"{tongue.charset[:3]}{number}"
        shown = name if name.isascii() and "'" not in name else _encoded(name, tongue.charset)
        return f"{shown} <{local}@{_DOMAINS[number % len(_DOMAINS)]}>"

    def prose(self, tongue: _Tongue, size: int) -> str:
        """Paragraphs of about so many bytes, each with words that few other messages hold."""
        chance = self.chance
        paragraphs: list[str] = []
        length = 0.0
        while length < size:
            sentences = [chance.choice(tongue.sentences) for _ in range(chance.randint(1, 5))]
            rare = " ".join("".join(chance.choices(_SYLLABLES, k=chance.randint(2, 4))) for _ in range(3))
            text = " ".join([*sentences, f"{rare.capitalize()}."])
            paragraphs.append(_wrapped(text))
            length += (len(text.encode(tongue.charset)) + 4) * _GROWTH[tongue.encoding]
        return "\r\n\r\n".join(paragraphs) + "\r\n"

    def plain(self, tongue: _Tongue, size: int) -> tuple[bytes, bytes]:
        """One text part."""
        return _text_part("plain", tongue, self.prose(tongue, size))

    def alternative(self, tongue: _Tongue, size: int) -> tuple[bytes, bytes]:
        """Plain text, and the same as HTML."""
        text = self.prose(tongue, size * 2 // 5)
        html = text.replace("\r\n\r\n", "</p>\r\n<p>")
        page = f"<html><head><style>p {{ margin: 1em }}</style></head>\r\n<body><p>{html}</p></body></html>\r\n"
        return self.multipart("alternative", [_text_part("plain", tongue, text), _text_part("html", tongue, page)])

    def mixed(self, tongue: _Tongue, size: int) -> tuple[bytes, bytes]:
        """A short text and a file."""
        kind, pattern = self.chance.choice(_FILES)
        name = pattern.format(n=self.chance.randint(1, 9999))
        header = (
            f'Content-Type: {kind}; name="{name}"\r\nContent-Disposition: attachment; filename="{name}"\r\n'
            "Content-Transfer-Encoding: base64\r\n"
        )
        data = base64.encodebytes(self.chance.randbytes(max(size - 600, 100) * 72 // 100)).replace(b"\n", b"\r\n")
        short = _text_part("plain", tongue, self.prose(tongue, 120))
        return self.multipart("mixed", [short, (header.encode("ascii"), data)])

    def multipart(self, subtype: str, parts: list[tuple[bytes, bytes]]) -> tuple[bytes, bytes]:
        """Parts with a boundary around them."""
        boundary = b"=_%032x" % self.chance.getrandbits(128)
        body = b"".join(b"--%b\r\n%b\r\n%b\r\n" % (boundary, header, content) for header, content in parts)
        kind = b'Content-Type: multipart/%b;\r\n boundary="%b"\r\n' % (subtype.encode("ascii"), boundary)
        return kind, body + b"--%b--\r\n" % boundary


def _encode_8bit(data: bytes) -> bytes:
    return data


_ENCODERS: Final[dict[str, Callable[[bytes], bytes]]] = {
    "7bit": _encode_8bit,
    "8bit": _encode_8bit,
    "quoted-printable": lambda data: quopri.encodestring(data.replace(b"\r\n", b"\n")).replace(b"\n", b"\r\n"),
    "base64": lambda data: base64.encodebytes(data).replace(b"\n", b"\r\n"),
}


def _text_part(subtype: str, tongue: _Tongue, text: str) -> tuple[bytes, bytes]:
    header = (
        f"Content-Type: text/{subtype}; charset={tongue.charset}\r\nContent-Transfer-Encoding: {tongue.encoding}\r\n"
    )
    return header.encode("ascii"), _ENCODERS[tongue.encoding](text.encode(tongue.charset))


def _encoded(text: str, charset: str) -> str:
    """Text for a header field: as it is, or as one encoded word (RFC 2047)."""
    if text.isascii():
        return text
    return f"=?{charset}?B?{base64.b64encode(text.encode(charset)).decode('ascii')}?="


def _wrapped(text: str) -> str:
    """Lines of at most 76 characters, broken at blanks."""
    lines = [""]
    for word in text.split(" "):
        if lines[-1] and len(lines[-1]) + len(word) > 75:
            lines.append(word)
        else:
            lines[-1] = f"{lines[-1]} {word}" if lines[-1] else word
    return "\r\n".join(lines)
