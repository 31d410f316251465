"""How often, how long and why: numbers of a workflow, its steps and its errors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from stagelight.conventions import EventType as T
from stagelight.events import Event, Failure
from stagelight_collector.api.statistics import error_view, statistics_view
from stagelight_collector.history.records import Durations

if TYPE_CHECKING:
    from stagelight_collector.history import History

MS = 1_000_000
NOW = 1_764_000_000_000 * MS


def life(number: int, *, fails: bool = False, workflow: str = "etl") -> list[Event]:
    """Make a run that takes as many milliseconds as its number says; a failed one tries its step twice."""
    begin = NOW + number * 1_000 * MS
    named: dict[str, Any] = {"run_id": f"{workflow}{number}", "workflow": workflow}
    step: dict[str, Any] = {**named, "step_id": "s", "step_name": "load", "step_kind": "do"}
    error = Failure(type="OSError", message=f"disk {number} is full, see 0xDEADBEEF{number}")
    events = [
        Event(type=T.RUN_STARTED, time=begin, **named),
        Event(type=T.STEP_STARTED, time=begin, attempt=1, **step),
    ]
    if not fails:
        end = begin + number * MS
        return [
            *events,
            Event(type=T.STEP_COMPLETED, time=end, attempt=1, **step),
            Event(type=T.RUN_COMPLETED, time=end, **named),
        ]
    return [
        *events,
        Event(type=T.ATTEMPT_FAILED, time=begin + 1, attempt=1, error=error, **step),
        Event(type=T.ATTEMPT_STARTED, time=begin + 2, attempt=2, **step),
        Event(type=T.STEP_FAILED, time=begin + 3, attempt=2, error=error, **step),
        Event(type=T.RUN_FAILED, time=begin + 4, error=error, **named),
    ]


@pytest.fixture
async def some(put: Any) -> None:
    """101 runs that completed, three that failed, one that goes on; and another workflow."""
    events = [event for number in range(101) for event in life(number)]
    events += [event for number in (200, 201, 202) for event in life(number, fails=True)]
    events += life(300)[:2] + life(7, fails=True, workflow="other")
    await put(*events)


@pytest.mark.usefixtures("some")
async def test_a_workflow_and_its_steps_in_numbers(history: History) -> None:
    found = await history.workflow("etl")
    assert found is not None
    assert (found.runs, found.completed, found.failed, found.running) == (105, 101, 3, 1)
    assert found.durations == Durations(50, 95, 99)
    (step,) = found.steps
    assert (step.name, step.kind, step.runs, step.completed, step.failed, step.running, step.retries) == (
        "load", "do", 105, 101, 3, 1, 3,
    )  # fmt: skip
    assert step.durations == Durations(50, 95, 99)
    assert step.baseline == found.baseline == 51, "of the latest hundred that completed, 1 to 100 ms"
    shown = statistics_view(found)
    assert shown["error_rate"] == shown["steps"][0]["error_rate"] == 3 / 104
    assert shown["duration_ms"] == {"p50": 50, "p95": 95, "p99": 99}


async def test_a_step_has_a_trend_and_a_baseline_of_its_own(history: History, put: Any) -> None:
    """Of 49 runs, one an hour: `load` in each, ever longer; `ship` twice after the last; `mail` never."""
    hour = 3_600_000 * MS
    events: list[Event] = []
    for number in range(49):
        named: dict[str, Any] = {"run_id": str(number), "workflow": "etl"}
        step: dict[str, Any] = {**named, "step_id": "l", "step_name": "load", "attempt": 1}
        begin, end = NOW + number * hour, NOW + number * hour + (number + 1) * MS
        last = T.STEP_FAILED if number in {1, 48} else T.STEP_COMPLETED
        events += [
            Event(type=T.RUN_STARTED, time=begin, **named),
            Event(type=T.STEP_STARTED, time=begin, **step),
            Event(type=last, time=end, **step),
        ]
    late: dict[str, Any] = {"run_id": "48", "workflow": "etl", "step_name": "ship", "attempt": 1}
    events += [
        *(Event(type=T.STEP_STARTED, time=NOW + at * hour, step_id=f"s{at}", **late) for at in (99, 200)),
        Event(type=T.STEP_SKIPPED, time=NOW + 99 * hour, run_id="48", workflow="etl", step_id="m", step_name="mail"),
    ]  # fmt: skip
    await put(*events)
    found = await history.workflow("etl")
    assert found is not None
    steps = {step.name: step for step in found.steps}
    load, ship, mail = steps["load"], steps["ship"], steps["mail"]

    # Each part has a bit over two hours, so that the latest start is in it.
    width = 48 * hour // 24 + 1
    parts = [[n for n in range(49) if n * hour // width == part] for part in range(24)]
    assert [part.start for part in load.trend] == [part.start for part in found.trend]
    assert [part.runs for part in load.trend] == [len(part) for part in parts]
    assert [part.failed for part in load.trend] == [len({1, 48} & set(part)) for part in parts]
    timed = [sorted(n + 1.0 for n in part if n not in {1, 48}) for part in parts]
    assert [part.p50 for part in load.trend] == [part[len(part) // 2] for part in timed]
    assert load.baseline == sorted(n + 1.0 for n in range(48) if n != 1)[23]

    assert [part.runs for part in ship.trend] == [0] * 23 + [2]
    assert (ship.baseline, ship.trend[-1].p50) == (None, None)
    assert [part.runs for part in mail.trend] == [0] * 24
    shown = statistics_view(found)["steps"][0]
    assert (shown["baseline_ms"], len(shown["trend"])) == (load.baseline, 24)
    assert shown["trend"][0] == {"start_ms": NOW / MS, "runs": 3, "failed": 1, "p50_ms": 3.0}


@pytest.mark.usefixtures("some")
async def test_what_was_not_heard_of_since_is_left_out(history: History) -> None:
    since = NOW + 150_000 * MS
    found = await history.workflow("etl", since)
    assert found is not None
    assert (found.runs, found.completed, found.failed, found.durations) == (4, 0, 3, None)
    assert statistics_view(found)["error_rate"] == 1
    assert await history.workflow("etl", NOW + 10**6 * MS * 1_000) is None
    assert await history.workflow("' OR 1=1 --") is None


@pytest.mark.usefixtures("some")
async def test_errors_that_differ_in_numbers_are_one(history: History) -> None:
    etl, other = await history.errors()
    assert error_view(etl) == {
        "workflow": "etl",
        "type": "OSError",
        "pattern": "disk # is full, see #x#",
        "runs": 3,
        "first_ms": (NOW / MS) + 200_000,
        "last_ms": (NOW / MS) + 202_000,
        "run_id": "etl202",
        "message": "disk 202 is full, see 0xDEADBEEF202",
    }
    assert (other.workflow, other.runs) == ("other", 1)
    assert await history.errors("other") == [other]
    assert await history.errors(limit=1) == [etl]
    assert await history.errors(since=NOW + 250_000 * MS) == []
