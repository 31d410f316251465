"""What is old goes by whole partitions; a run that is deleted goes with all it has, and nothing of others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from stagelight.conventions import EventType
from stagelight.events import Event
from stagelight_collector.history import Retention, RunFilter
from stagelight_plugins.hookspecs import Batch

if TYPE_CHECKING:
    from stagelight_collector.history import History

    from .conftest import Ask

SECOND = 1_000_000_000
DAY = 86_400 * SECOND
NOW = 1_764_072_000 * SECOND
"""2025-11-25 12:00 UTC, a Tuesday."""
TABLES = (
    "otel_traces", "otel_traces_trace_id_ts", "otel_logs", "stagelight_events", "stagelight_run_states",
    "stagelight_step_states", "stagelight_run_endings", "stagelight_run_resumptions", "stagelight_run_periods",
)  # fmt: skip


def life(run_id: str, begin: int, end: int, trace: str = "") -> list[Event]:
    """Make a run with a step."""
    named: dict[str, Any] = {"run_id": run_id, "workflow": "etl", "trace_id": trace or run_id}
    return [
        Event(type=EventType.RUN_STARTED, time=begin, **named),
        Event(type=EventType.STEP_STARTED, time=begin, step_id="s", step_name="load", attempt=1, **named),
        Event(type=EventType.RUN_RESUMED, time=begin, **named),
        Event(type=EventType.RUN_COMPLETED, time=end, **named),
    ]


def select(ask: Ask, what: str, table: str, rest: str = "") -> list[Any]:
    """Ask a table for one column."""
    return [row[0] for row in ask(f"SELECT {what} FROM {table} {rest}")]  # noqa: S608 - the test's own words


def counts(ask: Ask) -> dict[str, int]:
    """Return the rows of every table."""
    return {table: select(ask, "count()", table)[0] for table in TABLES}


async def ids(history: History) -> list[str]:
    return [run.id for run in (await history.list_runs(RunFilter())).items]


@pytest.fixture
async def aged(history: History, span_rows: Any, log_rows: Any) -> None:
    """Runs of 3 and 20 days ago, one that lasts from then to then, and spans and log lines of both days."""
    for name, days in (("new", 3), ("old", 20)):
        time = NOW - days * DAY
        events = life(name, time, time + SECOND)
        traces = {**span_rows(4, run_id=name, trace_id=name), "Timestamp": [time] * 4}
        logs = {**log_rows(2), "Timestamp": [time] * 2}
        await history.insert(Batch(seq=0, events=events, traces=traces, logs=logs), name)
    long = life("long", NOW - 20 * DAY, NOW - 3 * DAY)
    await history.insert(Batch(seq=0, events=long), "long")


@pytest.mark.usefixtures("aged")
async def test_nothing_goes_that_is_kept_for_ever(history: History, ask: Ask) -> None:
    before = counts(ask)
    found = await history.prune(Retention(), NOW)
    assert (found.dropped, found.runs) == ([], 0)
    assert counts(ask) == before


@pytest.mark.usefixtures("aged")
async def test_each_table_goes_by_its_own_rule(history: History, ask: Ask) -> None:
    before = counts(ask)
    found = await history.prune(Retention(logs=7), NOW)
    assert [(item.table, item.partition, item.rows) for item in found.dropped] == [
        ("otel_logs", "2025-11-05", 2)
    ]
    assert found.dropped[0].bytes > 0
    assert counts(ask) == {**before, "otel_logs": 2}

    found = await history.prune(Retention(traces=7), NOW)
    assert [(item.table, item.partition) for item in found.dropped] == [
        ("otel_traces", "2025-11-05"),
        ("otel_traces_trace_id_ts", "2025-11-02"),
    ]
    assert [row[0] for row in ask("SELECT DISTINCT TraceId FROM otel_traces")] == ["new"]
    assert await ids(history) == ["new", "old", "long"]


@pytest.mark.usefixtures("aged")
async def test_a_run_is_forgotten_when_nothing_of_it_is_left(history: History, ask: Ask) -> None:
    would = await history.prune(Retention(runs=7), NOW, dry_run=True)
    assert await ids(history) == ["new", "old", "long"]

    found = await history.prune(Retention(runs=7), NOW)
    assert found == would
    assert [(item.table, item.partition, item.rows) for item in found.dropped] == [
        ("stagelight_events", "2025-11-03", 7)
    ]
    assert found.runs == 1
    assert await ids(history) == ["new", "long"]
    assert await history.run("old") is None
    assert ask("SELECT count() FROM stagelight_steps WHERE RunId = 'old'") == [(0,)]
    assert [event.type for event in (await history.run_events("long")).items] == ["run_completed"]
    assert (await history.prune(Retention(runs=7), NOW)).runs == 0


@pytest.mark.parametrize(("days", "gone"), [(5, 1), (6, 0), (7, 0)])
async def test_not_a_day_goes_too_early(history: History, log_rows: Any, days: int, gone: int) -> None:
    time = NOW - 7 * DAY
    await history.insert(Batch(seq=0, logs={**log_rows(1), "Timestamp": [time]}), "t")
    assert len((await history.prune(Retention(logs=days), NOW)).dropped) == gone


@pytest.mark.usefixtures("aged")
async def test_a_prune_that_was_cut_off_is_finished_by_the_next(history: History, ask: Ask) -> None:
    ask("ALTER TABLE stagelight_events DROP PARTITION '2025-11-03'")
    ask("DELETE FROM stagelight_step_states WHERE RunId = 'old'")

    found = await history.prune(Retention(runs=7), NOW)

    assert (found.dropped, found.runs) == ([], 1)
    for table in TABLES[4:]:
        assert set(select(ask, "RunId", table)) == {"long", "new"}


async def test_a_run_is_deleted_whole_and_alone(
    history: History, ask: Ask, put: Any, span_rows: Any, log_rows: Any
) -> None:
    await put(*life("gone", NOW, NOW + SECOND, "own"), *life("stays", NOW, NOW + SECOND, "shared"))
    await put(Event(type=EventType.LOG, run_id="gone", trace_id="shared", time=NOW))
    for number, (run_id, trace) in enumerate(
        (("gone", "own"), ("", "own"), ("gone", "shared"), ("stays", "shared"), ("", "shared"))
    ):
        rows = span_rows(1, run_id=run_id, trace_id=trace, first=number)
        logs = {**log_rows(1), "TraceId": [trace], "LogAttributes": [{"workflow.run.id": run_id}]}
        await history.insert(Batch(seq=0, traces=rows, logs=logs), f"t{number}")

    assert await history.delete_run("gone")

    assert await ids(history) == ["stays"]
    assert (await history.run_events("gone")).items == []
    left = [("", "shared"), ("stays", "shared")]
    for table in ("otel_traces", "otel_logs"):
        assert select(ask, "(WorkflowRunId, TraceId)", table, "ORDER BY ALL") == left
    assert ask("SELECT DISTINCT TraceId FROM otel_traces_trace_id_ts") == [("shared",)]
    for table in TABLES[3:]:
        assert set(select(ask, "RunId", table)) == {"stays"}
    assert not await history.delete_run("gone")
    assert not await history.delete_run("nobody' OR 1=1 --")
