"""When a step is tried again: the law of its delays, under a clock that the test moves."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Any

import pytest

from stagelight_plugins.engine import Retries, Status, StepFailed, WorkflowEntrypoint, WorkflowEvent
from stagelight_plugins.engine.errors import Invalid
from stagelight_plugins.engine.retries import step_config
from stagelight_plugins.engine.testing import engine_for_tests

if TYPE_CHECKING:
    from tests.plugins.engine.conftest import Bench

    from stagelight_plugins.engine.calls import StepContext
    from stagelight_plugins.engine.step import Step
else:
    Bench = Any


class Fails(WorkflowEntrypoint):
    """A step that fails for good, with what the test wants for its retries."""

    options: Any = None

    async def run(self, event: WorkflowEvent[Any], step: Step) -> Any:
        def fail() -> None:
            raise ValueError("no")

        try:
            await step.do("it", fail, **type(self).options)
        except StepFailed as error:
            return [error.type, error.message, error.attempts]


def fails(**options: Any) -> type[WorkflowEntrypoint]:
    return type("Fails", (Fails,), {"options": options})


async def waits(**options: Any) -> list[int]:
    """Return how long each attempt waited for the one after it, ms."""
    async with engine_for_tests(fails(**options)) as engine:
        run = await engine.create("Fails")
        await engine.advance("6 days")
        await run.status(Status.COMPLETE)
        (step,) = await run.steps()
        return [
            later.started - earlier.ended
            for earlier, later in zip(step.attempts, step.attempts[1:], strict=False)
        ]


async def test_the_default_is_five_retries_exponential_from_a_second_and_ten_minutes_each() -> None:
    assert await waits() == [1_000, 2_000, 4_000, 8_000, 16_000]
    assert (Retries().limit, Retries().delay, Retries().backoff) == (5, 1_000, "exponential")
    async with engine_for_tests(fails()) as engine:
        engine.force_step_timeout("it")
        run = await engine.create("Fails")
        await engine.advance("1 hour")
        assert (await run.info()).output == ["StepTimedOut", "attempt 6 took more than 600,000 ms", 6]


@pytest.mark.parametrize(
    ("backoff", "found"),
    [("constant", [10, 10, 10]), ("linear", [10, 20, 30]), ("exponential", [10, 20, 40])],
)
async def test_the_delay_is_constant_linear_or_exponential(backoff: str, found: list[int]) -> None:
    assert await waits(retries={"limit": 3, "delay": "0.01 seconds", "backoff": backoff}) == found


async def test_a_delay_is_a_year_at_most() -> None:
    assert Retries(delay="1 day", limit=60).after(60) == 365 * 86_400_000


async def test_the_delay_may_be_a_function_of_the_context_and_the_error() -> None:
    heard: list[Any] = []

    def delay(ctx: StepContext, error: BaseException) -> str:
        heard.append((ctx.step.name, ctx.step.count, ctx.attempt, ctx.config["retries"]["delay"], str(error)))
        return f"{ctx.attempt} minutes"

    async def later(ctx: StepContext, error: BaseException) -> int:
        return len(str(error)) * ctx.attempt

    assert await waits(retries={"limit": 2, "delay": delay}) == [60_000, 120_000]
    assert heard == [("it", 1, 1, "function", "no"), ("it", 1, 2, "function", "no")]
    assert await waits(retries={"limit": 2, "delay": later}) == [2, 4]


@pytest.mark.parametrize("how", ["raises", "exits", "gives nonsense"])
async def test_a_delay_function_that_fails_costs_a_second_and_harms_nobody(how: str) -> None:
    def delay(ctx: StepContext, _: BaseException) -> Any:
        if how == "exits":
            sys.exit(3)
        return ctx.attempt / 0 if how == "raises" else "soon"

    assert await waits(retries={"limit": 1, "delay": delay}) == [1_000]


async def test_retries_and_timeout_may_be_one_config_in_the_words_of_the_public_api() -> None:
    config = {"retries": {"limit": 1, "delay": "5 seconds", "backoff": "linear"}, "timeout": "2 minutes"}

    assert await waits(config=config) == [5_000]
    async with engine_for_tests(fails(config=config)) as engine:
        run = await engine.create("Fails")
        await engine.advance("1 minute")
        (step,) = await run.steps()
        assert step.config == {
            "retries": {"limit": 1, "delay": 5_000, "backoff": "linear"},
            "timeout": 120_000,
        }


@pytest.mark.parametrize(
    ("retries", "says"),
    [
        (-1, "a retry limit of -1 is not allowed"),
        ({"limit": 1, "delai": 2}, "retries have no delai; they have limit, delay and backoff"),
        ({"backoff": "random"}, "'random' is no backoff; write one of constant, linear, exponential"),
        ({"delay": "soon"}, "'soon' is no duration"),
    ],
)
def test_retries_that_cannot_be_meant_are_refused(retries: Any, says: str) -> None:

    with pytest.raises(Invalid, match=says):
        step_config(retries, None)


@pytest.mark.parametrize(("delay", "waits"), [("1 hour", Status.WAITING), (50, Status.RUNNING)])
async def test_pausing_cuts_a_wait_for_a_retry(delay: Any, waits: Status) -> None:
    async with engine_for_tests(fails(retries={"limit": 1, "delay": delay})) as engine:
        run = await engine.create("Fails")
        await engine.settled()
        assert (await run.info()).status is waits
        assert (await engine.plane.pause("Fails", run.id)).status is Status.PAUSED
        await engine.advance("2 hours")
        assert (await run.info()).status is Status.PAUSED
        await engine.plane.resume("Fails", run.id)
        assert (await run.status(Status.COMPLETE)).output == ["ValueError", "no", 2]


async def test_an_attempt_during_which_the_process_died_is_failed_and_tried_again(bench: Bench) -> None:
    began, ran = asyncio.Event(), 0

    class Dies(WorkflowEntrypoint):
        async def run(self, event: WorkflowEvent[Any], step: Step) -> Any:
            async def work(ctx: StepContext) -> int:
                nonlocal ran
                ran += 1
                began.set()
                if ran == 1:
                    await asyncio.Event().wait()
                return ctx.attempt

            return await step.do("work", work)

    plane = await bench.open(Dies)
    made = await plane.create("Dies")
    await asyncio.wait_for(began.wait(), 60)
    await plane.house.ledger.durable()
    plane.house.ledger.abandon()
    plane = await bench.reopen()
    info = await bench.until("Dies", made.id)
    (step,) = await plane.steps("Dies", made.id)

    assert (info.output, ran) == (2, 2)
    assert [attempt.error.name if attempt.error else None for attempt in step.attempts] == [
        "Interrupted",
        None,
    ]
