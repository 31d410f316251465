"""Retries: the same call after a failure is another attempt of the same step."""

from __future__ import annotations

import asyncio
import gc
import weakref
from typing import TYPE_CHECKING

import pytest
import tenacity

import stagelight

if TYPE_CHECKING:
    from stagelight.recorder import RecordedStep, Recorder


class Flaky:
    """Fails a number of times for each argument."""

    def __init__(self, failures: int) -> None:
        self.failures = failures
        self.calls: dict[int, int] = {}

    def __call__(self, item: object) -> object:
        """Return the item, or fail."""
        self.calls[id(item)] = self.calls.get(id(item), 0) + 1
        if self.calls[id(item)] <= self.failures:
            raise OSError("again")
        return item


def attempts(steps: list[RecordedStep]) -> list[tuple[int, bool]]:
    """Return attempt numbers and whether the step's id is the first one's."""
    return [(step.attempt, step.id == steps[0].id) for step in steps]


def test_a_hand_written_loop_makes_attempts_of_one_step_linked_in_a_row(
    stagelight_recorder: Recorder,
) -> None:
    load = stagelight.step(name="load")(Flaky(2))
    item = object()
    with stagelight.workflow("w"):
        for _ in range(3):
            try:
                load(item)
                break
            except OSError:
                continue
    steps = stagelight_recorder.steps
    assert attempts(steps) == [(1, True), (2, True), (3, True)]
    assert [step.status for step in steps] == ["failed", "failed", "completed"]
    assert [link.context for step in steps for link in step.span.links] == [
        s.span.get_span_context() for s in steps[:2]
    ]
    assert len({step.span.parent.span_id for step in steps if step.span.parent}) == 1


def test_tenacity_s_retries_are_attempts(stagelight_recorder: Recorder) -> None:
    flaky = Flaky(2)

    @tenacity.retry(stop=tenacity.stop_after_attempt(3), wait=tenacity.wait_none())
    @stagelight.step
    def load(item: object) -> object:
        return flaky(item)

    with stagelight.workflow("w"):
        load("x")
    assert attempts(stagelight_recorder.steps) == [(1, True), (2, True), (3, True)]


def test_other_arguments_are_another_step(stagelight_recorder: Recorder) -> None:
    load = stagelight.step(name="load")(Flaky(1))
    first, second = object(), object()
    with stagelight.workflow("w"):
        for item in (first, second):
            with pytest.raises(OSError, match="again"):
                load(item)
    assert attempts(stagelight_recorder.steps) == [(1, True), (1, False)]


def test_equal_arguments_that_are_not_the_same_objects_are_another_step(
    stagelight_recorder: Recorder,
) -> None:
    load = stagelight.step(name="load")(Flaky(1))
    with stagelight.workflow("w"):
        kept = [[1], [1]]
        for item in kept:
            with pytest.raises(OSError, match="again"):
                load(item)
    assert attempts(stagelight_recorder.steps) == [(1, True), (1, False)]


def test_after_a_success_the_same_call_is_another_step(stagelight_recorder: Recorder) -> None:
    load = stagelight.step(name="load")(Flaky(1))
    item, other = object(), object()
    with stagelight.workflow("w"):
        with pytest.raises(OSError, match="again"):
            load(item)
        with pytest.raises(OSError, match="again"):
            load(other)
        load(other)
        load(item)
    assert attempts(stagelight_recorder.steps) == [(1, True), (1, False), (2, False), (1, False)]


def test_a_success_of_another_call_in_between_means_another_step(stagelight_recorder: Recorder) -> None:
    bad, good = object(), object()
    failures = [OSError("again")]

    @stagelight.step
    def load(item: object) -> None:
        if item is bad and failures:
            raise failures.pop()

    with stagelight.workflow("w"):
        with pytest.raises(OSError, match="again"):
            load(bad)
        load(good)
        load(bad)
    assert attempts(stagelight_recorder.steps) == [(1, True), (1, False), (1, False)]


def test_another_parent_means_another_step(stagelight_recorder: Recorder) -> None:
    load = stagelight.step(name="load")(Flaky(1))
    item = object()
    with stagelight.workflow("w"):
        with stagelight.step("a"), pytest.raises(OSError, match="again"):
            load(item)
        with stagelight.step("b"):
            load(item)
    assert [s.attempt for s in stagelight_recorder.steps if s.name == "load"] == [1, 1]


async def test_parallel_calls_are_never_attempts_of_each_other_but_each_is_of_itself(
    stagelight_recorder: Recorder,
) -> None:
    tries: dict[int, int] = {}

    @stagelight.step
    async def fetch(page: int) -> int:
        await asyncio.sleep(0)
        tries[page] = tries.get(page, 0) + 1
        if tries[page] < 3:
            raise OSError("again")
        return page

    async def insist(page: int) -> int:
        while True:
            try:
                return await fetch(page)
            except OSError:
                continue

    async with stagelight.workflow("w"):
        assert await asyncio.gather(*(insist(page) for page in range(5))) == list(range(5))
    by_id: dict[str, list[int]] = {}
    for step in stagelight_recorder.steps:
        by_id.setdefault(step.id, []).append(step.attempt)
    assert sorted(by_id.values()) == [[1, 2, 3]] * 5


async def test_parallel_identical_calls_are_steps_of_their_own(stagelight_recorder: Recorder) -> None:
    @stagelight.step
    async def fail() -> None:
        await asyncio.sleep(0)
        raise OSError("no")

    async with stagelight.workflow("w"):
        await asyncio.gather(fail(), fail(), return_exceptions=True)
    assert attempts(stagelight_recorder.steps) == [(1, True), (1, False)]


def test_a_block_says_itself_which_attempt_it_is(stagelight_recorder: Recorder) -> None:
    with stagelight.workflow("w"):
        for attempt in tenacity.Retrying(stop=tenacity.stop_after_attempt(2), wait=tenacity.wait_none()):
            number = attempt.retry_state.attempt_number
            with attempt, stagelight.step("load", attempt=number):
                if number == 1:
                    raise OSError("again")
    assert attempts(stagelight_recorder.steps) == [(1, True), (2, True)]
    assert len(stagelight_recorder.steps[1].span.links) == 1


def test_blocks_of_one_name_in_a_loop_over_items_stay_steps_of_their_own(
    stagelight_recorder: Recorder,
) -> None:
    with stagelight.workflow("w"):
        for _ in range(2):
            with pytest.raises(OSError, match="no"), stagelight.step("load"):
                raise OSError("no")
    assert attempts(stagelight_recorder.steps) == [(1, True), (1, False)]


def test_arguments_are_held_only_while_the_last_outcome_is_a_failure_and_the_parent_is_open(
    stagelight_recorder: Recorder,
) -> None:
    class Big:
        pass

    load = stagelight.step(name="load")(Flaky(1))

    def fail() -> weakref.ref[Big]:
        big = Big()
        with pytest.raises(OSError, match="again"):
            load(big)
        return weakref.ref(big)

    with stagelight.workflow("w"):
        held = fail()
        gc.collect()
        assert held() is not None
    assert stagelight_recorder.runs
    gc.collect()
    assert held() is None


def test_failures_under_one_parent_are_bounded(stagelight_recorder: Recorder) -> None:
    steps = [stagelight.step(name=f"s{n}")(Flaky(1)) for n in range(200)]
    with stagelight.workflow("w") as run:
        for load in steps:
            with pytest.raises(OSError, match="again"):
                load(1)
        assert run.attempts is not None
        assert len(run.attempts) == 64
    assert stagelight_recorder.runs
