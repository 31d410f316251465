"""Runs and steps in history are what the room's reducer makes of the same events, in any order, any number of times."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any, TypeAlias, cast

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from stagelight.conventions import EventType, RunStatus, StepStatus
from stagelight.events import Event, Failure
from stagelight_collector.rooms.state import Run
from stagelight_plugins.hookspecs import Batch

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from stagelight_collector.history import History
    from stagelight_collector.rooms.step import Step

Ask: TypeAlias = "Callable[..., Sequence[Sequence[Any]]]"
_ids = itertools.count()

FAILURES = st.one_of(
    st.none(), st.builds(Failure, type=st.sampled_from(["A", "B"]), message=st.sampled_from(["", "é", "z"]))
)
RUN_FACTS = [kind for kind in EventType if kind.startswith("run_")]
STEP_FACTS = [kind for kind in EventType if kind.startswith(("step_", "attempt_", "sleep_", "wait_"))]
FACTS: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {
        "type": st.one_of(
            st.sampled_from(EventType), st.sampled_from(RUN_FACTS), st.sampled_from(STEP_FACTS)
        ),
        # Few different times, so that equal ones meet.
        "time": st.integers(1, 6).map(lambda number: number * 4_000_000_000 + 1),
        "workflow": st.sampled_from(["", "etl", "import"]),
        "service": st.sampled_from(["", "billing"]),
        "trace_id": st.sampled_from(["", "t1", "t2"]),
        "step_id": st.sampled_from(["", "", "s1", "s2"]),
        "step_name": st.sampled_from(["", "load", "läd"]),
        "step_kind": st.sampled_from(["", "do", "sleep"]),
        "parent_step_id": st.sampled_from(["", "p1"]),
        "parent_run_id": st.sampled_from(["", "r0"]),
        "child_run_id": st.sampled_from(["", "r9"]),
        "attempt": st.integers(0, 3),
        "error": FAILURES,
    }
)


@st.composite
def deliveries(draw: st.DrawFn) -> list[list[Event]]:
    """Events of one run in batches: shuffled, some of them twice."""
    run_id = f"run-{next(_ids)}"
    events = [Event(run_id=run_id, **fact) for fact in draw(st.lists(FACTS, min_size=1, max_size=12))]
    again = draw(st.lists(st.sampled_from(events), max_size=4))
    shuffled = draw(st.permutations(events + again))
    cut = draw(st.integers(0, len(shuffled)))
    return [batch for batch in (shuffled[:cut], shuffled[cut:]) if batch]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(batches=deliveries())
async def test_history_tells_what_the_room_tells(
    history: History, ask: Ask, batches: list[list[Event]]
) -> None:
    await assert_same(history, ask, batches)


STORIES: dict[str, tuple[str, RunStatus, StepStatus | None]] = {
    "a late start does not reopen a run": ("run_completed@5 run_started@7", RunStatus.COMPLETED, None),
    "a resume does": ("run_failed@5 run_resumed@7", RunStatus.RUNNING, None),
    "a resume before the end does not": ("run_resumed@3 run_failed@5", RunStatus.FAILED, None),
    "a second end counts": ("run_failed@3 run_resumed@4 run_completed@5", RunStatus.COMPLETED, None),
    "the latest phase counts": ("run_paused@4 run_started@1 run_waiting@2", RunStatus.PAUSED, None),
    "a step alone is a run under way": ("step_started@1#1", RunStatus.RUNNING, StepStatus.RUNNING),
    "a late start does not reopen a step": (
        "step_failed@5#2 attempt_started@7#2",
        RunStatus.RUNNING,
        StepStatus.FAILED,
    ),
    "nor does an earlier attempt": (
        "step_failed@5#2 attempt_started@7#1",
        RunStatus.RUNNING,
        StepStatus.FAILED,
    ),
    "a later attempt does": ("attempt_failed@5#1 attempt_started@4#2", RunStatus.RUNNING, StepStatus.RUNNING),
    "a sleep is a wait": ("step_started@1#1 sleep_started@2#1", RunStatus.RUNNING, StepStatus.WAITING),
    "until it is over": (
        "step_started@1#1 wait_started@2#1 wait_timed_out@3#1",
        RunStatus.RUNNING,
        StepStatus.RUNNING,
    ),
    "or the step is": ("wait_started@2#1 step_completed@3#1", RunStatus.RUNNING, StepStatus.COMPLETED),
    "a step may be skipped": ("step_skipped@3#0", RunStatus.RUNNING, StepStatus.SKIPPED),
}


@pytest.mark.parametrize(("story", "run", "step"), STORIES.values(), ids=STORIES.keys())
async def test_each_rule_of_the_states_holds(
    history: History, ask: Ask, story: str, run: RunStatus, step: StepStatus | None
) -> None:
    events = [_told(fact) for fact in story.split()]
    for batches in ([events], [[event] for event in reversed(events)]):
        await assert_same(history, ask, batches)
    record = await history.run("story")
    assert record is not None
    assert (record.status, list(record.steps)) == (run, [step] if step else [])


def _told(fact: str) -> Event:
    kind, _, when = fact.partition("@")
    time, _, attempt = when.partition("#")
    step = {"step_id": "s", "attempt": int(attempt)} if attempt else {}
    return Event(type=EventType(kind), run_id="story", time=int(time), **cast("dict[str, Any]", step))


async def assert_same(history: History, ask: Ask, batches: list[list[Event]]) -> None:
    """Give the same events to history and to a room, and compare what they tell."""
    run = Run(batches[0][0].run_id)
    for batch in batches:
        await history.insert(Batch(seq=0, events=batch), f"batch {next(_ids)}")
        for event in batch:
            run.apply(event)

    record = await history.run(run.id)

    assert record is not None
    assert (record.status, record.started, record.last_event) == (run.status, run.started, run.last)
    assert record.ended == (run.final.time if run.final else None)
    assert record.error == (run.final.error if run.final else None)
    assert (record.workflow, record.service) == (run.workflow.value, run.service.value)
    assert (record.parent_run_id, record.parent_step_id) == (run.parent_run.value, run.parent_step.value)
    assert list(record.trace_ids) == run.trace_ids
    assert record.steps == {status: count for status, count in run.counts.items() if count}
    assert _stored_steps(ask, run.id) == {step.id: _expected(step) for step in run.steps.values()}
    listed = await history.run_events(run.id)
    assert sorted(map(repr, listed.items)) == sorted(map(repr, _distinct(batches)))


def _distinct(batches: list[list[Event]]) -> list[Event]:
    found: list[Event] = []
    for event in itertools.chain(*batches):
        if event not in found:
            found.append(event)
    return found


def _stored_steps(ask: Ask, run_id: str) -> dict[str, tuple[Any, ...]]:
    rows = ask(
        """SELECT StepId, Status, toUnixTimestamp64Nano(Started), toUnixTimestamp64Nano(Ended), Attempts, StepName,
        StepKind, ParentStepId, ChildRunId, ErrorType, ErrorMessage FROM stagelight_steps WHERE RunId = {run:String}""",
        run=run_id,
    )
    return {row[0]: tuple(row[1:]) for row in rows}


def _expected(step: Step) -> tuple[Any, ...]:
    ending = step.last.ending
    error = (ending.error if ending else None) or Failure()
    names = (step.name.value, step.kind.value, step.parent.value, step.child_run.value)
    return (step.status.value, step.started, step.ended, step.attempt, *names, error.type, error.message)
