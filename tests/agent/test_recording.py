"""Workflows and steps, as users write them."""

from __future__ import annotations

import asyncio
import inspect
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, assert_type

import pytest
from opentelemetry.trace import StatusCode

import stagelight
from stagelight.conventions import EventType

if TYPE_CHECKING:
    from stagelight.recorder import Recorder


@stagelight.step
def double(number: int) -> int:
    return number * 2


@stagelight.step
async def slow_double(number: int) -> int:
    await asyncio.sleep(0)
    return number * 2


def test_a_workflow_s_steps_are_recorded_in_order(stagelight_recorder: Recorder) -> None:
    @stagelight.workflow
    def etl(rows: int) -> int:
        with stagelight.step("extract"):
            pass
        return double(rows)

    assert_type(etl(2), int)
    (run,) = stagelight_recorder.runs[:1]
    assert (run.name, run.status) == ("etl", "completed")
    assert [(s.name, s.status, s.run_id) for s in stagelight_recorder.steps] == [
        ("extract", "completed", run.id),
        ("double", "completed", run.id),
    ]


def test_names_and_kinds_are_the_user_s_choice(stagelight_recorder: Recorder) -> None:
    @stagelight.step(name="fetch pages", kind="io")
    def fetch() -> None: ...

    @stagelight.workflow(name="crawl")
    def main() -> None:
        fetch()

    main()
    assert stagelight_recorder.runs[0].name == "crawl"
    assert (stagelight_recorder.steps[0].name, stagelight_recorder.steps[0].kind) == ("fetch pages", "io")


def test_the_run_s_id_is_the_trace_s_unless_chosen(stagelight_recorder: Recorder) -> None:
    with stagelight.workflow("a") as run:
        assert run.id == f"{run.span.get_span_context().trace_id:032x}" == stagelight.current_run_id()
    with stagelight.workflow("b", run_id="order-7") as run:
        assert run.id == "order-7" == stagelight.current_run_id()
    assert stagelight.current_run_id() is None
    assert [run.id == "order-7" for run in stagelight_recorder.runs] == [False, True]


def test_a_run_s_id_can_be_made_of_the_call_s_arguments(stagelight_recorder: Recorder) -> None:
    def order_id(order: int) -> str:
        return f"order-{order}"

    @stagelight.workflow(run_id=order_id)
    def ship(order: int) -> None:
        del order

    ship(3)
    ship(4)
    assert [run.id for run in stagelight_recorder.runs] == ["order-3", "order-4"]


def test_a_child_run_has_an_id_of_its_own_and_knows_its_parents(stagelight_recorder: Recorder) -> None:
    with (
        stagelight.workflow("outer") as outer,
        stagelight.step("call") as call,
        stagelight.workflow("inner") as inner,
    ):
        assert inner.id != outer.id
        assert len(inner.id) == 32
    child = next(run for run in stagelight_recorder.runs if run.name == "inner")
    assert child.parent_run_id == outer.id
    assert (child.span.attributes or {})["workflow.parent.step.id"] == call.id
    assert child.span.parent is not None
    assert child.span.parent.span_id == call.span.get_span_context().span_id


def test_nested_steps_know_their_parent_step(stagelight_recorder: Recorder) -> None:
    with stagelight.workflow("w"), stagelight.step("outer") as outer, stagelight.step("inner"):
        pass
    assert {s.name: s.parent_step_id for s in stagelight_recorder.steps} == {"outer": "", "inner": outer.id}


def test_a_step_outside_a_run_is_a_trace_of_its_own(stagelight_recorder: Recorder) -> None:
    double(1)
    (step,) = stagelight_recorder.steps
    context = step.span.get_span_context()
    assert context is not None
    assert step.run_id == f"{context.trace_id:032x}"


def test_an_error_is_recorded_and_is_the_very_same_object_outside(stagelight_recorder: Recorder) -> None:
    error = ValueError("no rows")
    cause = KeyError("before")

    @stagelight.step
    def fail() -> None:
        raise error

    @stagelight.workflow
    def main() -> None:
        try:
            raise cause
        except KeyError:
            fail()

    with pytest.raises(ValueError, match="no rows") as caught:
        main()
    assert caught.value is error
    assert error.__context__ is cause
    assert error.__cause__ is None
    (step,) = stagelight_recorder.steps
    assert step.error is not None
    assert (step.error.type, step.error.message) == ("ValueError", "no rows")
    assert "raise error" in step.error.stacktrace
    assert stagelight_recorder.runs[0].status == "failed"
    assert step.span.status.status_code is StatusCode.ERROR


async def test_async_functions_and_blocks_are_recorded(stagelight_recorder: Recorder) -> None:
    @stagelight.workflow
    async def main() -> int:
        async with stagelight.step("wait"):
            await asyncio.sleep(0)
        return await slow_double(4)

    assert_type(await main(), int)
    assert [step.name for step in stagelight_recorder.steps] == ["wait", "slow_double"]


async def test_parallel_steps_share_their_parent_and_not_each_other(stagelight_recorder: Recorder) -> None:
    async with stagelight.workflow("w"), stagelight.step("all") as outer, asyncio.TaskGroup() as group:
        for number in range(8):
            group.create_task(slow_double(number))
    parallel = [step for step in stagelight_recorder.steps if step.name == "slow_double"]
    assert {step.parent_step_id for step in parallel} == {outer.id}
    assert len({step.id for step in parallel}) == 8
    assert {step.attempt for step in parallel} == {1}


async def test_a_cancelled_step_fails_with_the_cancellation(stagelight_recorder: Recorder) -> None:
    entered = asyncio.Event()

    @stagelight.step
    async def forever() -> None:
        entered.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(forever())
    await entered.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    (step,) = stagelight_recorder.steps
    assert step.error is not None
    assert step.error.type == "asyncio.exceptions.CancelledError"


def test_methods_class_methods_and_static_methods_are_steps(stagelight_recorder: Recorder) -> None:
    class Loader:
        @stagelight.step
        def one(self, number: int) -> int:
            return number

        @classmethod
        @stagelight.step
        def two(cls) -> str:
            return cls.__name__

        @staticmethod
        @stagelight.step
        def three() -> int:
            return 3

    assert (Loader().one(1), Loader.two(), Loader.three()) == (1, "Loader", 3)
    assert [step.name for step in stagelight_recorder.steps] == ["one", "two", "three"]


def test_threads_and_executors_keep_the_parent(stagelight_recorder: Recorder) -> None:
    with stagelight.workflow("w") as run:
        thread = threading.Thread(target=double, args=(1,))
        thread.start()
        thread.join()
        with ThreadPoolExecutor(1) as pool:
            assert list(pool.map(double, [1, 2])) == [2, 4]
    assert [step.run_id for step in stagelight_recorder.steps] == [run.id] * 3


def test_a_pool_s_thread_forgets_the_run_that_started_it(stagelight_recorder: Recorder) -> None:
    with ThreadPoolExecutor(1) as pool:
        with stagelight.workflow("w") as run:
            pool.submit(double, 1).result()
        pool.submit(double, 2).result()
    first, second = stagelight_recorder.steps
    assert first.run_id == run.id
    assert second.run_id != run.id


async def test_run_in_executor_keeps_the_parent(stagelight_recorder: Recorder) -> None:
    async with stagelight.workflow("w") as run:
        await asyncio.get_running_loop().run_in_executor(None, double, 1)
        await asyncio.to_thread(double, 2)
    assert [step.run_id for step in stagelight_recorder.steps] == [run.id] * 2


def test_what_is_said_goes_to_the_innermost_scope(stagelight_recorder: Recorder) -> None:
    with stagelight.workflow("w") as run:
        stagelight.log("begun", rows=3)
        with stagelight.step("s") as step:
            stagelight.progress(1, 4, "a quarter")
            stagelight.set({"password": "hunter2"}, size=2)
        run.set({"owner": "me"})
    said = [
        event for event in stagelight_recorder.events if event.type in {EventType.LOG, EventType.PROGRESS}
    ]
    assert [(e.step_id, e.message, e.current, e.total) for e in said] == [
        ("", "begun", None, None),
        (step.id, "a quarter", 1, 4),
        (step.id, "", None, None),
        ("", "", None, None),
    ]
    assert said[0].attributes == {"rows": 3}
    assert said[0].severity == "INFO"
    assert said[2].attributes == {"size": 2, "password": "[redacted]"}
    assert stagelight_recorder.steps[0].attributes == {"size": 2, "password": "[redacted]"}
    assert stagelight_recorder.runs[0].attributes == {"owner": "me"}


def test_outside_a_run_nothing_is_said(stagelight_recorder: Recorder) -> None:
    stagelight.log("x")
    stagelight.progress(1)
    stagelight.set(a=1)
    assert stagelight_recorder.events == []


def test_what_is_said_after_the_end_is_nothing(stagelight_recorder: Recorder) -> None:
    with stagelight.workflow("w") as run:
        pass
    run.log("late")
    run.set(late=True)
    assert [event.type for event in stagelight_recorder.events] == [
        EventType.RUN_STARTED,
        EventType.RUN_COMPLETED,
    ]


def test_a_span_of_somebody_else_inside_a_step_belongs_to_the_run(stagelight_recorder: Recorder) -> None:
    tracer = stagelight_recorder.tracer_provider.get_tracer("http")
    with stagelight.workflow("w") as run, stagelight.step("s") as step, tracer.start_as_current_span("GET /"):
        pass
    found = next(span for span in stagelight_recorder.spans if span.name == "GET /")
    assert found.attributes is not None
    assert found.attributes["workflow.run.id"] == run.id
    assert found.attributes["workflow.parent.step.id"] == step.id
    assert found.parent is not None
    assert found.parent.span_id == step.span.get_span_context().span_id


def test_the_same_block_can_be_opened_again_inside_itself(stagelight_recorder: Recorder) -> None:
    step = stagelight.step("again")
    with stagelight.workflow("w"):
        with step as outer, step as inner:
            assert outer.id != inner.id
        with step:
            pass
    assert [s.parent_step_id for s in stagelight_recorder.steps] == ["", outer.id, ""]


def test_recursion_is_nested_steps(stagelight_recorder: Recorder) -> None:
    @stagelight.step
    def count(number: int) -> int:
        return 0 if number == 0 else 1 + count(number - 1)

    assert count(3) == 3
    steps = stagelight_recorder.steps
    assert [step.parent_step_id for step in steps] == ["", *(step.id for step in steps[:-1])]


def test_decorated_functions_keep_what_they_are() -> None:
    assert inspect.iscoroutinefunction(slow_double)
    assert double.__name__ == "double"
    assert str(inspect.signature(double)) == "(number: 'int') -> 'int'"


def test_a_start_carries_the_attributes_and_the_very_time_of_its_span(stagelight_recorder: Recorder) -> None:
    with stagelight.workflow("w"), stagelight.step("s"):
        pass
    starts = [event for event in stagelight_recorder.events if event.type.value.endswith("_started")]
    (run,), (step,) = stagelight_recorder.runs, stagelight_recorder.steps
    assert [start.time for start in starts] == [run.span.start_time, step.span.start_time]
    assert (starts[1].step_id, starts[1].step_name, starts[1].attempt) == (step.id, "s", 1)
    assert starts[1].span_id == step.id


@pytest.mark.parametrize("decorate", [stagelight.step, stagelight.step(name="x"), stagelight.workflow])
def test_a_decorated_class_stays_the_class_and_is_told_to_decorate_its_methods(
    decorate: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("stagelight.guard._said", set[str]())

    class Loader:
        """Loads."""

    assert decorate(Loader) is Loader
    assert decorate(Loader) is Loader
    assert len(caplog.messages) == 1
    assert "Loader" in caplog.messages[0]
    assert "decorate its methods" in caplog.messages[0]


def test_importing_everything_leaves_the_built_in_names_alone() -> None:
    names: dict[str, Any] = {}
    exec("from stagelight import *\nfound = set([1])", names)  # noqa: S102 - a star import is for modules only
    assert names["found"] == {1}
    assert "log" not in names
    assert callable(names["progress"])
    assert callable(stagelight.set)
    assert {"set", "log", "step"} <= {*dir(stagelight)}
