"""The pages that a person sees: log in, and one's logins. No script, no request to anywhere else. No I/O.

Every text that comes from outside goes through `escape`.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime
from html import escape
from typing import Final

from services.common.domain import LoginSession
from services.http.credentials import LoginCookie

STYLE: Final = """
:root{color-scheme:light dark;--line:#8886;--accent:light-dark(#0b57d0,#a8c7fa)}
body{font:1rem/1.5 system-ui,sans-serif;margin:0 auto;padding:2rem 1rem;max-width:48rem}
h1{font-size:1.4rem}form.login{max-width:22rem}
label{display:block;margin-block-start:1rem}
input{font:inherit;width:100%;box-sizing:border-box;padding:.5rem;border:1px solid var(--line);border-radius:.4rem}
button{font:inherit;padding:.45rem 1rem;border:1px solid var(--accent);border-radius:.4rem;background:none;
color:var(--accent);cursor:pointer;margin-block-start:1rem}
td button{margin:0}:focus-visible{outline:3px solid var(--accent);outline-offset:2px}
table{border-collapse:collapse;width:100%}th,td{text-align:start;padding:.5rem .75rem .5rem 0;
border-block-end:1px solid var(--line);vertical-align:top;overflow-wrap:anywhere}
p.error{border-inline-start:4px solid #d33;padding-inline-start:.75rem}
@media(max-width:36rem){thead{display:none}td{display:block;border:0;padding-block:.1rem}tr{display:block;
border-block-end:1px solid var(--line);padding-block:.75rem}}
"""
_STYLE_HASH: Final = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
POLICY: Final = (
    f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
"""The Content-Security-Policy of these pages."""

_PAGE: Final = (
    '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
    '<meta name="viewport" content="width=device-width, initial-scale=1"><title>{title}</title>'
    "<style>{style}</style></head><body><main>{content}</main></body></html>\n"
)


def _page(title: str, content: str) -> bytes:
    return _PAGE.format(title=escape(title), style=STYLE, content=content).encode()


def login_page(error: str = "", name: str = "") -> bytes:
    """The form; with what went wrong and the name that was typed."""
    told = f'<p class="error" role="alert">{escape(error)}</p>' if error else ""
    return _page(
        "Log in - Mailkeep",
        f'<h1>Log in to your mail</h1>{told}<form class="login" method="post" action="/login">'
        f'<label for="name">Name or address</label><input id="name" name="name" value="{escape(name)}"'
        ' autocomplete="username" autocapitalize="none" spellcheck="false" required autofocus>'
        '<label for="password">Password</label><input id="password" name="password" type="password"'
        ' autocomplete="current-password" required><button>Log in</button></form>',
    )


def no_login_page() -> bytes:
    """Where no password may be sent and HTTPS is not to be had."""
    return _page(
        "Mailkeep", "<h1>Mailkeep</h1><p>Passwords are not taken on this connection, and there is no other.</p>"
    )


def logins_page(user: str, logins: Sequence[LoginSession], own: LoginCookie) -> bytes:
    """Who one is, and everywhere one is logged in."""
    token = own.form_token
    rows = "".join(_row(login, own, token) for login in logins)
    everywhere = _button(token, "/logout", "Log out everywhere", everywhere="yes")
    return _page(
        "Your logins - Mailkeep",
        f"<h1>Logged in as {escape(user)}</h1><p>Mail programs find this mailbox by JMAP at"
        " <code>/.well-known/jmap</code>.</p><h2>Where you are logged in</h2><table><thead><tr><th>Program</th>"
        "<th>Address</th><th>Last used (UTC)</th><th>Since (UTC)</th><th></th></tr></thead><tbody>"
        f"{rows}</tbody></table>{everywhere}",
    )


def _row(login: LoginSession, own: LoginCookie, token: str) -> str:
    here = login.digest == own.digest
    program = escape(login.agent or "unknown") + (" <strong>(this one)</strong>" if here else "")
    end = _button(token, "/logout", "Log out", login=login.digest.hex())
    return (
        f"<tr><td>{program}</td><td>{escape(login.address)}</td><td>{_time(login.used)}</td>"
        f"<td>{_time(login.created)}</td><td>{end}</td></tr>"
    )


def _button(token: str, action: str, text: str, **fields: str) -> str:
    hidden = "".join(
        f'<input type="hidden" name="{name}" value="{escape(value)}">'
        for name, value in {**fields, "token": token}.items()
    )
    return f'<form method="post" action="{action}">{hidden}<button>{text}</button></form>'


def _time(seconds: int) -> str:
    when = datetime.fromtimestamp(seconds, UTC)
    return f'<time datetime="{when:%Y-%m-%dT%H:%M:%SZ}">{when:%Y-%m-%d %H:%M}</time>'
