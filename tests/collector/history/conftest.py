"""One chdb engine per test module (chdb allows one data directory per process), a database per test."""

from __future__ import annotations

import itertools
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from stagelight_collector.history import History, open_history
from stagelight_collector.history.engine import ChdbEngine
from stagelight_plugins.hookspecs import Batch

if TYPE_CHECKING:
    from pathlib import Path

    from stagelight.events import Event
    from stagelight_collector.history.engine import Handle

SECOND = 1_000_000_000
NOW = 1_764_000_000 * SECOND

Ask = Callable[..., Sequence[Sequence[Any]]]
_numbers = itertools.count()


def handle_of(path: Path, database: str | None = None) -> Handle:
    """Open a handle of the test's own; in worker threads only."""
    return ChdbEngine(path=str(path), database="").connect(database=database, settings={})


@pytest.fixture(scope="module")
def engine_path(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The data directory, held open by a handle so that opening history in a test costs little."""
    path = tmp_path_factory.mktemp("chdb")
    with ThreadPoolExecutor(1) as thread:
        anchor = thread.submit(handle_of, path).result()
        yield path
        thread.submit(anchor.close).result()


@pytest.fixture
def dsn(engine_path: Path) -> str:
    """A database of the test's own."""
    return f"chdb://{engine_path}?database=test_{next(_numbers)}"


@pytest.fixture
async def history(dsn: str, tmp_path: Path) -> AsyncIterator[History]:
    """History, open and empty."""
    threads = set(threading.enumerate())
    opened = await open_history(dsn, data_dir=tmp_path)
    yield opened
    await opened.close()
    left = {
        thread.name for thread in set(threading.enumerate()) - threads if thread.name.startswith("history")
    }
    assert not left


@pytest.fixture
def ask(engine_path: Path, dsn: str) -> Iterator[Ask]:
    """Run SQL in the test's database, through a handle of the test's own."""
    database = dsn.partition("database=")[2]
    handles: list[Handle] = []

    def connect() -> Handle:
        if not handles:
            handles.append(handle_of(engine_path, database))
        return handles[0]

    with ThreadPoolExecutor(1) as thread:

        def run(sql: str, **parameters: Any) -> Sequence[Sequence[Any]]:
            return thread.submit(lambda: connect().query(sql, parameters).result_rows).result()

        yield run
        if handles:
            thread.submit(handles[0].close).result()


@pytest.fixture
def span_rows() -> Callable[..., dict[str, list[Any]]]:
    """Make rows for `otel_traces`."""
    return _span_rows


def _span_rows(
    count: int, *, run_id: str = "run", trace_id: str = "trace", first: int = 0
) -> dict[str, list[Any]]:
    numbers = range(first, first + count)
    return {
        "Timestamp": [NOW + number for number in numbers],
        "TraceId": [trace_id] * count,
        "SpanId": [f"{number:016x}" for number in numbers],
        "ParentSpanId": [""] * count,
        "SpanName": ["load"] * count,
        "SpanKind": ["Internal"] * count,
        "ServiceName": ["billing"] * count,
        "ResourceAttributes": [{"service.name": "billing"}] * count,
        "SpanAttributes": [{"workflow.name": "etl", "workflow.run.id": run_id, "workflow.step.name": "load"}]
        * count,
        "Duration": [5] * count,
        "StatusCode": ["Ok"] * count,
        "Events.Timestamp": [[NOW + 1]] * count,
        "Events.Name": [["exception"]] * count,
        "Events.Attributes": [[{"exception.type": "ValueError"}]] * count,
        "Links.TraceId": [["other"]] * count,
        "Links.SpanId": [["cause"]] * count,
        "Links.TraceState": [[""]] * count,
        "Links.Attributes": [[{}]] * count,
    }


@pytest.fixture
def log_rows() -> Callable[[int], dict[str, list[Any]]]:
    """Make rows for `otel_logs`."""

    def make(count: int) -> dict[str, list[Any]]:
        return {
            "Timestamp": [NOW + number for number in range(count)],
            "TraceId": ["trace"] * count,
            "SpanId": ["span"] * count,
            "EventName": [""] * count,
            "ServiceName": ["billing"] * count,
            "Body": [f"line {number}" for number in range(count)],
            "LogAttributes": [{"workflow.run.id": "run"}] * count,
        }

    return make


@pytest.fixture
def put(history: History) -> Callable[..., Any]:
    """Insert events under a token that is used once."""

    async def insert(*events: Event) -> None:
        await history.insert(Batch(seq=0, events=events), f"once-{next(_numbers)}")

    return insert
