"""The port: who may ask, how an answer is written, how an error is."""

from __future__ import annotations

import json
import re
import secrets
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from aiohttp import web

from stagelight_collector import security
from stagelight_collector.clickhouse import blocks, hello, statement
from stagelight_collector.clickhouse.errors import Refused
from stagelight_collector.errors import ClickHousePortUnusable
from stagelight_plugins.errors import HistoryAway, QueryFailed, QueryRefused

if TYPE_CHECKING:
    from collections.abc import Mapping

    from stagelight_collector.clickhouse.statement import Statement
    from stagelight_collector.history import History
    from stagelight_collector.history.raw import RawAnswer

_CONTENT_TYPES: Final = {
    "JSON": "application/json; charset=UTF-8",
    "TSV": "text/tab-separated-values; charset=UTF-8",
    "TabSeparated": "text/tab-separated-values; charset=UTF-8",
    "CSV": "text/csv; charset=UTF-8",
    "Pretty": "text/plain; charset=UTF-8",
    "Vertical": "text/plain; charset=UTF-8",
    "XML": "application/xml; charset=UTF-8",
    "Markdown": "text/markdown; charset=UTF-8",
}
"""By the beginning of a format's name; the others are bytes."""

SHUTDOWN_SECONDS: Final = 2.0
_NAME: Final = re.compile(r"(?: \(version [^)]*\))?\.? ?\(([A-Z][A-Z0-9_]+)\)\s*\Z")


class ClickHouseInterface:
    """A server of its own port. `start` and `stop` are safe twice.

    Args:
        history: What is read.
        host: The address, loopback only.
        port: 0 takes a free one.
        policy: Which names it answers to.
    """

    def __init__(self, history: History, host: str, port: int, policy: security.Policy) -> None:
        self._history = history
        self._host = host
        self._port = port
        self._policy = policy
        self._runner: web.AppRunner | None = None
        self.port = 0
        """Where it listens."""

    @property
    def url(self) -> str:
        """Where clients connect to."""
        host = self._host.strip("[]")
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}"

    async def start(self) -> None:
        """Listen.

        Raises:
            UnsafeBind: The address is not loopback.
            ClickHousePortUnusable: The port cannot be had.
        """
        if self._runner is not None:
            return
        security.check_bind(self._host)
        runner = web.AppRunner(
            self._application(), handle_signals=False, access_log=None, shutdown_timeout=SHUTDOWN_SECONDS
        )
        await runner.setup()
        try:
            await web.TCPSite(runner, self._host.strip("[]"), self._port).start()
        except OSError as error:
            await runner.cleanup()
            raise ClickHousePortUnusable(self._port, f"{error.strerror or error}; choose another") from error
        self._runner = runner
        self.port = int(runner.addresses[0][1])

    async def stop(self) -> None:
        """Let what is being answered finish, within `SHUTDOWN_SECONDS`."""
        runner, self._runner = self._runner, None
        if runner is not None:
            await runner.cleanup()

    def _application(self) -> web.Application:
        app = web.Application(client_max_size=statement.MAX_BODY)
        # There is no page here: even the path `/` answers questions.
        security.install(app, replace(self._policy, page_paths=frozenset(), page_trees=()))
        app.add_routes(
            [
                web.get("/ping", _alive),
                web.get("/replicas_status", _alive),
                web.get("/", self._get),
                web.post("/", self._answer),
            ]
        )
        return app

    async def _get(self, request: web.Request) -> web.StreamResponse:
        return await (self._answer(request) if request.query.get("query") else _alive(request))

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        query_id = request.query.get("query_id", "")[:100] or secrets.token_hex(16)
        try:
            asked = await statement.read(request)
            found = await self._found(asked)
        except Refused as error:
            return _error(error, query_id)
        body = blocks.compress(found.body) if asked.blocks else found.body
        headers = {
            **_headers(query_id),
            "X-ClickHouse-Format": found.format,
            "X-ClickHouse-Timezone": found.timezone,
            "X-ClickHouse-Summary": json.dumps(
                {"result_rows": str(found.rows), "result_bytes": str(len(found.body))}
            ),
            "Content-Type": _content_type(found.format),
        }
        response = web.Response(body=body, headers=headers)
        if not asked.blocks and request.query.get("enable_http_compression", "0") not in {"0", ""}:
            response.enable_compression()  # gzip or deflate, whatever the client accepts
        return response

    async def _found(self, asked: Statement) -> RawAnswer:
        if not hello.is_hello(asked.sql, asked.revision):
            return await self._ask(asked, asked.sql)
        answer = await self._ask(asked, hello.ENGINE)
        return replace(answer, body=hello.block(answer.body.decode(), asked.revision), format="Native")

    async def _ask(self, asked: Statement, sql: str) -> RawAnswer:
        """Ask history; what it says becomes what a server would say."""
        try:
            return await self._history.raw(
                sql,
                asked.parameters,
                database=asked.database,
                settings=asked.settings,
                default_format=asked.default_format,
            )
        except QueryRefused as error:
            raise Refused(164, "READONLY", f"{error}") from error
        except QueryFailed as error:
            raise _failed(error) from error
        except HistoryAway as error:
            raise Refused(202, "TOO_MANY_SIMULTANEOUS_QUERIES", f"{error}") from error


def _failed(error: QueryFailed) -> Refused:
    """Take the name of an error from the end of the engine's message, where it stands in brackets."""
    said = str(error)
    name = "UNKNOWN_EXCEPTION"
    while found := _NAME.search(said):  # an error of a format has it three times
        name, said = found[1], said[: found.start()].rstrip(" .")
    return Refused(error.code or 1002, name, said)


async def _alive(_request: web.Request) -> web.Response:
    return web.Response(text="Ok.\n", content_type="text/html", charset="UTF-8")


def _error(error: Refused, query_id: str) -> web.Response:
    headers = {
        **_headers(query_id),
        "X-ClickHouse-Exception-Code": str(error.code),
        "Content-Type": "text/plain; charset=UTF-8",
    }
    if error.status == 503:
        headers["Retry-After"] = "1"
    return web.Response(body=error.text.encode(), status=error.status, headers=headers)


def _headers(query_id: str) -> Mapping[str, str]:
    safe = "".join(letter for letter in query_id if letter.isprintable() and letter.isascii())
    return {"X-ClickHouse-Query-Id": safe, "X-ClickHouse-Server-Display-Name": "stagelight"}


def _content_type(form: str) -> str:
    found = (kind for prefix, kind in _CONTENT_TYPES.items() if form.startswith(prefix))
    return next(found, "application/octet-stream")
