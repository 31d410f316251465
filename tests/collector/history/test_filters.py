"""Runs by duration, error and attribute, in the tables themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from stagelight.conventions import EventType
from stagelight.events import Event, Failure
from stagelight_collector.history import RunFilter, queries, walks
from stagelight_plugins.hookspecs import Batch

if TYPE_CHECKING:
    from stagelight_collector.history import History

SECOND = 1_000_000_000
NOW = 1_764_000_000 * SECOND


def root_spans(rows: dict[str, list[Any]], time: int, **attributes: str) -> dict[str, list[Any]]:
    """Make rows the own spans of runs."""
    own = [{**found, **attributes} for found in rows["SpanAttributes"]]
    for found in own:
        del found["workflow.step.name"]
    return {**rows, "SpanAttributes": own, "Timestamp": [time] * len(own)}


@pytest.fixture
async def some(history: History, span_rows: Any) -> None:
    """Twelve runs, an hour apart and ever longer, one of them failed; each is of one of three customers."""
    for number in range(12):
        named: dict[str, Any] = {"run_id": f"r{number:02}", "workflow": "etl"}
        begin = NOW + number * 3600 * SECOND
        events = [
            Event(type=EventType.RUN_STARTED, time=begin, **named),
            Event(type=EventType.RUN_COMPLETED, time=begin + number * SECOND, **named),
        ]
        if number == 5:
            error = Failure(type="TimeoutError", message="Bank did not answer")
            events[1] = Event(type=EventType.RUN_FAILED, time=events[1].time, error=error, **named)
        rows = span_rows(1, run_id=named["run_id"], first=number)
        customer = f"c{number % 3}"
        traces = root_spans(rows, begin, customer=customer, parity=str(number % 2))
        await history.insert(Batch(seq=0, events=events, traces=traces), named["run_id"])
        steps = {**span_rows(1, run_id=named["run_id"], first=100 + number), "Timestamp": [begin]}
        await history.insert(Batch(seq=0, traces=steps), f"steps {number}")
    await history.insert(
        Batch(seq=0, events=[Event(type=EventType.RUN_STARTED, time=NOW, run_id="open", workflow="etl")]), "o"
    )


@pytest.mark.usefixtures("some")
async def test_each_filter_lists_what_it_says(history: History, monkeypatch: pytest.MonkeyPatch) -> None:
    cases: list[tuple[dict[str, Any], list[int]]] = [
        ({"min_duration": 10 * SECOND}, [11, 10]),
        ({"max_duration": SECOND}, [1, 0]),
        ({"min_duration": 3 * SECOND, "max_duration": 4 * SECOND}, [4, 3]),
        ({"min_duration": 0, "until": NOW + 3600 * SECOND}, [0]),
        ({"error": "timeouterror: BANK"}, [5]),
        ({"error": "nothing"}, []),
        ({"attributes": (("customer", "c1"),)}, [10, 7, 4, 1]),
        ({"attributes": (("customer", "c1"), ("parity", "1"))}, [7, 1]),
        ({"attributes": (("service.name", "billing"),), "max_duration": 0}, [0]),
        ({"attributes": (("workflow.step.name", "load"),)}, []),
        ({"attributes": (("customer", "' OR 1=1 --"),)}, []),
        ({"attributes": (("{value_0:String}", "\\"),)}, []),
    ]
    for portion in (64, 2):
        monkeypatch.setattr(walks, "PORTION", portion)
        for wanted, numbers in cases:
            ids: list[str] = []
            cursor: str | None = None
            for _ in range(100):
                page = await history.list_runs(RunFilter(**wanted), cursor, 2)
                ids += [run.id for run in page.items]
                cursor = page.cursor
                if cursor is None:
                    break
            assert (ids, cursor) == ([f"r{number:02}" for number in numbers], None), wanted


@pytest.mark.parametrize(("late", "apart"), [(200_000_000, 10), (-10_000_000_000, 10), (200_000_000, 0)])
async def test_runs_are_found_by_spans_that_start_in_the_period_beside_theirs(
    history: History, span_rows: Any, monkeypatch: pytest.MonkeyPatch, late: int, apart: int
) -> None:
    names = [f"r{number}" for number in range(10)]
    for number, name in enumerate(names):
        begin = NOW + (number * apart + 9) * SECOND + 900_000_000  # just before a period ends
        begin -= 0 if number else 100 * SECOND  # and one of long before
        started = Event(type=EventType.RUN_STARTED, time=begin, run_id=name, workflow="etl")
        traces = root_spans(span_rows(1, run_id=name, first=number), begin + late, customer="c")
        await history.insert(Batch(seq=0, events=[started], traces=traces), name)
    monkeypatch.setattr(walks, "PORTION", 1)
    # With 4, a page is handed out before all was looked through.
    for sieved in (walks.SIEVED, 4, 100):
        monkeypatch.setattr(walks, "SIEVED", sieved)
        ids: list[str] = []
        cursor: str | None = None
        for _ in range(50):
            page = await history.list_runs(RunFilter(attributes=(("customer", "c"),)), cursor, 1)
            ids += [run.id for run in page.items]
            cursor = page.cursor
            if cursor is None:
                break
        assert (ids, cursor) == (names[::-1], None)


@pytest.mark.parametrize("apart", [10, 4, 0])
async def test_of_candidates_whose_ids_are_known_none_is_left_out_between_portions(
    history: History, span_rows: Any, monkeypatch: pytest.MonkeyPatch, apart: int
) -> None:
    """Their spans start a period before them, and what one portion finds is never enough for a page."""
    names = [f"r{number:02}" for number in range(60)]
    for number, name in enumerate(names):
        begin = NOW + number * apart * SECOND
        workflow = "rare" if number % 4 == 0 else "etl"
        started = Event(type=EventType.RUN_STARTED, time=begin, run_id=name, workflow=workflow)
        traces = root_spans(span_rows(1, run_id=name, first=number), begin - queries.PERIOD_NS, customer="c")
        await history.insert(Batch(seq=0, events=[started], traces=traces), name)
    asked = RunFilter(attributes=(("customer", "c"),), workflow="rare")
    for portion in (8, 9, 10, 11):
        monkeypatch.setattr(walks, "PORTION", portion)
        page = await history.list_runs(asked, None, 2)
        assert [run.id for run in page.items] == names[::4][:-3:-1], portion
        page = await history.list_runs(asked, page.cursor, 2)
        assert [run.id for run in page.items] == names[::4][-3:-5:-1], portion
