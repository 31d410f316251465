"""What goes in, goes in once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from stagelight.conventions import EventType
from stagelight.events import Event, Failure
from stagelight_collector.history import HistoryError, writer
from stagelight_plugins.hookspecs import Batch

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from stagelight_collector.history import History

    Ask = Callable[..., Sequence[Sequence[Any]]]
    Rows = Callable[..., dict[str, list[Any]]]

NOW = 1_764_000_000_000_000_000
TABLES = ("otel_traces", "otel_traces_trace_id_ts", "otel_logs", "stagelight_events", "stagelight_run_states")
EVENTS = (
    Event(type=EventType.RUN_STARTED, run_id="run", time=NOW, workflow="etl", trace_id="trace"),
    Event(type=EventType.STEP_STARTED, run_id="run", time=NOW + 1, step_id="s", step_name="load", attempt=1),
    Event(type=EventType.RUN_FAILED, run_id="run", time=NOW + 2, error=Failure(type="E", message="no")),
)


def rows_in(ask: Ask, *tables: str) -> list[int]:
    """Count what is stored, merged or not."""
    return [ask(f"SELECT count() FROM {table}")[0][0] for table in tables]  # noqa: S608 - names from this file


async def test_a_batch_that_comes_three_times_is_stored_once(
    history: History, ask: Ask, span_rows: Rows, log_rows: Rows
) -> None:
    batch = Batch(seq=1, events=EVENTS, traces=span_rows(3), logs=log_rows(2))
    for _ in range(3):
        await history.insert(batch, "token")
    assert rows_in(ask, *TABLES) == [3, 1, 2, 3, 1]
    assert rows_in(ask, "stagelight_step_states", "stagelight_run_periods") == [1, 2]


async def test_views_fed_by_an_insert_are_completed_when_a_retry_finds_the_insert_done(
    history: History, ask: Ask
) -> None:
    """As after a crash between the table and its view: the retry skips the one and fills the other."""
    ask("DROP VIEW stagelight_run_states_mv")
    create = next(s for s in _statements() if "stagelight_run_states_mv TO" in s)
    await history.insert(Batch(seq=1, events=EVENTS), "token")
    assert rows_in(ask, "stagelight_events", "stagelight_run_states") == [3, 0]
    ask(create)
    await history.insert(Batch(seq=1, events=EVENTS), "token")
    assert rows_in(ask, "stagelight_events", "stagelight_run_states") == [3, 1]


async def test_a_retry_after_a_crash_repairs_what_the_table_or_its_views_lack(
    history: History, ask: Ask, span_rows: Rows, log_rows: Rows
) -> None:
    """A kill may leave a token without its rows, or rows that a view has not seen."""
    batch = Batch(seq=1, events=EVENTS, traces=span_rows(4), logs=log_rows(2))
    await history.insert(batch, "token")
    ask("TRUNCATE TABLE otel_traces_trace_id_ts")
    ask("TRUNCATE TABLE stagelight_run_states")
    await history.insert(batch, "token", again=True)
    assert len(await history.run_spans("run")) == 4
    ask("DELETE FROM otel_traces WHERE SpanId = '0000000000000002'")
    await history.insert(batch, "token", again=True)
    assert rows_in(ask, "otel_traces", "otel_logs") == [4, 2]
    assert len(await history.run_spans("run")) == 4
    record = await history.run("run")
    assert record is not None
    assert record.status == "failed"


def _statements() -> Sequence[str]:
    from stagelight_collector.history.schema import MIGRATIONS  # noqa: PLC0415 - one test's

    return MIGRATIONS[0]()


async def test_events_and_spans_are_read_once_under_any_token(history: History, span_rows: Rows) -> None:
    """The borders of batches may have changed: a sender tried again, and others' rows came between."""
    await history.insert(Batch(seq=1, events=EVENTS, traces=span_rows(3)), "one")
    await history.insert(Batch(seq=2, events=EVENTS[1:], traces=span_rows(2)), "two")
    await history.insert(Batch(seq=3, events=EVENTS[:2], traces=span_rows(2, first=1)), "three")
    assert list((await history.run_events("run")).items) == list(EVENTS)
    assert len(await history.run_spans("run")) == 3


async def test_one_fact_received_at_two_times_is_one_event(history: History) -> None:
    for received in (NOW + 10, NOW + 20):
        event = Event(type=EventType.RUN_STARTED, run_id="run", time=NOW, received=received)
        await history.insert(Batch(seq=received, events=[event]), f"at {received}")
    (stored,) = (await history.run_events("run")).items
    assert stored.received in {NOW + 10, NOW + 20}


async def test_an_event_comes_back_as_it_went_in(history: History) -> None:
    event = Event(
        type=EventType.PROGRESS, run_id="r", time=NOW, received=NOW + 5, workflow="w", service="s", trace_id="t",
        span_id="x", parent_run_id="pr", parent_step_id="ps", step_id="st", step_name="n", step_kind="do", attempt=2,
        child_run_id="c", error=Failure(type="T", message="m\n'\\\t\x00é☃", stacktrace="at…"), message="½", severity="INFO",
        current=0.0, total=9.5, attributes={"b": [1, {"c": None}], "a": True},
    )  # fmt: skip
    await history.insert(Batch(seq=1, events=[event]), "token")
    (stored,) = (await history.run_events("r")).items
    assert stored == event
    assert stored.received == event.received


async def test_the_exporters_columns_and_the_workflow_columns_are_filled(
    history: History, ask: Ask, span_rows: Rows
) -> None:
    await history.insert(Batch(seq=1, traces=span_rows(1)), "token")
    columns = "WorkflowName, WorkflowRunId, WorkflowStepName, `Events.Name`, SpanAttributes['workflow.name']"
    assert ask(f"SELECT {columns} FROM otel_traces") == [("etl", "run", "load", ["exception"], "etl")]  # noqa: S608 - constants


async def test_an_empty_batch_and_events_without_a_run_leave_no_rows(history: History, ask: Ask) -> None:
    await history.insert(Batch(seq=1), "empty")
    await history.insert(Batch(seq=2, traces={"Timestamp": [], "SpanId": []}), "no rows")
    await history.insert(Batch(seq=3, events=[Event(type=EventType.LOG, run_id="", time=NOW)]), "no run")
    assert rows_in(ask, *TABLES) == [0, 0, 0, 0, 0]


async def test_a_large_batch_goes_in_by_parts_that_are_cut_alike_each_time(
    history: History, ask: Ask, span_rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "MAX_ROWS", 10)
    for _ in range(2):
        await history.insert(Batch(seq=1, traces=span_rows(25)), "token")
    assert rows_in(ask, "otel_traces") == [25]


POISON: dict[str, dict[str, list[Any]]] = {
    "a column that the table lacks": {"Timestamp": [NOW], "Nope": ["x"]},
    "columns of unequal length": {"Timestamp": [NOW, NOW], "SpanName": ["x"]},
    "a word for a number": {"Timestamp": [NOW], "Duration": ["x"]},
    "a number too large": {"Timestamp": [2**70]},
    "nothing for a text": {"Timestamp": [NOW], "SpanId": [None]},
    "a number for a text": {"Timestamp": [NOW], "SpanId": [7]},
    "half a surrogate pair": {"Timestamp": [NOW], "SpanId": ["\ud800"]},
    "a word for a map": {"Timestamp": [NOW], "SpanAttributes": ["x"]},
    "rows of too many days": {"Timestamp": [NOW + day * 86_400 * 10**9 for day in range(150)]},
    "nested columns of unequal length": {
        "Timestamp": [NOW],
        "Links.TraceId": [["a", "b"]],
        "Links.SpanId": [["a"]],
    },
}


@pytest.mark.parametrize("traces", POISON.values(), ids=POISON.keys())
async def test_rows_that_never_fit_are_told_from_an_engine_that_is_down(
    history: History, ask: Ask, traces: dict[str, list[Any]], span_rows: Rows
) -> None:
    with pytest.raises(HistoryError) as caught:
        await history.insert(Batch(seq=1, traces=traces), "poison")
    assert not caught.value.retryable
    await history.insert(Batch(seq=2, traces=span_rows(1)), "good")
    assert rows_in(ask, "otel_traces") == [1]


async def test_an_engine_that_lost_its_table_may_be_tried_again(
    history: History, ask: Ask, span_rows: Rows
) -> None:
    await history.insert(Batch(seq=1, traces=span_rows(1)), "one")
    ask("RENAME TABLE otel_traces TO away")
    with pytest.raises(HistoryError) as caught:
        await history.insert(Batch(seq=2, traces=span_rows(1, first=5)), "two")
    assert caught.value.retryable
    ask("RENAME TABLE away TO otel_traces")
    await history.insert(Batch(seq=2, traces=span_rows(1, first=5)), "two")
    assert rows_in(ask, "otel_traces") == [2]


async def test_events_that_json_and_utf8_cannot_hold_are_stored_all_the_same(history: History) -> None:
    """The agent's users decide what is in an event; one odd value must not cost the batch."""
    odd = Event(
        type=EventType.LOG,
        run_id="r\ud800",
        time=-5,
        attempt=-1,
        workflow="w\udfff",
        attributes={"bytes": b"\xff", "set": {1}},
    )
    await history.insert(Batch(seq=1, events=[odd, Event(type=EventType.LOG, run_id="r", time=2**70)]), "odd")
    assert len((await history.run_events("r?")).items) == 1
    assert len((await history.run_events("r")).items) == 1
