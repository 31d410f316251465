"""One run: its events and spans."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from stagelight.conventions import EventType
from stagelight.events import Event
from stagelight_plugins.hookspecs import Batch

if TYPE_CHECKING:
    from collections.abc import Callable

    from stagelight_collector.history import History

NOW = 1_764_000_000_000_000_000


async def test_events_come_in_pages_in_order_of_time(history: History, put: Any) -> None:
    events = [Event(type=EventType.LOG, run_id="r", time=NOW + n // 3, message=str(n)) for n in range(20)]
    await put(*reversed(events))
    await put(*events[::2])
    read: list[Event] = []
    cursor = None
    for _ in range(10):
        page = await history.run_events("r", limit=3, cursor=cursor)
        read += page.items
        cursor = page.cursor
        if cursor is None:
            break
    assert [event.time for event in read] == [event.time for event in events]
    assert {event.message for event in read} == {event.message for event in events}
    assert len(read) == 20


async def test_events_that_arrive_while_pages_are_read_repeat_nothing(history: History, put: Any) -> None:
    await put(*[Event(type=EventType.LOG, run_id="r", time=NOW + n) for n in range(10)])
    page = await history.run_events("r", limit=5)
    await put(*[Event(type=EventType.LOG, run_id="r", time=NOW + n) for n in (1, 3, 20)])
    rest = await history.run_events("r", cursor=page.cursor)
    assert [event.time - NOW for event in (*page.items, *rest.items)] == [*range(10), 20]


async def test_spans_are_those_of_the_runs_traces(
    history: History, put: Any, span_rows: Callable[..., dict[str, list[Any]]]
) -> None:
    """Also spans that do not name the run, such as the requests that a step makes."""
    plain = span_rows(2, trace_id="t1")
    plain["SpanAttributes"] = [{}, {}]
    await history.insert(Batch(seq=1, traces=plain), "plain")
    await history.insert(Batch(seq=2, traces=span_rows(2, run_id="r", trace_id="t2", first=5)), "marked")
    await history.insert(Batch(seq=3, traces=span_rows(2, run_id="other", trace_id="t3", first=9)), "other")
    await put(Event(type=EventType.RUN_STARTED, run_id="r", time=NOW, trace_id="t1"))

    spans = await history.run_spans("r")

    assert [span["trace_id"] for span in spans] == ["t1", "t1", "t2", "t2"]
    assert [span["start"] - NOW for span in spans] == [0, 1, 5, 6]
    assert len(await history.run_spans("r", 3)) == 3
    assert spans[2] == {
        "trace_id": "t2",
        "span_id": f"{5:016x}",
        "parent_span_id": "",
        "name": "load",
        "kind": "Internal",
        "service": "billing",
        "start": NOW + 5,
        "duration": 5,
        "status": "Ok",
        "status_message": "",
        "attributes": {"workflow.name": "etl", "workflow.run.id": "r", "workflow.step.name": "load"},
        "resource": {"service.name": "billing"},
        "scope": "",
        "events": [{"time": NOW + 1, "name": "exception", "attributes": {"exception.type": "ValueError"}}],
        "links": [{"trace_id": "other", "span_id": "cause"}],
    }


async def test_a_run_that_nobody_knows_has_nothing(history: History) -> None:
    assert await history.run("r") is None
    assert list((await history.run_events("r")).items) == []
    assert await history.run_spans("r") == []


async def test_what_a_newer_collector_wrote_is_left_out(history: History, ask: Any, put: Any) -> None:
    await put(Event(type=EventType.RUN_STARTED, run_id="r", time=NOW))
    ask(
        "INSERT INTO stagelight_events (RunId, Time, Type, Data) SELECT 'r', now64(9), 'x', '{\"type\":\"x\"}'"
    )
    assert [event.type for event in (await history.run_events("r")).items] == [EventType.RUN_STARTED]
