"""Questions to history. Functions of a handle; they run in the reader threads."""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from stagelight.conventions import RunStatus, StepStatus
from stagelight.events import Event, Failure
from stagelight_collector.history import cursors, queries, walks
from stagelight_collector.history.bounded import ask, portions, result
from stagelight_collector.history.cursors import EventKey, RunKey
from stagelight_collector.history.layout import found_layout
from stagelight_collector.history.records import (
    HistoryStatus,
    Page,
    RunFilter,
    RunRecord,
    TableStatus,
    WorkflowRecord,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from stagelight_collector.history.engine import Handle

MAX_PAGE: Final = 10_000
"""The most rows of any answer."""

_NO_EVENT: Final = EventKey(0, "", "", 0, 0)
_log: Final = logging.getLogger(__name__)


def _capped(limit: int) -> int:
    return max(1, min(limit, MAX_PAGE))


# --- runs ---------------------------------------------------------------------------------------------------------


def list_runs(handle: Handle, wanted: RunFilter, cursor: str | None, limit: int) -> Page[RunRecord]:
    """Return runs, newest first by (start, id)."""
    limit = _capped(limit)
    since = max(wanted.since or 0, 0)
    before = cursors.run_key(cursor) if cursor else RunKey(walks.LAST, "")
    if wanted.until is not None:
        before = min(before, RunKey(max(wanted.until, 0), ""))
    found: list[RunRecord] = []
    walk = walks.walk(
        handle,
        wanted,
        since=since,
        before=before.started if before.id else before.started - 1,  # before the whole of it, else
        limit=limit,
    )
    for floor, ceiling in walk:
        span = {"floor": floor, "ceiling": ceiling, "since": max(since, floor * queries.PERIOD_NS)}
        rest = limit + 1 - len(found)
        if walk.ids != []:  # to say that none are none takes the engine 20 ms
            found += _runs(handle, wanted, before, {**span, "ids": walk.ids or []}, rest, walk.candidates)
        if len(found) > limit:
            last = found[limit - 1]
            return Page(
                items=_with_steps(handle, found[:limit]), cursor=cursors.encode(RunKey(last.started, last.id))
            )
        before = min(before, RunKey(floor * queries.PERIOD_NS, ""))
    return Page(items=_with_steps(handle, found), cursor=None if walk.exhausted else cursors.encode(before))


def _runs(
    handle: Handle,
    wanted: RunFilter,
    before: RunKey,
    span: Mapping[str, Any],
    limit: int,
    candidates: Sequence[str],
) -> Iterator[RunRecord]:
    rows = ask(
        handle,
        queries.runs(*candidates),
        **span,
        **walks.asked(wanted),
        before=before.started,
        before_id=before.id,
        service=wanted.service,
        limit=limit,
    )
    return map(_run_record, rows)


def _run_record(row: Sequence[Any]) -> RunRecord:
    (
        run_id,
        workflow,
        service,
        status,
        started,
        ended,
        last,
        error_type,
        error_message,
        parent,
        step,
        traces,
    ) = row
    failed = bool(error_type or error_message)
    return RunRecord(
        id=run_id,
        workflow=workflow,
        service=service,
        status=RunStatus(status),
        started=started,
        ended=ended,
        last_event=last,
        error=Failure(type=error_type, message=error_message) if failed else None,
        parent_run_id=parent,
        parent_step_id=step,
        trace_ids=tuple(traces),
    )


def _with_steps(handle: Handle, runs: Sequence[RunRecord]) -> list[RunRecord]:
    counts: dict[str, dict[StepStatus, int]] = {run.id: {} for run in runs}
    for run_ids in portions(counts):
        for run_id, status, count in ask(handle, queries.STEP_COUNTS, run_ids=run_ids):
            counts[run_id][StepStatus(status)] = count
    return [replace(run, steps=counts[run.id]) for run in runs]


def run(handle: Handle, run_id: str) -> RunRecord | None:
    """Return one run; None where it is not known."""
    found = [_run_record(row) for row in ask(handle, queries.RUN, run_id=run_id)]
    return _with_steps(handle, found)[0] if found else None


def workflows(handle: Handle, since: int) -> list[WorkflowRecord]:
    """Return the workflows of the latest runs, the latest started first."""
    rows = ask(handle, queries.WORKFLOWS, **walks.latest(handle, since), limit=1_000)
    return [
        WorkflowRecord(name=name, runs=runs, running=running, failed=failed, last_started=started)
        for name, runs, running, failed, started in rows
    ]


def trace_runs(handle: Handle, since: int, limit: int) -> dict[str, str]:
    """Return the run of each trace, the latest heard of last."""
    rows = ask(handle, queries.TRACE_RUNS, **walks.latest(handle, since), since=since, limit=_capped(limit))
    return {trace: run_id for trace, run_id, _ in reversed(rows)}


# --- one run ------------------------------------------------------------------------------------------------------


def run_events(handle: Handle, run_id: str, cursor: str | None, limit: int) -> Page[Event]:
    """Return the events of a run, each once, in order of time."""
    limit = _capped(limit)
    after = cursors.event_key(cursor) if cursor else _NO_EVENT
    parameters = {**after._asdict(), "run_id": run_id, "limit": limit + 1}
    rows = ask(handle, queries.EVENTS, **parameters)
    more = cursors.encode(EventKey(*rows[limit - 1][:5])) if len(rows) > limit else None
    return Page(items=[event for row in rows[:limit] if (event := _event(row))], cursor=more)


def _event(row: Sequence[Any]) -> Event | None:
    *_, received, data = row
    try:
        return Event.from_dict({**json.loads(data), "received": received})
    except (ValueError, KeyError) as error:
        _log.warning("an event of history is left out: %s: %.200s", error, data)
        return None


def run_spans(handle: Handle, run_id: str, limit: int) -> list[dict[str, Any]]:
    """Return the spans of the run's traces, each once, in order of start."""
    trace_ids = [row[0] for row in ask(handle, queries.TRACES_OF_RUN, run_id=run_id) if row[0]]
    if not trace_ids:
        return []
    ((start, end),) = ask(handle, queries.TRACE_RANGE, trace_ids=trace_ids)
    second = 1_000_000_000
    parameters = {
        "trace_ids": trace_ids,
        "since": start * second,
        "until": min((end + 1) * second, walks.LAST),
        "limit": _capped(limit),
    }
    spans = result(handle, queries.SPANS, parameters)
    return [_span(dict(zip(spans.column_names, row, strict=True))) for row in spans.result_rows]


def _span(row: dict[str, Any]) -> dict[str, Any]:
    times, names, attributes = row.pop("event_times"), row.pop("event_names"), row.pop("event_attributes")
    traces, spans = row.pop("link_traces"), row.pop("link_spans")
    row["events"] = [
        {"time": time, "name": name, "attributes": values}
        for time, name, values in zip(times, names, attributes, strict=True)
    ]
    row["links"] = [
        {"trace_id": trace_id, "span_id": span_id} for trace_id, span_id in zip(traces, spans, strict=True)
    ]
    return row


# --- all of it ----------------------------------------------------------------------------------------------------


def status(handle: Handle, engine: str) -> HistoryStatus:
    """Return how large history is."""
    ((version,),) = ask(handle, "SELECT version()")
    oldest = {table: time for table, time, rows in ask(handle, queries.OLDEST) if rows}
    tables = [
        TableStatus(name=table, rows=rows, bytes=size, parts=parts, oldest=oldest.get(table))
        for table, rows, size, parts in ask(handle, queries.PARTS.format(parts=found_layout(handle).parts))
    ]
    return HistoryStatus(engine=f"{engine} ({version})", tables=tables)
