"""Run state is a pure reducer: any order, any duplicates, same final state (invariant I2)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, strategies as st

from stagelight.conventions import DROPPED, EventType, RunStatus, StepStatus
from stagelight.events import Event, Failure
from stagelight_collector.rooms.state import MAX_LOGS, MAX_STEPS, Run
from stagelight_collector.rooms.view import snapshot

if TYPE_CHECKING:
    import random

T = EventType


def event(kind: EventType, time: int = 0, **fields: Any) -> Event:
    return Event(type=kind, run_id="r", time=time, **fields)


def reduced(*events: Event) -> Run:
    run = Run("r")
    for item in events:
        run.apply(item)
    return run


texts = st.sampled_from(["", "a", "b"])
events = st.builds(
    Event,
    type=st.sampled_from(list(EventType)),
    run_id=st.just("r"),
    time=st.integers(1, 6),
    workflow=texts,
    service=texts,
    trace_id=texts,
    step_id=st.sampled_from(["", "s1", "s2"]),
    step_name=texts,
    step_kind=texts,
    parent_step_id=texts,
    child_run_id=texts,
    attempt=st.integers(0, 3),
    error=st.none() | st.builds(Failure, type=texts, message=texts),
    message=texts,
    current=st.none() | st.sampled_from([0.0, 1.0]),
    total=st.none() | st.just(2.0),
    attributes=st.dictionaries(st.sampled_from(["x", "y", DROPPED]), st.integers(0, 2) | texts, max_size=2),
)


@given(st.lists(events, max_size=25), st.randoms(use_true_random=False))
def test_any_order_and_any_duplicates_give_the_same_state(facts: list[Event], chance: random.Random) -> None:
    shuffled = [*facts, *chance.sample(facts, k=len(facts) // 2)]
    chance.shuffle(shuffled)

    assert snapshot(reduced(*shuffled)) == snapshot(reduced(*facts))


@given(st.lists(events, max_size=25))
def test_a_fact_that_is_known_changes_nothing(facts: list[Event]) -> None:
    run = reduced(*facts)

    assert not any(run.apply(fact) for fact in facts)


@given(st.lists(events, max_size=25))
def test_the_counts_by_status_are_those_of_the_steps(facts: list[Event]) -> None:
    run = reduced(*facts)
    counted = {status: sum(step.status is status for step in run.steps.values()) for status in StepStatus}

    assert run.counts == counted


def test_a_late_start_never_reopens_an_ended_step() -> None:
    run = reduced(
        event(T.STEP_COMPLETED, 5, step_id="s", attempt=1),
        event(T.STEP_STARTED, 9, step_id="s", attempt=1),
    )

    assert run.steps["s"].status is StepStatus.COMPLETED


def test_a_late_start_never_reopens_an_ended_run() -> None:
    assert reduced(event(T.RUN_FAILED, 5), event(T.RUN_STARTED, 9)).status is RunStatus.FAILED


def test_a_resume_reopens_a_run() -> None:
    run = reduced(event(T.RUN_STARTED, 1), event(T.RUN_FAILED, 5), event(T.RUN_RESUMED, 9))

    assert run.status is RunStatus.RUNNING
    assert run.final is None


def test_another_attempt_reopens_a_failed_step_and_keeps_what_failed() -> None:
    failure = Failure(type="OSError", message="no route")
    run = reduced(
        event(T.STEP_STARTED, 1, step_id="s", attempt=1),
        event(T.STEP_FAILED, 2, step_id="s", attempt=1, error=failure),
        event(T.STEP_STARTED, 3, step_id="s", attempt=2),
    )
    step = run.steps["s"]

    assert step.status is StepStatus.RUNNING
    assert step.attempts[1].ending is not None
    assert step.attempts[1].ending.error == failure


@pytest.mark.parametrize(
    ("facts", "status"),
    [
        ([T.RUN_CREATED], RunStatus.PENDING),
        ([T.RUN_CREATED, T.RUN_QUEUED], RunStatus.QUEUED),
        ([T.RUN_QUEUED, T.RUN_STARTED], RunStatus.RUNNING),
        ([T.RUN_STARTED, T.RUN_WAITING], RunStatus.WAITING),
        ([T.RUN_STARTED, T.RUN_PAUSED], RunStatus.PAUSED),
        ([T.RUN_PAUSED, T.RUN_RESUMED], RunStatus.RUNNING),
        ([T.RUN_STARTED, T.RUN_COMPLETED], RunStatus.COMPLETED),
        ([T.RUN_STARTED, T.RUN_FAILED], RunStatus.FAILED),
        ([T.RUN_STARTED, T.RUN_TERMINATED], RunStatus.TERMINATED),
    ],
)
def test_a_run_is_where_its_latest_event_says(facts: list[EventType], status: RunStatus) -> None:
    assert reduced(*(event(kind, time) for time, kind in enumerate(facts, 1))).status is status


def test_a_sleeping_step_is_waiting_until_it_wakes() -> None:
    start = event(T.STEP_STARTED, 1, step_id="s")
    asleep = event(T.SLEEP_STARTED, 2, step_id="s")
    awake = event(T.SLEEP_COMPLETED, 3, step_id="s")

    assert reduced(start, asleep).steps["s"].status is StepStatus.WAITING
    assert reduced(awake, start, asleep).steps["s"].status is StepStatus.RUNNING


def test_steps_beyond_the_bound_are_counted() -> None:
    run = reduced(*(event(T.STEP_STARTED, 1, step_id=str(number)) for number in range(MAX_STEPS + 3)))

    assert len(run.steps) == MAX_STEPS
    assert run.steps_left_out


def test_the_latest_log_lines_are_kept() -> None:
    run = reduced(*(event(T.LOG, time, message=f"line {time}") for time in range(MAX_LOGS + 5, 0, -1)))

    assert len(run.logs) == MAX_LOGS
    assert run.logs_left_out
    assert run.logs[0].message == "line 6"
