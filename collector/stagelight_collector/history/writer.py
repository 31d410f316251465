"""Batches into tables: column by column, each insert with a token of its own."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any, Final

from stagelight_collector.decode.spans import Spans
from stagelight_collector.encoding import fact
from stagelight_collector.history import otlp
from stagelight_collector.history.errors import HistoryError
from stagelight_collector.history.presence import absent

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from stagelight.events import Event
    from stagelight_collector.history.engine import Handle
    from stagelight_plugins.hookspecs import Batch

MAX_ROWS: Final = 20_000
"""Rows of one insert; a larger batch goes in as several, cut at the same places each time."""

FEW: Final = 1_000
"""From so many spans on the engine decodes them: that costs it 50 ms, and then a fifth of what columns cost."""

MAX_TIME: Final = 2**63 - 1
"""The last nanosecond that a DateTime64(9) holds, in April 2262."""

_SETTINGS: Final[Mapping[str, Any]] = {
    "async_insert": 0,
    "deduplicate_blocks_in_dependent_materialized_views": 1,
    "insert_deduplicate": 1,
    "max_execution_time": 120,
}

_COLUMNS: Final = """
SELECT name, type FROM system.columns
WHERE database = currentDatabase() AND table = {table:String} AND default_kind NOT IN ('MATERIALIZED', 'ALIAS')
"""

_EVENT_COLUMNS: Final = (
    "RunId", "Time", "Received", "Type", "Workflow", "Service", "TraceId", "SpanId", "StepId", "StepName", "StepKind",
    "ParentStepId", "ParentRunId", "ChildRunId", "Attempt", "ErrorType", "ErrorMessage", "Data",
)  # fmt: skip

_POISON_CODES: Final = frozenset(
    {
        6, 26, 27, 38, 41, 53, 69, 70, 72, 117, 395,  # what cannot be parsed or converted
        9, 16, 20, 32, 33, 128, 131, 190, 321, 349, 407,  # columns of wrong number, name, length or range
    }
)  # fmt: skip
"""ClickHouse error codes that say that the rows are at fault; with any other, the same rows may go in later."""

_SHORT_CODES: Final = frozenset({159, 241})
"""Of time and of memory."""

_POISON_ERRORS: Final = (
    ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError, struct.error,
)  # fmt: skip
"""What the client's serialisers raise at values that do not fit their column."""


class Writer:
    """Inserts batches. Only the one writer thread uses it."""

    def __init__(self, *, in_process: bool = False) -> None:
        self._in_process = in_process
        """Whether the engine reads our files, so that it can decode spans by itself."""
        self._types: dict[str, dict[str, str]] = {}

    def write(self, handle: Handle, batch: Batch, token: str, *, again: bool = False) -> None:
        """Insert a batch; once, however often it is called with the same batch and token.

        With `again`, what the tables have already is left out, row by row, and no token is trusted.

        Raises:
            HistoryError: See its `retryable`.
        """
        try:
            for table, columns in _tables(batch):
                if again:
                    self._insert(handle, table, absent(handle, table, columns), "")
                    if table == "otel_traces":
                        # The view may have missed rows that the table has; smallest and greatest take them twice.
                        self._insert(handle, "otel_traces_trace_id_ts", _ranges(columns), "")
                else:
                    self._insert(handle, table, self._decoded_there(handle, columns, token), token)
        except HistoryError:
            raise
        except Exception as error:
            raise failure(error) from error

    def _decoded_there(
        self, handle: Handle, columns: Mapping[str, Sequence[Any]], token: str
    ) -> Mapping[str, Sequence[Any]]:
        """Insert the spans that the engine decodes; return the rest of the rows."""
        if not (self._in_process and isinstance(columns, Spans)) or columns.height < FEW:
            return columns
        if columns.bodies:
            otlp.insert(handle, columns.bodies, _settings(f"{token}:spans" if token else ""))
        return columns.rest

    def _insert(self, handle: Handle, table: str, columns: Mapping[str, Sequence[Any]], token: str) -> None:
        rows = _height(table, columns)
        if not rows:
            return
        types = self._columns(handle, table)
        if unknown := sorted(columns.keys() - types.keys()):
            raise HistoryError(f"{table} has no column {', '.join(unknown)} to insert into")
        for number, start in enumerate(range(0, rows, MAX_ROWS)):
            handle.insert(
                table,
                [
                    column if rows <= MAX_ROWS else column[start : start + MAX_ROWS]
                    for column in columns.values()
                ],
                list(columns),
                column_type_names=[types[name] for name in columns],
                column_oriented=True,
                settings=_settings(f"{token}:{table}:{number}" if token else ""),
            )

    def _columns(self, handle: Handle, table: str) -> Mapping[str, str]:
        """Return the table's column types, asked for once: that costs as much as a small insert."""
        if table not in self._types:
            rows = handle.query(_COLUMNS, {"table": table}).result_rows
            self._types[table] = {str(name): str(kind) for name, kind in rows}
        return self._types[table]


def _settings(token: str) -> dict[str, Any]:
    if token:
        return {**_SETTINGS, "insert_deduplication_token": token}
    return {**_SETTINGS, "insert_deduplicate": 0}


def failure(error: Exception) -> HistoryError:
    """Tell an engine that is down from rows that will never go in."""
    code = getattr(error, "code", None)
    text = str(error)
    poison = (
        isinstance(error, _POISON_ERRORS)
        or type(error).__name__ in {"DataError", "ProgrammingError"}
        or code in _POISON_CODES
        # What its decoder of requests does not take goes in as columns.
        or ("ProtobufRowInputFormat" in text and code not in _SHORT_CODES)
        # 252 also says that merges are behind, which passes; a batch that spans too many days does not.
        or (code == 252 and "single INSERT block" in text)
    )
    return HistoryError(f"history refused a batch: {text}", retryable=not poison)


def _tables(batch: Batch) -> Iterator[tuple[str, Mapping[str, Sequence[Any]]]]:
    yield "otel_traces", batch.traces
    yield "otel_logs", batch.logs
    yield from batch.metrics.items()
    yield "stagelight_events", event_columns(batch.events)


def _ranges(columns: Mapping[str, Sequence[Any]]) -> dict[str, list[Any]]:
    """Return the rows of `otel_traces_trace_id_ts` for spans: the second of each, by trace."""
    seconds = [time // 1_000_000_000 for time in columns.get("Timestamp", ())]
    traces = list(columns.get("TraceId", ()))
    named = [(trace, second) for trace, second in zip(traces, seconds, strict=True) if trace]
    return {
        "TraceId": [trace for trace, _ in named],
        "Start": [second for _, second in named],
        "End": [second for _, second in named],
    }


def _height(table: str, columns: Mapping[str, Sequence[Any]]) -> int:
    heights = {len(column) for column in columns.values()}
    if len(heights) > 1:
        raise HistoryError(f"the columns for {table} are of unequal length: {sorted(heights)}")
    return heights.pop() if heights else 0


def event_columns(events: Sequence[Event]) -> dict[str, list[Any]]:
    """Return the rows of `stagelight_events` for events; those whose run is not known are left out."""
    rows = [_event_row(event) for event in events if event.run_id]
    return dict(zip(_EVENT_COLUMNS, map(list, zip(*rows, strict=True)), strict=True)) if rows else {}


def _event_row(event: Event) -> tuple[Any, ...]:
    error = event.error
    texts = (
        event.workflow, event.service, event.trace_id, event.span_id, event.step_id, event.step_name, event.step_kind,
        event.parent_step_id, event.parent_run_id, event.child_run_id,
    )  # fmt: skip
    return (
        _text(event.run_id),
        _time(event.time),
        _time(event.received),
        event.type.value,
        *map(_text, texts),
        min(max(event.attempt, 0), 2**32 - 1),
        _text(error.type) if error else "",
        _text(error.message) if error else "",
        fact(event),  # its hash is part of the row's key
    )


def _time(time: int) -> int:
    return min(max(time, 0), MAX_TIME)


def _text(text: str) -> str:
    """Replace lone surrogates, which JSON can carry and UTF-8 cannot."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()
