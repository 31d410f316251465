"""History on ClickHouse: one lane that writes, one that reads."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final, Self

from stagelight_collector.history import pruning, reader, schema, statistics, whole
from stagelight_collector.history.asking import Asker
from stagelight_collector.history.engine import ChdbEngine, ServerEngine
from stagelight_collector.history.lane import Lane
from stagelight_collector.history.raw import RawAnswer, RawAsker
from stagelight_collector.history.writer import Writer
from stagelight_plugins.errors import QueryFailed

if TYPE_CHECKING:
    from collections.abc import Mapping

    from stagelight.events import Event
    from stagelight_collector.history.engine import Engine, Handle
    from stagelight_collector.history.records import (
        ErrorGroup,
        HistoryStatus,
        Page,
        Pruning,
        Retention,
        RunFilter,
        RunRecord,
        WorkflowRecord,
        WorkflowStatistics,
    )
    from stagelight_plugins.hookspecs import Batch, QueryResult

READERS: Final = 2
ON_CLUSTERS: Final = {"distributed_product_mode": "global", "distributed_foreground_insert": "1"}
"""Where rows are spread over shards: questions within questions are asked of all of them, and an insert is done when
every shard has its rows. Where they are not, these say nothing."""


class ClickHouseHistory:
    """See `History`. One writer thread, because more are slower; two readers, so that a slow query blocks one."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._writer = Writer(in_process=self.decodes_spans)
        # chdb goes down with its last handle, and leaves threads and descriptors behind each time: this one, which is
        # not used after the start, keeps it up while the lanes replace theirs.
        self._anchor = Lane("anchor", threads=1, connect=partial(engine.connect, database=None, settings={}))
        self._write = Lane("writer", threads=1, connect=partial(self._connect, readonly="0"))
        # 2: reads and settings only, whatever the text of a query says.
        self._read = Lane("reader", threads=READERS, connect=partial(self._connect, readonly="2"))
        # Deleting takes seconds where there is much; inserts do not wait for it.
        self._keep = Lane("keeper", threads=1, connect=partial(self._connect, readonly="0"))
        self._asker = Asker(engine)
        self._raw = RawAsker(engine) if isinstance(engine, ChdbEngine) else None

    @property
    def decodes_spans(self) -> bool:
        """See `History.decodes_spans`."""
        return isinstance(self._engine, ChdbEngine)

    def _connect(self, readonly: str) -> Handle:
        settings = {"readonly": readonly, **(ON_CLUSTERS if isinstance(self._engine, ServerEngine) else {})}
        return self._engine.connect(database=self._engine.database, settings=settings)

    @classmethod
    async def open(cls, engine: Engine) -> Self:
        """Connect, and create or upgrade the schema.

        Raises:
            HistoryError: The engine cannot be reached, or its schema is newer.
        """
        history = cls(engine)
        try:
            await history._anchor.call(partial(schema.create_database, database=engine.database))
            await history._write.call(schema.migrate)
        except BaseException:
            await history.close()
            raise
        return history

    async def insert(self, batch: Batch, token: str, *, again: bool = False) -> None:
        """See `History.insert`."""
        await self._write.call(lambda handle: self._writer.write(handle, batch, token, again=again))

    async def list_runs(
        self, wanted: RunFilter, cursor: str | None = None, limit: int = 50
    ) -> Page[RunRecord]:
        """See `History.list_runs`."""
        return await self._read.call(lambda handle: reader.list_runs(handle, wanted, cursor, limit))

    async def run(self, run_id: str) -> RunRecord | None:
        """See `History.run`."""
        return await self._read.call(lambda handle: reader.run(handle, run_id))

    async def run_events(self, run_id: str, *, limit: int = 1_000, cursor: str | None = None) -> Page[Event]:
        """See `History.run_events`."""
        return await self._read.call(lambda handle: reader.run_events(handle, run_id, cursor, limit))

    async def run_spans(self, run_id: str, limit: int = 1_000) -> list[dict[str, Any]]:
        """See `History.run_spans`."""
        return await self._read.call(lambda handle: reader.run_spans(handle, run_id, limit))

    async def run_batch(self, run_id: str, most: int) -> Batch:
        """See `History.run_batch`."""
        return await self._read.call(lambda handle: whole.run_batch(handle, run_id, most))

    async def workflows(self, since: int = 0) -> list[WorkflowRecord]:
        """See `History.workflows`."""
        return await self._read.call(lambda handle: reader.workflows(handle, since))

    async def workflow(self, name: str, since: int = 0) -> WorkflowStatistics | None:
        """See `History.workflow`."""
        return await self._read.call(lambda handle: statistics.workflow(handle, name, since))

    async def errors(self, workflow: str = "", since: int = 0, limit: int = 100) -> list[ErrorGroup]:
        """See `History.errors`."""
        return await self._read.call(lambda handle: statistics.errors(handle, workflow, since, limit))

    async def trace_runs(self, since: int, limit: int) -> dict[str, str]:
        """See `History.trace_runs`."""
        return await self._read.call(lambda handle: reader.trace_runs(handle, since, limit))

    async def query(
        self, sql: str, parameters: Mapping[str, Any] | None, *, seconds: float, rows: int
    ) -> QueryResult:
        """See `History.query`."""
        return await self._asker.ask(sql, parameters, seconds=seconds, rows=rows)

    async def raw(
        self,
        sql: str,
        parameters: Mapping[str, str],
        *,
        database: str,
        settings: Mapping[str, str],
        default_format: str,
    ) -> RawAnswer:
        """See `History.raw`."""
        if self._raw is None:
            raise QueryFailed("history is on a server; ask that server")
        return await self._raw.ask(
            sql, parameters, database=database, settings=settings, default_format=default_format
        )

    async def status(self) -> HistoryStatus:
        """See `History.status`."""
        return await self._read.call(lambda handle: reader.status(handle, self._engine.description))

    async def prune(self, keep: Retention, now: int, *, dry_run: bool = False) -> Pruning:
        """See `History.prune`."""
        return await self._keep.call(lambda handle: pruning.prune(handle, keep, now, dry_run=dry_run))

    async def delete_run(self, run_id: str) -> bool:
        """See `History.delete_run`."""
        return await self._keep.call(lambda handle: pruning.delete_run(handle, run_id))

    async def close(self) -> None:
        """See `History.close`."""
        await self._asker.close()
        if self._raw is not None:
            await self._raw.close()
        await self._keep.close()
        await self._read.close()
        await self._write.close()
        await self._anchor.close()
