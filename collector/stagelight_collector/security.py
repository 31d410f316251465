"""Who may ask: `Host`, `Origin` and `Sec-Fetch-*` on every request; what a browser is told on every response.

A local port is no boundary: any web page can send requests to it. A page of another origin gets nothing here: its
requests are refused unless `allowed_origins` names it, and a name that was pointed at this machine (DNS rebinding) is
not in the list of hosts. `X-Forwarded-*` is never believed.
"""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus
from ipaddress import ip_address
from typing import TYPE_CHECKING, Final

from aiohttp import web

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aiohttp.typedefs import Handler

LOOPBACK_HOSTS: Final = frozenset({"localhost", "127.0.0.1", "[::1]"})

RESPONSE_HEADERS: Final[Mapping[str, str]] = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; font-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types svelte-trusted-html",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
"""On every response that a handler or this module makes, also on errors and streams."""


@dataclass(frozen=True, slots=True)
class Policy:
    """Which names this server answers to.

    A loopback name is right only with the port that the connection came in on. Any other name is right alone (a
    proxy stands in front), with that port, or with the port that it is listed with.
    """

    allowed_hosts: frozenset[str] = LOOPBACK_HOSTS
    allowed_origins: frozenset[str] = frozenset()
    """Other origins whose pages may send requests; what they may read is up to each route's own CORS headers."""
    page_paths: frozenset[str] = frozenset({"/", "/healthz"})
    """Where a link on another site may lead: the page, and whether all is well, which is no secret."""
    page_trees: tuple[str, ...] = ("/-/",)
    """The same below these paths: pages of plugins, and what mails and messages link to. All else is data or does something."""


class UnsafeBind(Exception):  # a state that is refused, not a fault of the program
    """The server was told to listen where other machines reach it."""

    def __init__(self, host: str) -> None:
        super().__init__(
            f"refusing to listen on {repr(host) if host else 'every address'}: whoever reaches the port could read every run;"
            " listen on 127.0.0.1 or ::1, and reach it from elsewhere through an SSH tunnel"
        )
        self.host = host


def check_bind(host: str) -> None:
    """Only loopback, for now: there is no authentication yet.

    Raises:
        UnsafeBind: `host` is another address, a name that may be one, or empty (every address).
    """
    try:
        loopback = ip_address(host.strip("[]")).is_loopback
    except ValueError:
        loopback = host == "localhost"
    if not loopback:
        raise UnsafeBind(host)


def install(app: web.Application, policy: Policy) -> None:
    """Put the checks before every handler of `app`, and the headers on every response."""

    @web.middleware
    async def check(request: web.Request, handler: Handler) -> web.StreamResponse:
        refusal = _host_refusal(request, policy) or _origin_refusal(request, policy)
        return await handler(request) if refusal is None else refusal

    app.middlewares.insert(0, check)
    app.on_response_prepare.append(_set_headers)


async def _set_headers(_request: web.BaseRequest, response: web.StreamResponse) -> None:
    response.headers.update(RESPONSE_HEADERS)
    response.headers.setdefault("Cache-Control", "no-store")
    response.headers.popall("Server", None)


def _host_refusal(request: web.Request, policy: Policy) -> web.Response | None:
    if not request.raw_path.startswith("/"):
        # An absolute target would replace the Host header (RFC 9112 §3.2.2).
        return _problem(400, "Ask for a path: this server is not a proxy")
    hosts = request.headers.getall("Host", ())
    if len(hosts) == 1 and _is_ours(hosts[0].lower(), request, policy):
        return None
    return _problem(
        421, "Use the address that the collector printed at start-up, or add this name to `allowed_hosts`"
    )


def _is_ours(host: str, request: web.Request, policy: Policy) -> bool:
    name, has_port, port = host.rpartition(":")
    if not has_port or host.endswith("]"):
        name, port = host, ""
    if name in LOOPBACK_HOSTS:
        return name in policy.allowed_hosts and (port or "80") == _bound_port(request)
    return host in policy.allowed_hosts or (name in policy.allowed_hosts and port == _bound_port(request))


def _bound_port(request: web.Request) -> str:
    match request.get_extra_info("sockname"):
        case (_, int(port), *_):
            return str(port)
        case _:
            return ""


def _origin_refusal(request: web.Request, policy: Policy) -> web.Response | None:
    origins = request.headers.getall("Origin", ())
    if len(origins) == 1 and origins[0].lower() in policy.allowed_origins:
        return None
    if request.method == "OPTIONS" and (origins or "Access-Control-Request-Method" in request.headers):
        return _problem(403, "Pages of other origins have no access, unless `allowed_origins` names them")
    if origins and (len(origins) > 1 or not _is_same_origin(origins[0].lower(), request)):
        return _problem(403, "Open the collector's own page: requests of other pages are refused")
    site = request.headers.get("Sec-Fetch-Site", "none")
    if site not in {"none", "same-origin"} and not _is_link_to_page(request, policy):
        return _problem(403, "Open the collector's own page: requests of other sites are refused")
    return None


def _is_same_origin(origin: str, request: web.Request) -> bool:
    host = request.headers["Host"].lower()
    if origin == f"http://{host}":
        return True
    # A proxy in front may speak TLS; nothing but this server can be at a loopback name with its port.
    return origin == f"https://{host}" and host.rpartition(":")[0] not in LOOPBACK_HOSTS


def _is_link_to_page(request: web.Request, policy: Policy) -> bool:
    return (
        request.method in {"GET", "HEAD"}
        and request.headers.get("Sec-Fetch-Mode") == "navigate"
        and request.headers.get("Sec-Fetch-Dest") == "document"
        and (request.path in policy.page_paths or request.path.startswith(policy.page_trees))
    )


def _problem(status: int, remedy: str) -> web.Response:
    """RFC 9457. The connection ends, so that what was refused is not read on."""
    response = web.json_response(
        {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status, "detail": remedy},
        status=status,
        content_type="application/problem+json",
    )
    response.force_close()
    return response
