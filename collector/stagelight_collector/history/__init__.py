"""History: what was, in ClickHouse tables. Embedded chdb by default, a server by DSN; the same code for both.

history = await open_history("chdb://", data_dir=data_dir)
await history.insert(batch, token)
page = await history.list_runs(RunFilter(status=RunStatus.FAILED))
await history.close()
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from stagelight_collector.history.engine import engine_of
from stagelight_collector.history.errors import (
    BadCursor,
    HistoryClosed,
    HistoryError,
    HistoryInUse,
    RunTooLarge,
)
from stagelight_collector.history.records import (
    Dropped,
    ErrorGroup,
    HistoryStatus,
    Page,
    Pruning,
    Retention,
    RunFilter,
    RunRecord,
    TableStatus,
    TrendPart,
    WorkflowRecord,
    WorkflowStatistics,
)
from stagelight_collector.history.store import ClickHouseHistory

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from stagelight.events import Event
    from stagelight_collector.history.raw import RawAnswer
    from stagelight_plugins.hookspecs import Batch, QueryResult

__all__ = [
    "BadCursor",
    "Dropped",
    "ErrorGroup",
    "History",
    "HistoryClosed",
    "HistoryError",
    "HistoryInUse",
    "HistoryStatus",
    "Page",
    "Pruning",
    "Retention",
    "RunFilter",
    "RunRecord",
    "RunTooLarge",
    "TableStatus",
    "TrendPart",
    "WorkflowRecord",
    "WorkflowStatistics",
    "open_history",
]


class History(Protocol):
    """What was, for the pipeline, the API and the rooms.

    Times are Unix nanoseconds. Every method may raise `HistoryError`, and `HistoryClosed` after `close`. Answers are
    bounded: at most 10,000 items, 10 seconds, 512 MiB of the engine's memory. Calls may be made from any task of one
    event loop; none blocks it.
    """

    @property
    def decodes_spans(self) -> bool:
        """Whether the engine decodes spans as they came, so that many at a time take little memory here."""
        ...

    async def insert(self, batch: Batch, token: str, *, again: bool = False) -> None:
        """Store a batch; return when it is on disk.

        `token` is derived from the batch's content. The same batch with the same token is stored once, whatever
        happened in between (also when only part of it went in), for the last 10,000 inserts of each table. Events
        are stored once under any token. Parts of the batch that are empty are skipped, and so are events without a
        run id; 20,000 rows go in at a time.

        `again` says that the batch may have been inserted before and how that ended is not known: after a crash, or
        an error. Then the rows are compared with the tables, because an engine that was killed may have kept the
        token and not the rows, or the rows and not the token. An empty token is never remembered.

        Raises:
            HistoryError: `retryable` where the engine is down or busy; not where the batch itself is at fault, for
                example a column that the table does not have, or rows of more than 100 days.
        """
        ...

    async def list_runs(
        self, wanted: RunFilter, cursor: str | None = None, limit: int = 50
    ) -> Page[RunRecord]:
        """Return runs, newest first by (started, id).

        A cursor stays true while rows arrive: what was on an earlier page is not on a later one. A page looks at no
        more than 100,000 candidates; where the filter matches little it may be short and still have a cursor.

        Raises:
            BadCursor: The cursor was not handed out by this method.
        """
        ...

    async def run(self, run_id: str) -> RunRecord | None:
        """Return one run; None where it is not known."""
        ...

    async def run_events(self, run_id: str, *, limit: int = 1_000, cursor: str | None = None) -> Page[Event]:
        """Return the events of a run, each once, by (time, type, step, attempt).

        Raises:
            BadCursor: The cursor was not handed out by this method.
        """
        ...

    async def run_spans(self, run_id: str, limit: int = 1_000) -> list[dict[str, Any]]:
        """Return the spans of the run's traces (at most 100 of them), each once, by (start, span id).

        Keys: `trace_id span_id parent_span_id name kind service start duration status status_message attributes
        resource scope`, `events` (`time name attributes`), `links` (`trace_id span_id`).
        """
        ...

    async def run_batch(self, run_id: str, most: int) -> Batch:
        """Return all of a run as it would be inserted: its events, and the spans and log lines of its traces.

        Raises:
            RunTooLarge: There are more than `most` of one kind.
        """
        ...

    async def workflows(self, since: int = 0) -> list[WorkflowRecord]:
        """Return the workflows of the latest runs (at most 100,000, heard of since then), the latest started first."""
        ...

    async def workflow(self, name: str, since: int = 0) -> WorkflowStatistics | None:
        """Return how the latest runs of a workflow went (at most 100,000, heard of since then); None without runs."""
        ...

    async def errors(self, workflow: str = "", since: int = 0, limit: int = 100) -> list[ErrorGroup]:
        """Return why the latest runs failed, the most frequent first."""
        ...

    async def trace_runs(self, since: int, limit: int) -> dict[str, str]:
        """Return the run of each trace that was heard of since then, the latest last; child runs are left out."""
        ...

    async def query(
        self, sql: str, parameters: Mapping[str, Any] | None, *, seconds: float, rows: int
    ) -> QueryResult:
        """Answer a question in SQL that only reads; see `stagelight_plugins.hookspecs.Collector.query`."""
        ...

    async def raw(
        self,
        sql: str,
        parameters: Mapping[str, str],
        *,
        database: str,
        settings: Mapping[str, str],
        default_format: str,
    ) -> RawAnswer:
        """Answer a question as `query` does, in the format of ClickHouse's that it asks for.

        `parameters` are as clients of ClickHouse send them, escaped like fields of TabSeparated. `settings` must have
        been chosen: they are set as they are, beside the limits of `query`.

        Raises:
            QueryRefused: The statement is none that only reads history.
            QueryFailed: The engine cannot answer it, or not within the limits.
            HistoryAway: History cannot be reached for now.
        """
        ...

    async def status(self) -> HistoryStatus:
        """Return how large history is."""
        ...

    async def prune(self, keep: Retention, now: int, *, dry_run: bool = False) -> Pruning:
        """Drop what is older than it is kept, in whole partitions; with `dry_run` only say what that would be.

        Runs are forgotten when no week of their events is left. A prune that was cut off is finished by the next one.
        """
        ...

    async def delete_run(self, run_id: str) -> bool:
        """Delete a run, its spans and its log lines; return False where it is not known.

        It is in no answer from then on, and leaves the disk when the engine next merges.
        """
        ...

    async def close(self) -> None:
        """Let what runs finish, close the handles, join the threads. Safe twice."""
        ...


async def open_history(dsn: str, *, data_dir: Path) -> History:
    """Open history, creating or upgrading its tables.

    `dsn`: `chdb://` (in `data_dir/history`), `chdb:///path`, or `clickhouse://user:password@host:8123/database`.

    Raises:
        HistoryInUse: Another process has the directory open.
        HistoryError: The DSN is not understood, the engine cannot be reached or is not installed, this process has
            another directory open, or the schema is newer than this collector.
    """
    return await ClickHouseHistory.open(engine_of(dsn, data_dir=data_dir))
