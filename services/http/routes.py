"""The table of routes, and the one way that every request takes through it.

Order: TLS where it is asked for, the route, who asks, the handler under a slot of `maxthreads`, headers, metrics, log.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from time import perf_counter
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote

from aiohttp import web

from services.common.errors import StoreError, result_of
from services.common.limits import in_slot
from services.common.tracing import SPAN, Span, current
from services.http.credentials import is_host
from services.http.handlers import events, jmap, login, transfer, websocket
from services.http.handlers.exchange import Exchange
from services.http.proxies import find_client
from services.http.replies import PROBLEM, Problem, refused

if TYPE_CHECKING:
    from services.http.connection import HttpConnection
    from services.http.service import HttpService

Handler = Callable[[Exchange], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class Route:
    """One method of one path. `public`: nobody has to be known for it. `standing`: its answer goes on for as long as
    the client likes, so its time says nothing and it is neither timed nor traced.
    """

    name: str
    handler: Handler
    public: bool = False
    standing: bool = False


ROUTES: Final[Mapping[str, Mapping[str, Route]]] = {
    "/": {"GET": Route("home", login.home, public=True)},
    "/login": {"POST": Route("login", login.log_in, public=True)},
    "/logout": {"POST": Route("logout", login.log_out)},
    "/.well-known/jmap": {"GET": Route("jmap-session", jmap.session)},
    "/jmap/session": {"GET": Route("jmap-session", jmap.session)},
    "/jmap": {"POST": Route("jmap", jmap.api)},
    "/jmap/upload/{account}/": {"POST": Route("jmap-upload", transfer.upload)},
    "/jmap/download/{account}/{blob}/{name}": {"GET": Route("jmap-download", transfer.download)},
    "/jmap/ws": {"GET": Route("jmap-websocket", websocket.talk, standing=True)},
    "/jmap/eventsource": {"GET": Route("jmap-eventsource", events.stream, standing=True)},
}
"""Path -> method -> route. A part in braces takes any text without a slash; HEAD is a GET whose body is left out."""


class _Paths:
    """The table in the form in which paths are looked for: whole ones first, then by their parts."""

    def __init__(self, table: Mapping[str, Mapping[str, Route]]) -> None:
        self._whole = {path: methods for path, methods in table.items() if "{" not in path}
        self._parts = [(path.split("/"), methods) for path, methods in table.items() if "{" in path]

    def find(self, path: str) -> tuple[Mapping[str, Route], Mapping[str, str]] | None:
        """The methods of a path and the values of its parts."""
        whole = self._whole.get(path)
        if whole is not None:
            return whole, {}
        given = path.split("/")
        for parts, methods in self._parts:
            values = _values(parts, given)
            if values is not None:
                return methods, values
        return None


def _values(parts: list[str], given: list[str]) -> Mapping[str, str] | None:
    if len(parts) != len(given):
        return None
    values: dict[str, str] = {}
    for part, text in zip(parts, given, strict=True):
        if part.startswith("{"):
            values[part[1:-1]] = unquote(text)
        elif part != text:
            return None
    return values


class Router:
    """Answers requests (`connection.Handling`)."""

    def __init__(self, service: HttpService, table: Mapping[str, Mapping[str, Route]] = ROUTES) -> None:
        self._service = service
        self._paths = _Paths(table)

    async def answer(self, request: web.BaseRequest, connection: HttpConnection) -> web.StreamResponse:
        """The answer, whatever happens inside."""
        started = perf_counter()
        exchange = Exchange(request, connection, self._service)
        route: Route | None = None
        try:
            await find_client(request, connection, self._service.options.forwardedfields)
            self._demand_tls(exchange)
            route, exchange.values = self._route(request)
            SPAN.set(_span(route, connection))
            response = await in_slot(connection.server.slots, self._run(route, exchange))
        except Problem as problem:
            exchange.result = "no"
            response = _problem(problem)
        except StoreError as error:
            exchange.result = result_of(error.reason)
            response = _problem(refused(error.reason))
        except ConnectionError:
            # The client went in the middle of an answer.
            _measure(route, exchange, started)
            raise
        except Exception as error:
            exchange.result = "error"
            connection.log.error("request failed", error=error, route=_name(route))
            response = _problem(Problem(500, "The request failed."))
        self._finish(response, exchange, route, started)
        return response

    async def _run(self, route: Route, exchange: Exchange) -> web.StreamResponse:
        if not route.public:
            exchange.caller = await self._service.callers.required(exchange.request, exchange.connection)
        return await route.handler(exchange)

    def _route(self, request: web.BaseRequest) -> tuple[Route, Mapping[str, str]]:
        found = self._paths.find(request.rel_url.raw_path)
        if found is None:
            raise Problem(404)
        methods, values = found
        route = methods.get("GET" if request.method == "HEAD" else request.method)
        if route is None:
            raise Problem(405, headers={"Allow": ", ".join(methods)})
        return route, values

    def _demand_tls(self, exchange: Exchange) -> None:
        """Where passwords want TLS, everything does: a cookie is worth as much. Raises Problem 308 or 403."""
        connection, service = exchange.connection, self._service
        if exchange.secure or service.callers.takes_passwords(connection.peer):
            return
        configuration = service.configuration.value
        host = exchange.request.headers.get("Host", "")
        if exchange.request.method not in ("GET", "HEAD") or not configuration.tls.certfile or not is_host(host):
            raise Problem(403, "This service is to be had by HTTPS alone.")
        name = host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() else host
        place = f"https://{name}:{configuration.http.sslport}{exchange.request.rel_url.raw_path_qs}"
        raise Problem(308, "This service is to be had by HTTPS.", headers={"Location": place})

    def _finish(self, response: web.StreamResponse, exchange: Exchange, route: Route | None, started: float) -> None:
        connection, request = exchange.connection, exchange.request
        exchange.dress(response)
        seconds = _measure(route, exchange, started)
        connection.log.debug(
            "request", method=request.method, path=request.path, status=response.status, seconds=seconds
        )


def _name(route: Route | None) -> str:
    return "other" if route is None else route.name


def _span(route: Route, connection: HttpConnection) -> Span | None:
    """The request's own, where it is traced. What a client says of its traces is not taken over."""
    tracer = connection.server.tracer
    if tracer is None or route.standing:
        return None
    return tracer.begin(f"http {route.name}", connection.session_id)


def _measure(route: Route | None, exchange: Exchange, started: float) -> float:
    """A request that began at `started` (perf_counter) is over; how long it took."""
    seconds = perf_counter() - started
    span = current()
    if span is not None:
        span.end(exchange.result)
    if route is None or not route.standing:
        exchange.connection.server.observer.command("http", _name(route), exchange.result, seconds)
    return seconds


def _problem(problem: Problem) -> web.Response:
    headers = dict(problem.headers)
    response = web.Response(status=problem.status, body=problem.body, headers=headers, content_type=PROBLEM)
    if problem.status in (408, 413):
        response.force_close()
    return response
