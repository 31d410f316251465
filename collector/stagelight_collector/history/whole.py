"""All that history has of one run, as it would be inserted. Functions of a handle; they run in the reader threads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from stagelight_collector.decode.rows import LOG_COLUMNS, TRACE_COLUMNS, columns
from stagelight_collector.history import queries
from stagelight_collector.history.bounded import ask
from stagelight_collector.history.errors import RunTooLarge
from stagelight_collector.history.reader import MAX_PAGE, run_events
from stagelight_plugins.hookspecs import Batch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stagelight.events import Event
    from stagelight_collector.history.engine import Handle

DAY_NS: Final = 86_400_000_000_000
"""Log lines are looked for from a day before a run until a day after it."""
_LAST: Final = 2**63 - 1

_TIMES: Final = {
    "Timestamp": "toUnixTimestamp64Nano(Timestamp)",
    "Events.Timestamp": "arrayMap(t -> toUnixTimestamp64Nano(t), Events.Timestamp)",
}


def _select(table: str, names: Sequence[str], where: str) -> str:
    # Names of this module's and constants only; all else is bound by the server.
    chosen = ", ".join(_TIMES.get(name, name) for name in names)
    return queries.joined(
        f"SELECT {chosen} FROM {table} WHERE {where}",  # noqa: S608 - as above
        """
AND Timestamp >= fromUnixTimestamp64Nano({since:Int64}) AND Timestamp <= fromUnixTimestamp64Nano({until:Int64})
ORDER BY Timestamp, TraceId, SpanId
LIMIT {limit:UInt32}
""",
    )


_SPANS: Final = _select("otel_traces", TRACE_COLUMNS, "TraceId IN {traces:Array(String)}")
_LOGS: Final = _select(
    "otel_logs", LOG_COLUMNS, "(TraceId IN {traces:Array(String)} OR WorkflowRunId = {run_id:String})"
)


def run_batch(handle: Handle, run_id: str, most: int) -> Batch:
    """Return a run's events, and the spans and log lines of its traces, at most so many of each.

    Raises:
        RunTooLarge: There are more.
    """
    events = _events(handle, run_id, most)
    traces = [row[0] for row in ask(handle, queries.TRACES_OF_RUN, run_id=run_id) if row[0]]
    times = [event.time for event in events]
    spans: Sequence[Sequence[Any]] = ()
    if traces:
        ((start, end),) = ask(handle, queries.TRACE_RANGE, trace_ids=traces)
        times += [start * 1_000_000_000, min((end + 1) * 1_000_000_000, _LAST)]
        spans = ask(handle, _SPANS, traces=traces, since=times[-2], until=times[-1], limit=most + 1)
    bounds = {
        "since": max(min(times, default=0) - DAY_NS, 0),
        "until": min(max(times, default=0) + DAY_NS, _LAST),
    }
    logs = ask(handle, _LOGS, traces=traces, run_id=run_id, **bounds, limit=most + 1)
    for found, what in ((spans, "spans"), (logs, "log lines")):
        if len(found) > most:
            raise RunTooLarge(run_id, f"{most} {what}")
    return Batch(
        seq=0,
        events=events,
        traces=columns(TRACE_COLUMNS, list(map(tuple, spans))),
        logs=columns(LOG_COLUMNS, list(map(tuple, logs))),
    )


def _events(handle: Handle, run_id: str, most: int) -> list[Event]:
    events: list[Event] = []
    cursor: str | None = None
    while True:
        page = run_events(handle, run_id, cursor, MAX_PAGE)
        events += page.items
        if len(events) > most:
            raise RunTooLarge(run_id, f"{most} events")
        cursor = page.cursor
        if cursor is None:
            return events
