"""Messages that mail software trips over; every one must come out of the store as it went in.

`awkward_messages(1000)` gives the kinds below, each once, and then as many damaged sample mails as are still wanted.
The same count gives the same messages. Bodies are made when they are asked for: one of them is 20 MB long.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Final

from services.common.mime.charsets import codec_of
from services.common.samplemail import sample_mails

_bare = re.compile(rb"(?<!\r)\n|\r(?!\n)").search
_HEADER: Final = (
    b"From: a@example.org\r\nTo: b@example.org\r\nSubject: awkward\r\nDate: Mon, 3 Feb 2025 10:11:12 +0100\r\n"
)
_EVERY_BYTE: Final = bytes(range(256))


@dataclass(frozen=True)
class Awkward:
    """One message. The marks say what a protocol may be unable to carry."""

    name: str
    make: Callable[[], bytes]

    @property
    def body(self) -> bytes:
        """The message's bytes, made anew."""
        return self.make()

    @property
    def has_nul(self) -> bool:
        """Whether only BINARYMIME, literal8 and import take it."""
        return b"\0" in self.body

    @property
    def bare_cr_lf(self) -> bool:
        """Whether it has a CR or LF that is not part of CRLF."""
        return _bare(self.body) is not None

    @property
    def ends_with_crlf(self) -> bool:
        """Whether DATA can carry its end."""
        return self.body.endswith(b"\r\n")


def awkward_messages(count: int = 1_000) -> Iterator[Awkward]:
    """`count` messages, each with a name of its own."""
    return islice(_all(), count)


def _all() -> Iterator[Awkward]:
    for kind in (_endings, _lines, _headers, _charsets, _encodings, _multiparts, _sizes):
        yield from kind()
    yield from _damaged()


def _message(name: str, body: bytes) -> Awkward:
    return Awkward(name, lambda: body)


def _endings() -> Iterator[Awkward]:
    yield _message("empty", b"")
    yield _message("one CRLF", b"\r\n")
    yield _message("one LF", b"\n")
    yield _message("one CR", b"\r")
    yield _message("one byte", b"x")
    yield _message("one dot", b".")
    yield _message("a line of one dot", b".\r\n")
    yield _message("header only", _HEADER)
    yield _message("header and empty line", _HEADER + b"\r\n")
    yield _message("header without its last CRLF", _HEADER[:-2])
    yield _message("no last CRLF", _HEADER + b"\r\nno end of line")
    yield _message("CR at the end", _HEADER + b"\r\ntext\r")
    yield _message("LF at the end", _HEADER + b"\r\ntext\n")
    yield _message("empty lines at the end", _HEADER + b"\r\ntext" + b"\r\n" * 50)
    yield _message("body without header", b"\r\njust a body\r\n")
    yield _message("text that is no header", b"this is no header\r\nnor is this\r\n\r\nbody\r\n")
    yield _message("mbox line first", b"From a@example.org Mon Feb  3 10:11:12 2025\r\n" + _HEADER + b"\r\nbody\r\n")
    yield _message("end of file character", _HEADER + b"\r\nbefore\x1aafter\r\n")


def _lines() -> Iterator[Awkward]:
    lines = b"one\r\ntwo\r\nthree\r\n"
    yield _message("LF lines", (_HEADER + b"\r\n" + lines).replace(b"\r\n", b"\n"))
    yield _message("CR lines", (_HEADER + b"\r\n" + lines).replace(b"\r\n", b"\r"))
    yield _message("LF header and CRLF body", (_HEADER + b"\r\n").replace(b"\r\n", b"\n") + lines)
    yield _message("CRLF header and LF body", _HEADER + b"\r\n" + lines.replace(b"\r\n", b"\n"))
    yield _message("CR CR LF lines", (_HEADER + b"\r\n" + lines).replace(b"\r\n", b"\r\r\n"))
    yield _message("LF CR lines", _HEADER + b"\r\n" + lines.replace(b"\r\n", b"\n\r"))
    yield _message("bare CR in a line", _HEADER + b"\r\nbefore\rafter\r\n")
    yield _message("bare LF in a line", _HEADER + b"\r\nbefore\nafter\r\n")
    yield _message("LF dot CRLF", _HEADER + b"\r\ntext\n.\r\nmore\r\n")
    yield _message("CR dot CRLF", _HEADER + b"\r\ntext\r.\r\nmore\r\n")
    yield _message("LF dot LF", _HEADER + b"\r\ntext\n.\nmore\r\n")
    yield _message("CRLF dot LF", _HEADER + b"\r\ntext\r\n.\nmore\r\n")
    yield _message("dots", _HEADER + b"\r\n" + b"".join(b"." * n + b"\r\n" for n in range(12)))
    yield _message("dot lines", _HEADER + b"\r\n.\r\n..\r\n.text\r\n..text\r\n.\r\n.\r\n")
    yield _message("dot first in the header", b".Subject: x\r\n" + _HEADER + b"\r\nbody\r\n")
    yield _message("line of 998", _HEADER + b"\r\n" + b"x" * 998 + b"\r\n")
    yield _message("line of 999", _HEADER + b"\r\n" + b"x" * 999 + b"\r\n")
    yield _message("line of 100,000", _HEADER + b"\r\n" + b"x" * 100_000 + b"\r\n")
    yield _message("From lines", _HEADER + b"\r\nFrom here\r\n>From there\r\nFrom a@b Mon Feb  3 10:11:12 2025\r\n")
    yield _message("NULs", _HEADER + b"\r\na\0b\0\0c\r\n\0\r\n")
    yield _message("NUL in the header", b"Subject: a\0b\r\n" + _HEADER + b"\r\nbody\r\n")
    yield _message("every byte", _HEADER + b"\r\n" + _EVERY_BYTE * 4 + b"\r\n")
    yield _message("telnet commands", _HEADER + b"\r\n\xff\xf4\xff\xfd\x06 text\r\n")


def _headers() -> Iterator[Awkward]:
    for name, field in {
        "8-bit subject": "Subject: Grüße aus Köln".encode("latin-1"),
        "UTF-8 subject": "Subject: Grüße, 你好, 🙂".encode(),
        "8-bit names": "From: Jörg Müller <j@example.org>".encode("latin-1"),
        "UTF-8 addresses": "From: 用户 <用户@例子.example>".encode(),
        "8-bit field name": b"Gr\xfc\xdfe: hello",
        "folded subject": b"Subject: one\r\n two\r\n\tthree\r\n  \r\n four",
        "fold of blanks only": b"Subject: one\r\n \r\n\t\r\nX-Next: two",
        "blank before the colon": b"Subject : obsolete",
        "no value": b"Subject:",
        "no colon": b"Subject",
        "colon only": b": no name",
        "two subjects": b"Subject: one\r\nSubject: two",
        "many colons": b"X:::: y : z",
        "unclosed quoted string": b'To: "never closed <a@example.org>, b@example.org',
        "unclosed comment": b"To: a@example.org (never (closed",
        "unclosed angle": b"To: <a@example.org, b@example.org",
        "nested comments": b"To: (a (b (c) d) e) a@example.org (f)",
        "group": b"To: undisclosed-recipients:;, friends: a@example.org, B <b@example.org>;",
        "source route": b"From: <@one.example,@two.example:a@example.org>",
        "quoted local part": b'From: "two words"@example.org',
        "domain literal": b"From: <a@[192.0.2.1]>",
        "commas only": b"To: ,,,, ,",
        "no address": b"From: nobody at all",
        "escapes": rb'From: "a \"b\" \\ c" <a@example.org>',
        "broken encoded words": b"Subject: =?utf-8?q?=?= =?x?b?###?= =?utf-8?z?a?= =?utf-8?b?4pyT?",
        "cut encoded words": b"Subject: =?utf-8?b?4p?= =?utf-8?b?yT?= =?utf-8?q?=E2=9C?= =?utf-8?q?=93?=",
        "encoded line breaks": b"Subject: =?utf-8?q?a=0D=0ABcc:_x=00?=",
        "strange date": b"Date: the day before yesterday",
        "old date": b"Date: Sat, 1 Jan 00 00:00:00 EST",
        "impossible date": b"Date: 31 Feb 2025 25:61:61 +9999",
        "control characters": b"Subject: \x01\x02\x1b[31m\x7f\x80",
        "spam score": b"X-Spam-Status: " + b"TEST_%d," * 10,
    }.items():
        yield _message(f"field: {name}", field + b"\r\n" + _HEADER + b"\r\nbody\r\n")
        yield _message(f"last field: {name}", _HEADER + field)


def _charsets() -> Iterator[Awkward]:
    names = (
        "us-ascii utf-8 utf-7 utf-16 utf-32 iso-8859-1 iso-8859-2 iso-8859-5 iso-8859-6 iso-8859-7 iso-8859-8 "
        "iso-8859-8-i iso-8859-9 iso-8859-15 windows-1250 windows-1251 windows-1252 windows-1253 windows-1254 "
        "windows-1255 windows-1256 windows-1257 windows-1258 koi8-r koi8-u iso-2022-jp iso-2022-kr euc-jp euc-kr "
        "shift_jis gb2312 gbk gb18030 big5 hz-gb-2312 ks_c_5601-1987 x-gbk cp-850 tis-620 macintosh x-mac-cyrillic "
        "unicode-1-1-utf-7 unknown-8bit x-user-defined"
    )
    text = "Grüße, Привет, Γειά, שלום, مرحبا, こんにちは, 안녕, 你好, สวัสดี ✓\r\n"
    for name in names.split():
        kind = f"Content-Type: text/plain; charset={name}\r\n".encode()
        encoded = text.encode(codec_of(name) or "utf-8", "replace")
        yield _message(f"charset {name}", _HEADER + kind + b"\r\n" + encoded)
        yield _message(f"charset {name} with every byte", _HEADER + kind + b"\r\n" + _EVERY_BYTE)


def _encodings() -> Iterator[Awkward]:
    for encoding, content in {
        "base64": b"aGVsbG8=\r\n",
        "base64 without its end": b"aGVsbG8",
        "base64 with rubbish": b"aGV*sbG8=\r\n--\r\nmore",
        "quoted-printable": b"caf=E9 =\r\nsoft \r\n=ZZ =",
        "x-uuencode": b"begin 644 a\r\n#86)C\r\n`\r\nend\r\n",
        "BINARY": _EVERY_BYTE,
        "8bit": b"\xe9\xff\r\n",
        "": b"no value\r\n",
        '"7bit" (comment)': b"text\r\n",
        "\xe9": b"text\r\n",
    }.items():
        field = b"Content-Transfer-Encoding: " + encoding.partition(" w")[0].encode("latin-1")
        kinds = (
            b"text/plain",
            b"text/html",
            b"application/octet-stream",
            b"message/rfc822",
            b"multipart/mixed; boundary=x",
        )
        for kind in kinds:
            body = _HEADER + b"Content-Type: " + kind + b"\r\n" + field + b"\r\n\r\n" + content
            yield _message(f"{encoding!r} {kind.decode()}", body)


def _multipart(boundary: bytes, body: bytes, subtype: bytes = b"mixed") -> bytes:
    return b"%bContent-Type: multipart/%b; boundary=%b\r\n\r\n%b" % (_HEADER, subtype, boundary, body)


def _multiparts() -> Iterator[Awkward]:
    part = b"Content-Type: text/plain\r\n\r\ntext\r\n"
    yield _message("no parts", _multipart(b"b", b"there are none\r\n"))
    yield _message("end delimiter only", _multipart(b"b", b"--b--\r\n"))
    yield _message("no end delimiter", _multipart(b"b", b"--b\r\n" + part))
    yield _message("empty parts", _multipart(b"b", b"--b\r\n--b\r\n--b\r\n--b--\r\n"))
    yield _message("delimiter at the very end", _multipart(b"b", b"--b\r\n" + part + b"--b"))
    yield _message("text after the end", _multipart(b"b", b"--b\r\n" + part + b"--b--\r\n--b\r\n" + part))
    yield _message("blanks after the delimiter", _multipart(b"b", b"--b  \t\r\n" + part + b"--b-- \r\n"))
    yield _message("text after the delimiter", _multipart(b"b", b"--bx\r\n" + part + b"--b--x\r\n"))
    yield _message("no boundary", _HEADER + b"Content-Type: multipart/mixed\r\n\r\n--b\r\n" + part)
    yield _message("empty boundary", _multipart(b'""', b"--\r\n" + part + b"----\r\n"))
    yield _message("long boundary", _multipart(b"b" * 2000, b"--" + b"b" * 2000 + b"\r\n" + part))
    yield _message("boundary with quotes", _multipart(rb'"a\"b c"', b'--a"b c\r\n' + part + b'--a"b c--\r\n'))
    inner = b"Content-Type: multipart/mixed; boundary=bb\r\n\r\n--bb\r\n" + part + b"--bb--\r\n"
    yield _message(
        "boundary that begins another", _multipart(b"b", b"--b\r\n" + inner + b"--b\r\n" + part + b"--b--\r\n")
    )
    same = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n" + part + b"--b--\r\n"
    yield _message("same boundary inside", _multipart(b"b", b"--b\r\n" + same + b"--b--\r\n"))
    yield _message("digest", _multipart(b"b", b"--b\r\n\r\nSubject: one\r\n\r\ntext\r\n--b--\r\n", b"digest"))
    yield _message(
        "message without a message", _multipart(b"b", b"--b\r\nContent-Type: message/rfc822\r\n\r\n--b--\r\n")
    )
    yield _message("LF delimiters", _multipart(b"b", b"--b\r\n" + part + b"--b--\r\n").replace(b"\r\n", b"\n"))
    yield Awkward("100 levels", lambda: b"".join(_level(n) for n in range(100)) + b"text\r\n")
    yield Awkward("100 messages inside each other", lambda: b"Content-Type: message/rfc822\r\n\r\n" * 100)
    yield Awkward("3,000 parts", lambda: _multipart(b"b", b"--b\r\n\r\nx\r\n" * 3_000 + b"--b--\r\n"))
    yield Awkward("12,000 parts", lambda: _multipart(b"b", b"--b\r\n\r\n" * 12_000 + b"--b--\r\n"))
    yield Awkward("parameters", lambda: _HEADER + b"Content-Type: text/plain" + b"; a=b" * 5_000 + b"\r\n\r\nx\r\n")
    yield _message(
        "comment in the type", _HEADER + b"Content-Type: text/plain (; charset=x); charset=utf-8\r\n\r\nx\r\n"
    )
    yield _message("no subtype", _HEADER + b"Content-Type: text\r\n\r\nx\r\n")
    names = b"Content-Disposition: attachment; filename*1*=%20b; filename*0*=utf-8'en'%C3%A4; filename*2=\"c d\"\r\n"
    yield _message("continued file name", _HEADER + names + b"\r\nx\r\n")


def _level(number: int) -> bytes:
    return b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n" % (number, number)


def _sizes() -> Iterator[Awkward]:
    yield Awkward("1,000 recipients", lambda: b"To: " + b",\r\n ".join([b"a@example.org"] * 1_000) + b"\r\n\r\nx\r\n")
    yield Awkward("10,000 fields", lambda: b"X-Field: value\r\n" * 10_000 + b"\r\nbody\r\n")
    yield Awkward("field of 200,000", lambda: b"Subject: " + b"word " * 40_000 + b"\r\n\r\nbody\r\n")
    yield Awkward(
        "2 MB header", lambda: b"X-Field: " + (b"y" * 70 + b"\r\n ") * 29_000 + b"\r\n" + _HEADER + b"\r\nx\r\n"
    )
    yield Awkward("20 MB", lambda: _HEADER + b"\r\n" + (b"0123456789abcde" * 5 + b"\r\n") * 272_358)


def _damaged() -> Iterator[Awkward]:
    """Sample mails with a random wound each."""
    for number, mail in enumerate(sample_mails(seed=7)):
        chance = random.Random(number)
        damage = chance.choice(_DAMAGES)
        yield _message(f"damaged {number}: {damage.__name__.lstrip('_')}", damage(chance, mail))


def _cut(chance: random.Random, mail: bytes) -> bytes:
    return mail[: chance.randrange(len(mail))]


def _beheaded(chance: random.Random, mail: bytes) -> bytes:
    return mail[chance.randrange(len(mail)) :]


def _sprinkled(chance: random.Random, mail: bytes) -> bytes:
    changed = bytearray(mail)
    for _ in range(chance.randint(1, 40)):
        changed[chance.randrange(len(changed))] = chance.randrange(256)
    return bytes(changed)


def _stuffed(chance: random.Random, mail: bytes) -> bytes:
    place = chance.randrange(len(mail))
    return mail[:place] + chance.choice((b"\0", b"\r", b"\n", b"\r\n.\r", b"\xff", b"\r\n.", b"\n.\n")) + mail[place:]


def _shuffled(chance: random.Random, mail: bytes) -> bytes:
    lines = mail.splitlines(keepends=True)
    chance.shuffle(lines)
    return b"".join(lines)


def _unfolded(chance: random.Random, mail: bytes) -> bytes:
    return mail.replace(b"\r\n", b"\n", chance.randint(1, 100))


def _doubled(chance: random.Random, mail: bytes) -> bytes:
    place = chance.randrange(len(mail))
    return mail[:place] + mail[: 2 * place] + mail[place:]


_DAMAGES: Final = (_cut, _beheaded, _sprinkled, _stuffed, _shuffled, _unfolded, _doubled)
