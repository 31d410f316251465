"""Events find their run by their trace."""

from __future__ import annotations

from typing import Any

from stagelight.conventions import EventType
from stagelight.events import Event
from stagelight_collector.attribution import PATIENCE_NS, Attribution, Found

T = EventType


def event(kind: EventType, trace_id: str = "t", run_id: str = "", **fields: Any) -> Event:
    return Event(type=kind, run_id=run_id, time=1, trace_id=trace_id, **fields)


STEP = event(T.STEP_STARTED, step_id="s", step_name="load")
LINE = event(T.LOG, message="hello")


def runs(events: list[Found]) -> list[str]:
    return [found.event.run_id for found in events]


def test_what_comes_before_its_run_waits_for_it() -> None:
    attribution = Attribution()

    assert attribution.resolve([STEP, LINE], 0, seq=7) == []
    assert attribution.held == 7
    assert runs(attribution.resolve([event(T.RUN_STARTED, run_id="r")], 1, seq=8)) == ["r", "r", "r"]
    assert attribution.held is None
    assert attribution.waiting == 0


def test_what_comes_after_its_run_joins_it() -> None:
    attribution = Attribution()
    attribution.resolve([event(T.RUN_STARTED, run_id="r")], 0)

    assert runs(attribution.resolve([STEP, LINE], 1)) == ["r", "r"]


def test_a_child_run_does_not_take_over_its_trace() -> None:
    attribution = Attribution()
    attribution.resolve([event(T.RUN_STARTED, run_id="child", parent_run_id="r")], 0)
    attribution.resolve([event(T.STEP_STARTED, run_id="child", step_id="x", step_name="x")], 0)
    attribution.resolve([event(T.RUN_STARTED, run_id="r")], 0)

    assert runs(attribution.resolve([LINE], 1)) == ["r"]


def test_a_trace_with_a_step_and_no_run_is_the_run() -> None:
    attribution = Attribution()
    attribution.resolve([LINE, STEP], 0)

    assert attribution.expire(PATIENCE_NS - 1) == []
    assert runs(attribution.expire(PATIENCE_NS)) == ["t", "t"]
    assert runs(attribution.resolve([LINE], PATIENCE_NS)) == ["t"]


def test_log_lines_of_a_trace_that_is_no_workflow_are_let_go() -> None:
    attribution = Attribution()
    attribution.resolve([LINE], 0)

    assert attribution.expire(PATIENCE_NS) == []
    assert (attribution.waiting, attribution.dropped) == (0, 1)


def test_what_waits_and_what_is_remembered_is_bounded() -> None:
    attribution = Attribution(max_traces=2, max_waiting=3)
    attribution.resolve([event(T.LOG, f"t{number}") for number in range(5)], 0)
    assert (attribution.waiting, attribution.dropped) == (3, 2)

    for number in range(3):
        attribution.learn(f"x{number}", "r")
    assert runs(attribution.resolve([event(T.LOG, "x2")], 0)) == ["r"]
    assert attribution.resolve([event(T.LOG, "x0")], 0) == []


def test_what_waited_comes_with_the_number_of_its_own_batch() -> None:
    attribution = Attribution()
    attribution.resolve([STEP], 0, seq=7)

    found = attribution.resolve([event(T.RUN_STARTED, run_id="r")], 1, seq=9)

    assert [(item.seq, item.event.type) for item in found] == [(9, T.RUN_STARTED), (7, T.STEP_STARTED)]


def test_the_oldest_batch_holds_whatever_the_order_they_came_in() -> None:
    attribution = Attribution()
    attribution.resolve([event(T.LOG, "a")], 0, seq=9)
    attribution.resolve([event(T.STEP_STARTED, "b", step_name="s")], 0, seq=8)

    assert attribution.held == 8


def test_log_lines_never_push_out_a_step() -> None:
    attribution = Attribution(max_waiting=2)
    attribution.resolve([STEP, LINE], 0, seq=1)
    attribution.resolve([event(T.LOG, f"t{number}") for number in range(5)], 0, seq=2)

    assert (attribution.waiting, attribution.dropped) == (4, 3)
    assert runs(attribution.resolve([event(T.RUN_STARTED, run_id="r")], 1, seq=3)) == ["r", "r", "r"]


def test_past_the_bound_the_oldest_trace_with_a_step_is_its_own_run() -> None:
    attribution = Attribution(max_waiting=2)
    steps = [event(T.STEP_STARTED, f"t{number}", step_name="s") for number in range(3)]

    assert attribution.resolve(steps[:2], 0, seq=1) == []
    assert [(found.seq, found.event.run_id) for found in attribution.resolve(steps[2:], 0, seq=2)] == [
        (1, "t0")
    ]
    assert (attribution.waiting, attribution.dropped) == (2, 0)


def test_an_event_of_no_run_and_no_trace_is_counted_and_belongs_nowhere() -> None:
    attribution = Attribution()

    assert attribution.resolve([event(T.STEP_STARTED, "", step_name="s"), event(T.RUN_STARTED, "")], 0) == []
    attribution.learn("", "r")
    attribution.learn("t", "")
    assert (attribution.waiting, attribution.dropped, attribution.held) == (0, 2, None)
    assert attribution.settle([event(T.STEP_STARTED, "", step_name="s"), LINE]) == []


def test_a_trace_that_is_in_use_is_not_forgotten() -> None:
    attribution = Attribution(max_traces=2)
    attribution.learn("old", "r")
    attribution.learn("newer", "r")
    attribution.resolve([event(T.LOG, "old")], 0)
    attribution.learn("newest", "r")

    assert runs(attribution.resolve([event(T.LOG, "old")], 0)) == ["r"]
    assert attribution.resolve([event(T.LOG, "newer")], 0) == []


def test_a_batch_that_waits_no_longer_is_settled_at_once() -> None:
    attribution = Attribution()
    attribution.learn("known", "r")
    line, other = event(T.LOG, "known"), event(T.LOG, "other")

    assert [found.run_id for found in attribution.settle([line, other, STEP])] == ["r", "t"]
    assert attribution.waiting == 0
