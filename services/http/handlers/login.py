"""The pages of logins: the form, the list, logging out."""

from __future__ import annotations

from aiohttp import web

from services.common.directory import LoginRefused
from services.http import pages
from services.http.bodies import read_own_form
from services.http.callers import REFUSALS, Caller
from services.http.credentials import LoginCookie, cookie_header
from services.http.handlers.exchange import Exchange, page, see_other
from services.http.replies import Problem


async def home(exchange: Exchange) -> web.Response:
    """GET /: the form, or one's logins. Who shows a certificate is logged in by it."""
    service, connection = exchange.service, exchange.connection
    caller = await service.callers.found(exchange.request, connection)
    if caller is not None and caller.login is not None:
        return await _list(exchange, caller, caller.login)
    if caller is not None and connection.peer.certificate is not None:
        agent = exchange.request.headers.get("User-Agent", "")
        cookie = await service.callers.begin(caller.entry, connection, agent)
        response = await _list(exchange, caller, cookie)
        response.headers["Set-Cookie"] = cookie_header(cookie, tls=exchange.secure)
        return response
    if not service.callers.takes_passwords(connection.peer):
        return page(pages.no_login_page(), pages.POLICY, 403)
    return page(pages.login_page(), pages.POLICY)


async def _list(exchange: Exchange, caller: Caller, own: LoginCookie) -> web.Response:
    logins = await exchange.service.logins.all(caller.account_id)
    return page(pages.logins_page(caller.name, logins, own), pages.POLICY)


async def log_in(exchange: Exchange) -> web.Response:
    """POST /login: a name and a password become a cookie."""
    request, connection = exchange.request, exchange.connection
    form = await read_own_form(request, connection)
    name, agent = form.get("name", ""), request.headers.get("User-Agent", "")
    try:
        cookie = await exchange.service.callers.log_in(name, form.get("password", ""), connection, agent)
    except LoginRefused as refused:
        exchange.result = "no"
        return page(pages.login_page(REFUSALS[refused.kind], name), pages.POLICY, 403)
    response = see_other("/")
    response.headers["Set-Cookie"] = cookie_header(cookie, tls=exchange.secure)
    return response


async def log_out(exchange: Exchange) -> web.Response:
    """POST /logout: end the login named, all of them, or the one that asks."""
    form = await read_own_form(exchange.request, exchange.connection)
    caller, logins = exchange.known, exchange.service.logins
    own = caller.login
    if own is None or not own.matches(form.get("token", "")):
        raise Problem(403, "The form is not of this login.")
    if form.get("everywhere"):
        await logins.end_all(caller.account_id)
        exchange.connection.log.info("logged out everywhere")
        return _gone(exchange)
    digest = _digest(form.get("login")) or own.digest
    await logins.end(caller.account_id, digest)
    exchange.connection.log.info("logged out", other=digest != own.digest)
    return _gone(exchange) if digest == own.digest else see_other("/")


def _gone(exchange: Exchange) -> web.Response:
    response = see_other("/")
    response.headers["Set-Cookie"] = cookie_header(None, tls=exchange.secure)
    response.headers["Clear-Site-Data"] = '"cache", "cookies", "storage"'
    return response


def _digest(text: str | None) -> bytes | None:
    if not text:
        return None
    try:
        digest = bytes.fromhex(text)
    except ValueError:
        digest = b""
    if len(digest) != 32:
        raise Problem(400, "There is no such login.")
    return digest
