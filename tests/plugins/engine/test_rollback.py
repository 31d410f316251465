"""Rollback: handlers with retries and timeouts, by decorator, by hand, and after a restart."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

import pytest

from stagelight_plugins.engine import NonRetryableError, Status, StepFailed, WorkflowEntrypoint, WorkflowEvent
from stagelight_plugins.engine.testing import engine_for_tests

if TYPE_CHECKING:
    from tests.plugins.engine.conftest import Bench

    from stagelight_plugins.engine.calls import RollbackContext
    from stagelight_plugins.engine.step import Step
else:
    Bench = Any

undone: list[Any] = []


@pytest.fixture(autouse=True)
def _fresh() -> None:
    undone.clear()


class Flow(WorkflowEntrypoint):
    """Does what the test says."""

    body: Any = None

    async def run(self, event: WorkflowEvent[Any], step: Step) -> Any:
        return await type(self).body(event, step)


def flow(body: Any) -> type[WorkflowEntrypoint]:
    return type("Flow", (Flow,), {"body": staticmethod(body)})


async def test_a_handler_is_told_its_step_its_output_the_error_and_its_attempt_and_is_tried_again() -> None:
    async def undo(context: RollbackContext) -> None:
        undone.append((context.step.name, context.step.count, context.output, context.error, context.attempt))
        if context.attempt < 3:
            raise OSError("the bank is closed")

    async def body(_: Any, step: Step) -> Any:
        await step.do(
            "a", lambda: {"paid": 1}, rollback=undo, rollback_retries={"limit": 2, "delay": "1 hour"}
        )
        raise RuntimeError("all is lost")

    async with engine_for_tests(flow(body)) as engine:
        run = await engine.create("Flow")
        await engine.advance("6 days")
        info = await run.status(Status.ERRORED)
        events = await run.events()

    assert undone == [("a", 1, {"paid": 1}, "all is lost", attempt) for attempt in (1, 2, 3)]
    assert info.rollback
    assert info.rollback.outcome == "complete"
    assert info.ended - info.started >= 3 * 3_600_000
    assert [name for name in events if "rollback" in name] == [
        "rollback_started",
        "rollback_step_started",
        *("rollback_attempt_started", "rollback_attempt_errored") * 2,
        "rollback_attempt_started",
        "rollback_attempt_completed",
        "rollback_step_completed",
        "rollback_completed",
    ]


@pytest.mark.parametrize("kind", ["async", "thread"])
async def test_a_handler_that_hangs_is_timed_out(bench: Bench, kind: str) -> None:
    free = threading.Event()

    async def hangs() -> None:
        await asyncio.Event().wait()

    async def body(_: Any, step: Step) -> Any:
        handler = hangs if kind == "async" else lambda: free.wait(60)
        await step.do("a", lambda: 1, rollback=handler, rollback_retries=0, rollback_timeout=40)
        raise RuntimeError("all is lost")

    await bench.open(flow(body))
    info = await bench.run(flow(body))
    free.set()

    assert info.rollback
    assert info.rollback.error
    assert info.rollback.error.message == "StepTimedOut: the handler took more than 40 ms"
    assert info.error
    assert info.error.message == "all is lost"


async def test_a_handler_that_says_so_is_not_tried_again(bench: Bench) -> None:
    def undo() -> None:
        undone.append("a")
        raise NonRetryableError("it cannot be undone")

    async def body(_: Any, step: Step) -> Any:
        await step.do("a", lambda: 1, rollback=undo)
        raise RuntimeError("all is lost")

    await bench.open(flow(body))
    info = await bench.run(flow(body))

    assert undone == ["a"]
    assert info.rollback
    assert info.rollback.outcome == "failed"


async def test_the_order_is_that_in_which_steps_began_not_ended(bench: Bench) -> None:
    async def body(_: Any, step: Step) -> Any:
        second = asyncio.Event()

        async def slow() -> None:
            await second.wait()

        async def quick() -> None:
            second.set()

        await asyncio.gather(
            step.do("first", slow, rollback=lambda: undone.append("first")),
            step.do("second", quick, rollback=lambda: undone.append("second")),
        )
        raise RuntimeError("all is lost")

    await bench.open(flow(body))
    await bench.run(flow(body))

    assert undone == ["second", "first"]


async def test_an_error_that_run_catches_undoes_nothing(bench: Bench) -> None:
    async def body(_: Any, step: Step) -> Any:
        try:
            await step.do("a", lambda: 1 / 0, retries=0, rollback=lambda: undone.append("a"))
        except StepFailed:
            return "went on"

    await bench.open(flow(body))

    assert (await bench.run(flow(body))).output == "went on"
    assert undone == []


async def test_a_handler_is_given_by_a_decorator_and_called_by_hand(bench: Bench) -> None:
    async def body(_: Any, step: Step) -> Any:
        @step.with_rollback("charge", retries=0)
        async def charge() -> int:
            return 5

        @charge.undo
        async def refund(context: RollbackContext) -> None:
            undone.append(("refund", context.output))

        @step.with_rollback("reserve")
        async def reserve() -> str:
            return "seat"

        @reserve.undo
        def release() -> None:
            undone.append("release")
            raise NonRetryableError("it is gone")

        await charge()
        await reserve()
        try:
            await step.rollback_all()
        except StepFailed as error:
            first = error.step
        else:
            first = "none"
        return first

    await bench.open(flow(body))
    info = await bench.run(flow(body))

    assert (info.status, info.output) == (Status.COMPLETE, "reserve")
    assert undone == ["release"]


async def test_undoing_by_hand_may_go_on_after_an_error(bench: Bench) -> None:
    async def body(_: Any, step: Step) -> Any:
        def fails() -> None:
            raise NonRetryableError("no")

        await step.do("a", lambda: 1, rollback=lambda: undone.append("a"))
        await step.do("b", lambda: 1, rollback=fails)
        try:
            await step.rollback_all(continue_on_error=True)
        except StepFailed as error:
            return [error.step, error.message]

    await bench.open(flow(body))

    assert (await bench.run(flow(body))).output == ["b", "no"]
    assert undone == ["a"]


async def test_a_rollback_that_a_crash_cut_off_goes_on_and_undoes_nothing_twice(bench: Bench) -> None:
    began = asyncio.Event()

    async def stuck() -> None:
        undone.append("stuck")
        began.set()
        if undone.count("stuck") == 1:
            await asyncio.Event().wait()

    async def body(_: Any, step: Step) -> Any:
        await step.do("a", lambda: 1, rollback=lambda: undone.append("a"))
        await step.do("b", lambda: 1, rollback=stuck)
        await step.do("c", lambda: 1, rollback=lambda: undone.append("c"))
        raise RuntimeError("all is lost")

    plane = await bench.open(flow(body))
    made = await plane.create("Flow")
    await asyncio.wait_for(began.wait(), 60)
    await plane.house.ledger.durable()
    plane.house.ledger.abandon()
    await bench.reopen()
    info = await bench.until("Flow", made.id)

    assert undone == ["c", "stuck", "stuck", "a"]
    assert info.rollback
    assert (info.status, info.rollback.outcome) == (Status.ERRORED, "complete")
