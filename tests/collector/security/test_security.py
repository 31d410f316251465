"""A page of another origin gets nothing, and every answer tells the browser so."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
from aiohttp import web

from stagelight_collector.security import RESPONSE_HEADERS, Policy, UnsafeBind, check_bind, install

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

Headers = list[tuple[str, str]]


class Answer:
    """One response, as the wire has it."""

    def __init__(self, raw: bytes) -> None:
        head, _, self.body = raw.partition(b"\r\n\r\n")
        first, *lines = head.decode().split("\r\n")
        self.status = int(first.split()[1])
        self.headers = {name.title(): value for name, _, value in (line.partition(": ") for line in lines)}


class Site:
    """The server under test."""

    def __init__(self, port: int, reached: list[str]) -> None:
        self.port = port
        self.reached = reached

    async def ask(self, headers: Headers, target: str = "/", method: str = "GET") -> Answer:
        """One request on a raw connection; `PORT` in a header is the server's."""
        lines = [f"{method} {target} HTTP/1.1"]
        lines += [f"{name}: {value.replace('PORT', str(self.port))}" for name, value in headers]
        if "upgrade" not in {value.lower() for _, value in headers}:
            lines.append("Connection: close")
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            writer.write(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1"))
            async with asyncio.timeout(20):
                head = await reader.readuntil(b"\r\n\r\n")
                rest = b"" if b" 101 " in head else await reader.read()
            return Answer(head + rest)
        finally:
            writer.close()
            await writer.wait_closed()


@asynccontextmanager
async def _serve(policy: Policy | None = None) -> AsyncGenerator[Site]:
    reached: list[str] = []

    async def page(request: web.Request) -> web.StreamResponse:  # a handler
        reached.append(request.path)
        return web.Response(text="page")

    async def kept(_request: web.Request) -> web.StreamResponse:  # a handler
        return web.Response(
            text="x", headers={"Cache-Control": "max-age=60", "Content-Security-Policy": "none"}
        )

    async def stream(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"data")
        return response

    async def socket(request: web.Request) -> web.StreamResponse:
        reached.append(request.path)
        response = web.WebSocketResponse()
        await response.prepare(request)
        await response.close()
        return response

    async def fault(_request: web.Request) -> web.StreamResponse:  # a handler
        raise RuntimeError("secret")

    app = web.Application()
    for path in ("/", "/healthz", "/-/alerting/act", "/workflow/", "/api/v1/runs", "/v1/traces", "/metrics"):
        app.router.add_route("*", path, page)
    app.router.add_get("/kept", kept)
    app.router.add_get("/stream", stream)
    app.router.add_get("/ws", socket)
    app.router.add_get("/fault", fault)
    install(app, policy or Policy())
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield Site(runner.addresses[0][1], reached)
    finally:
        await runner.cleanup()


HOST = ("Host", "localhost:PORT")
PATHS = ("/", "/workflow/", "/api/v1/runs", "/v1/traces", "/nowhere")


@pytest.mark.parametrize("host", ["localhost:PORT", "127.0.0.1:PORT", "[::1]:PORT", "LOCALHOST:PORT"])
async def test_loopback_names_with_the_port_are_ours(host: str) -> None:
    async with _serve() as site:
        for path in PATHS:
            assert (await site.ask([("Host", host)], path)).status == (404 if path == "/nowhere" else 200)


@pytest.mark.parametrize(
    "host",
    [
        "attacker.example:PORT",  # DNS rebinding: a name of theirs that points here
        "attacker.example",
        "localhost",  # another port
        "localhost:1",
        "127.0.0.1:0PORT",
        "localhost.:PORT",
        "localhost:PORT.attacker.example",
        "localhost:PORT@attacker.example",
        "127.0.0.1.attacker.example:PORT",
        "127.0.0.2:PORT",
        "0.0.0.0:PORT",
        "[::]:PORT",
        "::1:PORT",
        "2130706433:PORT",
        "",
        "localhost:PORT, attacker.example",
    ],
)
async def test_other_names_are_misdirected_everywhere(host: str) -> None:
    async with _serve() as site:
        for path in PATHS:
            answer = await site.ask([("Host", host), ("X-Forwarded-Host", "localhost:PORT")], path)
            assert answer.status in {400, 421}
        assert site.reached == []


@pytest.mark.parametrize(
    "hosts",
    [
        [],
        [HOST, HOST],
        [HOST, ("Host", "attacker.example")],
        [("Host", "attacker.example"), HOST],
        [("Host", "attacker.example"), ("host", "localhost:PORT")],
    ],
)
async def test_there_must_be_exactly_one_host(hosts: Headers) -> None:
    async with _serve() as site:
        assert (await site.ask(hosts)).status in {400, 421}
        assert site.reached == []


@pytest.mark.parametrize(
    "target", ["http://attacker.example/", "http://localhost:PORT/", "*", "attacker.example:80"]
)
async def test_a_target_that_is_no_path_is_refused(target: str) -> None:
    async with _serve() as site:
        assert (await site.ask([HOST], target)).status == 400
        assert site.reached == []


async def test_listed_names_are_ours_alone_or_with_the_port() -> None:
    policy = Policy(allowed_hosts=frozenset({"lights.example", "other.example:8443"}))
    async with _serve(policy) as site:
        for host in ("lights.example", "lights.example:PORT", "other.example:8443"):
            assert (await site.ask([("Host", host)])).status == 200
        for host in ("lights.example:1", "other.example", "other.example:PORT", "localhost:PORT"):
            assert (await site.ask([("Host", host)])).status == 421


async def test_behind_a_proxy_the_page_may_be_on_tls() -> None:
    async with _serve(Policy(allowed_hosts=frozenset({"lights.example"}))) as site:
        for origin, status in (("https://lights.example", 200), ("https://attacker.example", 403)):
            assert (await site.ask([("Host", "lights.example"), ("Origin", origin)])).status == status


FOREIGN: dict[str, Headers] = {
    "other site": [("Origin", "https://attacker.example")],
    "null": [("Origin", "null")],
    "empty": [("Origin", "")],
    "other port": [("Origin", "http://localhost:1")],
    "no port": [("Origin", "http://localhost")],
    "other loopback name": [("Origin", "http://127.0.0.1:PORT")],
    "other scheme": [("Origin", "https://localhost:PORT")],
    "prefix": [("Origin", "http://localhost:PORT.attacker.example")],
    "two": [("Origin", "http://localhost:PORT"), ("Origin", "https://attacker.example")],
    "cross-site": [("Sec-Fetch-Site", "cross-site")],
    "same-site": [("Sec-Fetch-Site", "same-site")],
    "unknown": [("Sec-Fetch-Site", "other")],
    "image": [("Sec-Fetch-Site", "cross-site"), ("Sec-Fetch-Mode", "no-cors"), ("Sec-Fetch-Dest", "image")],
    "frame": [("Sec-Fetch-Site", "cross-site"), ("Sec-Fetch-Mode", "navigate"), ("Sec-Fetch-Dest", "iframe")],
    "forwarded": [
        ("Origin", "https://a.example"),
        ("X-Forwarded-Host", "a.example"),
        ("X-Forwarded-Proto", "https"),
    ],
}


@pytest.mark.parametrize("case", list(FOREIGN))
@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS"])
async def test_other_origins_get_nothing(case: str, method: str) -> None:
    async with _serve() as site:
        for path in PATHS:
            answer = await site.ask([HOST, *FOREIGN[case]], path, method)
            assert answer.status == 403
            assert not [name for name in answer.headers if name.startswith("Access-Control")]
        assert site.reached == []


@pytest.mark.parametrize(
    "own",
    [
        [],
        [("Origin", "http://localhost:PORT")],
        [("Origin", "http://localhost:PORT"), ("Sec-Fetch-Site", "same-origin")],
        [("Sec-Fetch-Site", "same-origin")],
        [("Sec-Fetch-Site", "none")],
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
async def test_our_own_page_and_programs_get_through(own: Headers, method: str) -> None:
    async with _serve() as site:
        assert (await site.ask([HOST, *own], "/api/v1/runs", method)).status == 200


@pytest.mark.parametrize("own", [[], [("Origin", "http://localhost:PORT")]])
async def test_preflights_are_refused_whoever_asks(own: Headers) -> None:
    preflight = [
        ("Access-Control-Request-Method", "POST"),
        ("Access-Control-Request-Headers", "content-type"),
    ]
    async with _serve() as site:
        answer = await site.ask([HOST, *own, *preflight], "/v1/traces", "OPTIONS")
        assert answer.status == 403
        assert not [name for name in answer.headers if name.startswith("Access-Control")]


async def test_an_origin_that_the_configuration_names_gets_through_and_no_other() -> None:
    policy = Policy(allowed_origins=frozenset({"http://monitor.example:8000"}))
    theirs: Headers = [("Origin", "http://monitor.example:8000"), ("Sec-Fetch-Site", "cross-site")]
    preflight: Headers = [("Access-Control-Request-Method", "PUT")]
    async with _serve(policy) as site:
        assert (await site.ask([HOST, *theirs], "/api/v1/runs", "POST")).status == 200
        assert (await site.ask([HOST, *theirs, *preflight], "/api/v1/runs", "OPTIONS")).status == 200
        for origin in ("http://monitor.example", "https://monitor.example:8000", "http://other.example:8000"):
            assert (await site.ask([HOST, ("Origin", origin)], "/api/v1/runs", "POST")).status == 403
        assert (await site.ask([HOST, *theirs, theirs[0]], "/api/v1/runs", "POST")).status == 403


LINK: Headers = [
    ("Sec-Fetch-Site", "cross-site"),
    ("Sec-Fetch-Mode", "navigate"),
    ("Sec-Fetch-Dest", "document"),
]


@pytest.mark.parametrize(
    ("target", "method", "status"),
    [
        ("/", "GET", 200),
        ("/?x=1", "HEAD", 200),
        ("/", "POST", 403),
        ("/healthz", "GET", 200),
        ("/-/alerting/act", "GET", 200),
        ("/-/alerting/act", "POST", 403),
        ("/workflow/", "GET", 403),
        ("/room/x/join", "GET", 403),
        ("/client/v4/accounts/a/workflows", "GET", 403),
        ("/-/%2e%2e/api/v1/runs", "GET", 404),
        ("/-/../api/v1/runs", "GET", 404),
        ("/anything", "GET", 403),
        ("/api/v1/runs", "GET", 403),
        ("/%61pi/v1/runs", "GET", 403),
        ("/v1/traces", "GET", 403),
        ("/metrics", "GET", 403),
    ],
)
async def test_a_link_on_another_site_opens_a_page_and_nothing_else(
    target: str, method: str, status: int
) -> None:
    async with _serve() as site:
        assert (await site.ask([HOST, *LINK], target, method)).status == status


UPGRADE: Headers = [
    ("Connection", "Upgrade"),
    ("Upgrade", "websocket"),
    ("Sec-WebSocket-Version", "13"),
    ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
]


@pytest.mark.parametrize(
    ("origin", "status"),
    [("http://localhost:PORT", 101), ("", 101), ("https://attacker.example", 403), ("null", 403)],
)
async def test_a_websocket_opens_for_our_own_page_only(origin: str, status: int) -> None:
    headers = [HOST, *UPGRADE, *([("Origin", origin)] if origin else [])]
    async with _serve() as site:
        assert (await site.ask(headers, "/ws")).status == status
        assert site.reached == ([] if status == 403 else ["/ws"])


@pytest.mark.parametrize("target", ["/", "/stream", "/nowhere", "/fault", "/kept", "/ws"])
async def test_every_answer_has_the_headers(target: str, caplog: pytest.LogCaptureFixture) -> None:
    del caplog  # takes the log of the fault
    async with _serve() as site:
        answer = await site.ask([HOST, *(UPGRADE if target == "/ws" else [])], target)
        assert answer.status == {"/nowhere": 404, "/fault": 500, "/ws": 101}.get(target, 200)
        _assert_headers(answer, "max-age=60" if target == "/kept" else "no-store")


@pytest.mark.parametrize("bad", [("Host", "attacker.example"), ("Origin", "null")])
async def test_a_refusal_is_a_problem_document_that_names_the_remedy(bad: tuple[str, str]) -> None:
    async with _serve() as site:
        answer = await site.ask([bad] if bad[0] == "Host" else [HOST, bad])
        assert answer.headers["Content-Type"].startswith("application/problem+json")
        problem = json.loads(answer.body)
        assert problem["status"] == answer.status
        assert problem["detail"].startswith(("Use the address", "Open the collector's own page"))
        _assert_headers(answer, "no-store")


def _assert_headers(answer: Answer, cache: str) -> None:
    assert RESPONSE_HEADERS.items() <= answer.headers.items()
    assert answer.headers["Cache-Control"] == cache
    assert "Server" not in answer.headers


def test_the_content_policy_is_what_was_agreed() -> None:
    assert RESPONSE_HEADERS["Content-Security-Policy"] == (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self';"
        " font-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none';"
        " require-trusted-types-for 'script'; trusted-types svelte-trusted-html"
    )


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "[::1]", "localhost"])
def test_loopback_may_be_bound(host: str) -> None:
    check_bind(host)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "", "192.168.0.1", "lights.example", "::ffff:10.0.0.1"])  # noqa: S104 # it is refused
def test_every_other_address_is_refused_with_the_remedy(host: str) -> None:
    with pytest.raises(UnsafeBind, match=r"listen on 127\.0\.0\.1") as refused:
        check_bind(host)
    assert "\n" not in str(refused.value)
