"""Questions while history is away, or has too many of them: the asker is told to ask again, and may."""

from __future__ import annotations

import asyncio
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import TYPE_CHECKING, Any

import pytest

from stagelight_collector.history.asking import Asker
from stagelight_collector.history.engine import engine_of
from stagelight_plugins.errors import HistoryAway, QueryFailed

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

    from stagelight_collector.history import History


@contextmanager
def server(path: Path, *, dies: bool) -> Generator[Asker]:
    """A ClickHouse server that greets its clients and then hangs up on every question, or answers it with an error."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = self.rfile.read(int(self.headers["Content-Length"]))
            greeting = b"26.2.1.1\tUTC\n" if b"SELECT version()" in asked else b""
            known = greeting or b"system.settings" in asked or b"AS check" in asked
            if dies and not known:
                self.close_connection = True
                return
            self.send_response(200 if known else 404)
            if not known:
                self.send_header("X-ClickHouse-Exception-Code", "47")
                greeting = b"Code: 47. DB::Exception: Unknown identifier"
            self.send_header("Content-Length", str(len(greeting)))
            self.end_headers()
            self.wfile.write(greeting)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name is the library's
            del format, args

    with HTTPServer(("127.0.0.1", 0), Handler) as listening:
        thread = threading.Thread(target=listening.serve_forever, args=(0.01,))
        thread.start()
        dsn = f"clickhouse://user:secret@127.0.0.1:{listening.server_port}/there"
        yield Asker(engine_of(dsn, data_dir=path))
        listening.shutdown()
        thread.join()


async def ask(asker: Asker) -> None:
    try:
        await asker.ask("SELECT 1", None, seconds=10, rows=10_000)
    finally:
        await asker.close()


async def test_a_server_that_is_not_there_is_away(unused_tcp_port: int, tmp_path: Path) -> None:
    dsn = f"clickhouse://user:secret@127.0.0.1:{unused_tcp_port}/there"
    with pytest.raises(HistoryAway, match=r"connection refused.*; try again in 1 s") as away:
        await ask(Asker(engine_of(dsn, data_dir=tmp_path)))
    assert "secret" not in str(away.value)


async def test_a_server_that_goes_away_in_the_middle_is_away(tmp_path: Path) -> None:
    with (
        server(tmp_path, dies=True) as asker,
        pytest.raises(HistoryAway, match="history cannot be reached") as away,
    ):
        await ask(asker)
    assert "secret" not in str(away.value)


async def test_a_server_that_answers_with_an_error_is_not_away(tmp_path: Path) -> None:
    with (
        server(tmp_path, dies=False) as asker,
        pytest.raises(QueryFailed, match="Unknown identifier") as failed,
    ):
        await ask(asker)
    assert failed.value.code == 47


async def test_too_many_questions_are_told_to_come_back(
    history: History, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("stagelight_collector.history.lane.MAX_WAITING", 2)
    asked = [history.query("SELECT 1", None, seconds=10, rows=10_000) for _ in range(5)]
    answers = await asyncio.gather(*asked, return_exceptions=True)
    assert sum(isinstance(answer, HistoryAway) for answer in answers) == 3
    assert (await history.query("SELECT 1", None, seconds=10, rows=10_000)).rows == [[1]]
