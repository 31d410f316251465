"""A ClickHouse server that fails on demand: its HTTP interface, as far as the client uses it, over the embedded engine."""

from __future__ import annotations

import asyncio
import importlib
import re
import tempfile
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode

from aiohttp import web

from stagelight_collector.history.engine import ChdbEngine

if TYPE_CHECKING:
    from collections.abc import Mapping

_NO_SETTINGS: Final = {"query", "database", "default_format", "session_id", "query_id", "wait_end_of_query",
                       "send_progress_in_http_headers", "http_headers_progress_interval_ms", "client_protocol_version",
                       "compress", "enable_http_compression", "cancel_http_readonly_queries_on_client_close"}  # fmt: skip
_FORMAT: Final = b"FORMAT Native"


class StandIn:
    """Serves from `up` to `down`, at the same port each time."""

    def __init__(self, path: Path, database: str) -> None:
        self._engine = ChdbEngine(path=str(path), database=database)
        self._thread = ThreadPoolExecutor(1)
        self._runner: web.AppRunner | None = None
        self.port = 0
        self.hanging: asyncio.Event | None = None
        """Where set, requests wait for it and are then cut off."""
        self.fails_after_commit = False
        """Inserts are done, and answered as if they were not."""
        self.inserts = 0
        self.hung = 0
        """Requests that were made to hang."""

    @property
    def dsn(self) -> str:
        """Where it is; the client waits no longer than three seconds for it."""
        options = {"send_receive_timeout": 3, "connect_timeout": 1, "autogenerate_session_id": "false"}
        return f"clickhouse://127.0.0.1:{self.port}/{self._engine.database}?{urlencode(options)}"

    async def up(self) -> None:
        """Listen."""
        app = web.Application(client_max_size=1 << 28)
        app.router.add_route("*", "/{tail:.*}", self._serve)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port)
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def down(self) -> None:
        """Refuse connections. Safe twice."""
        runner, self._runner = self._runner, None
        if runner is not None:
            await runner.cleanup()

    async def close(self) -> None:
        """Let go of everything."""
        if self.hanging is not None:
            self.hanging.set()
        await self.down()
        await asyncio.to_thread(self._thread.shutdown)

    async def ask(self, sql: str) -> str:
        """Ask the engine behind it."""
        work = partial(self._run, sql, dict[str, str](), "TSV", b"")
        answer = await asyncio.get_running_loop().run_in_executor(self._thread, work)
        return answer.decode().strip()

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        if self.hanging is not None:
            self.hung += 1
            await self.hanging.wait()
            return web.Response(status=503)
        asked = dict(request.query)
        if request.content_type == "multipart/form-data":  # what is too long for an address
            asked |= {name: str(value) for name, value in (await request.post()).items()}
            body = b""
        else:
            body = await request.read()
        if request.headers.get("Content-Encoding") == "lz4":
            body = _unpacked(body)
        sql, inserting = asked.pop("query", "").encode() + body, False
        body = b""
        if sql.lstrip().upper().startswith(b"INSERT") and _FORMAT in sql:
            inserting = True
            sql, _, body = sql.partition(_FORMAT)
            body = body.removeprefix(b"\n")
        work = partial(self._run, sql.decode(), asked, asked.get("default_format", "TSV"), body)
        try:
            answer = await asyncio.get_running_loop().run_in_executor(self._thread, work)
        except Exception as error:  # noqa: BLE001 - whatever the engine says
            code = re.search(r"Code: (\d+)", str(error))
            headers = {"X-ClickHouse-Exception-Code": code[1] if code else "1"}
            return web.Response(status=500, text=str(error), headers=headers)
        if inserting:
            self.inserts += 1
            if self.fails_after_commit:
                text = "Code: 999. DB::Exception: Session expired. (KEEPER_EXCEPTION)"
                return web.Response(status=500, text=text, headers={"X-ClickHouse-Exception-Code": "999"})
        return web.Response(
            body=answer, headers={"X-ClickHouse-Summary": "{}", "X-ClickHouse-Timezone": "UTC"}
        )

    def _run(self, sql: str, query: Mapping[str, str], form: str, body: bytes) -> bytes:
        connection: Any = self._engine.connection()
        try:
            connection.query(f"CREATE DATABASE IF NOT EXISTS `{self._engine.database}`")
            connection.query(f"USE `{self._engine.database}`")
            for name, value in query.items():
                if not name.startswith("param_") and name not in _NO_SETTINGS:
                    connection.query(f"SET {name} = '{value}'")
            if body:
                with tempfile.NamedTemporaryFile(suffix=".native") as file:
                    Path(file.name).write_bytes(body)
                    return bytes(connection.query(f"{sql} FROM INFILE '{file.name}' FORMAT Native").bytes())
            parameters = {name[6:]: value for name, value in query.items() if name.startswith("param_")}
            return bytes(connection.query(sql, form, params=parameters).bytes())
        finally:
            connection.close()


def _unpacked(body: bytes) -> bytes:
    """Unpack every frame: a client sends one for each block of its rows."""
    frames, whole = importlib.import_module("lz4.frame"), b""
    while body:
        frame = frames.LZ4FrameDecompressor()
        whole += frame.decompress(body)
        body = frame.unused_data or b""
    return whole
