"""What leaves history: whole partitions that are older than they need be kept, and runs that somebody deletes."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from stagelight_collector.decode.metrics import METRIC_COLUMNS
from stagelight_collector.history import queries
from stagelight_collector.history.bounded import ask
from stagelight_collector.history.errors import HistoryError
from stagelight_collector.history.layout import Layout, found_layout
from stagelight_collector.history.reader import run as read_run
from stagelight_collector.history.records import Dropped, Pruning, Retention

if TYPE_CHECKING:
    from collections.abc import Iterator

    from stagelight_collector.history.engine import Handle

DAY: Final = timedelta(days=1)
WEEK: Final = timedelta(days=7)
_DAY_SECONDS: Final = 86_400
_PERIOD_SECONDS: Final = queries.PERIOD_NS // 1_000_000_000

PARTITIONS: Final = """
SELECT partition, partition_id, sum(rows), sum(bytes_on_disk) FROM {parts}
WHERE active AND database = currentDatabase() AND table = {{table:String}}
GROUP BY partition, partition_id ORDER BY partition
"""

_EXPIRED: Final = """
    SELECT RunId FROM stagelight_run_periods
    WHERE RunId IN (SELECT RunId FROM stagelight_run_periods WHERE Period < {floor:UInt32})
    GROUP BY RunId HAVING max(Period) < {floor:UInt32}
"""
EXPIRED: Final = f"SELECT count() FROM ({_EXPIRED})"  # noqa: S608 - of constants

# The periods last: they say which runs there are, so a prune that was cut off is finished by the next one.
DELETE_EXPIRED: Final = tuple(
    f"DELETE FROM {table} WHERE RunId IN ({_EXPIRED})"  # noqa: S608 - of constants
    for table in (
        "stagelight_step_states",
        "stagelight_run_states",
        "stagelight_run_endings",
        "stagelight_run_resumptions",
        "stagelight_run_periods",
    )
)

SHARED_TRACES: Final = """
SELECT DISTINCT TraceId FROM otel_traces
WHERE TraceId IN {traces:Array(String)} AND WorkflowRunId NOT IN ('', {run_id:String})
"""

DELETE_RUN: Final = (
    "DELETE FROM otel_logs WHERE WorkflowRunId = {run_id:String} OR TraceId IN {traces:Array(String)}",
    "DELETE FROM otel_traces WHERE WorkflowRunId = {run_id:String} OR TraceId IN {traces:Array(String)}",
    "DELETE FROM otel_traces_trace_id_ts WHERE TraceId IN {traces:Array(String)}",
    "DELETE FROM stagelight_events WHERE RunId = {run_id:String}",
    "DELETE FROM stagelight_step_states WHERE RunId = {run_id:String}",
    "DELETE FROM stagelight_run_endings WHERE RunId = {run_id:String}",
    "DELETE FROM stagelight_run_resumptions WHERE RunId = {run_id:String}",
    "DELETE FROM stagelight_run_periods WHERE RunId = {run_id:String}",
    "DELETE FROM stagelight_run_states WHERE RunId = {run_id:String}",
)
"""The state last: a deletion that was cut off leaves a run that can be deleted again."""


@dataclass(frozen=True, slots=True)
class _Rule:
    table: str
    span: timedelta
    """How long a partition is; it is named by its first day."""
    floor: date
    """What ends before this day is dropped."""


def prune(handle: Handle, keep: Retention, now: int, *, dry_run: bool = False) -> Pruning:
    """Drop what is older than it is kept; with `dry_run` only say what that would be.

    Raises:
        HistoryError: It could not be done, or only in part; the next time does the rest.
    """
    dropped: list[Dropped] = []
    layout = found_layout(handle)
    for rule in _rules(keep, datetime.fromtimestamp(now / 1e9, UTC).date()):
        for partition_id, found in _expired(handle, rule, layout):
            if not dry_run:
                # The id is the engine's own; it takes no parameter there.
                drop = f"ALTER TABLE {rule.table} DROP PARTITION ID '{partition_id}'"
                _command(handle, layout.deletion(drop))
            dropped.append(found)
    runs = _expired_runs(handle, keep, now, layout, dry_run=dry_run) if keep.runs else 0
    return Pruning(dropped=dropped, runs=runs)


def delete_run(handle: Handle, run_id: str) -> bool:
    """Delete a run and its telemetry; return False where it is not known.

    Spans and log lines that belong to no run go with it unless their trace is another run's, too.

    Raises:
        HistoryError: It could not be done, or only in part; try again.
    """
    if read_run(handle, run_id) is None:
        return False
    traces = {row[0] for row in ask(handle, queries.TRACES_OF_RUN, run_id=run_id) if row[0]}
    if traces:
        traces -= {row[0] for row in ask(handle, SHARED_TRACES, run_id=run_id, traces=sorted(traces))}
    layout = found_layout(handle)
    for statement in DELETE_RUN:
        _command(handle, layout.deletion(statement), run_id=run_id, traces=sorted(traces))
    return True


def _rules(keep: Retention, today: date) -> Iterator[_Rule]:
    if keep.traces:
        # A day more: these tables' days are those of the engine's time zone.
        floor = today - timedelta(days=keep.traces + 1)
        yield _Rule("otel_traces", DAY, floor)
        yield _Rule("otel_traces_trace_id_ts", WEEK, floor)
    if keep.logs:
        yield _Rule("otel_logs", DAY, today - timedelta(days=keep.logs + 1))
    if keep.metrics:
        for table in METRIC_COLUMNS:
            yield _Rule(table, DAY, today - timedelta(days=keep.metrics + 1))
    if keep.runs:
        yield _Rule("stagelight_events", WEEK, _week(keep, today))


def _week(keep: Retention, today: date) -> date:
    """Return the Monday of the first week whose events are kept."""
    first = today - timedelta(days=keep.runs)
    return first - timedelta(days=first.weekday())


def _expired(handle: Handle, rule: _Rule, layout: Layout) -> Iterator[tuple[str, Dropped]]:
    query = PARTITIONS.format(parts=layout.parts)
    for partition, partition_id, rows, size in ask(handle, query, table=layout.of(rule.table)):
        try:
            first = date.fromisoformat(partition)
        except ValueError as error:
            raise HistoryError(f"{rule.table} has a partition {partition!r} that is no day") from error
        if first + rule.span <= rule.floor:
            yield partition_id, Dropped(table=rule.table, partition=partition, rows=rows, bytes=size)


def _expired_runs(handle: Handle, keep: Retention, now: int, layout: Layout, *, dry_run: bool) -> int:
    """Delete the summaries of runs of which no event is left; return their number."""
    week = _week(keep, datetime.fromtimestamp(now / 1e9, UTC).date())
    floor = max(0, (week - date(1970, 1, 1)).days * _DAY_SECONDS // _PERIOD_SECONDS)
    ((runs,),) = ask(handle, EXPIRED, floor=floor)
    if runs and not dry_run:
        for statement in DELETE_EXPIRED:
            _command(handle, layout.deletion(statement), floor=floor)
    return int(runs)


def _command(handle: Handle, statement: str, **parameters: Any) -> None:
    try:
        handle.command(statement, parameters or None)
    except Exception as error:
        raise HistoryError(f"history could not delete: {error}", retryable=True) from error
