"""The test kit: what it promises to those who test their workflows with it; and the clock, which it moves."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from stagelight_plugins.engine import Status, StepFailed, WaitTimedOut, WorkflowEntrypoint, WorkflowEvent
from stagelight_plugins.engine.contract import EventName
from stagelight_plugins.engine.testing import engine_for_tests

if TYPE_CHECKING:
    from stagelight_plugins.engine.step import Step


class Onboarding(WorkflowEntrypoint):
    """A step, a long sleep, an approval, a step."""

    async def run(self, event: WorkflowEvent[Any], step: Step) -> Any:
        user = await step.do("create user", lambda: {"id": event.payload})
        await step.sleep("settle in", "3 days")
        try:
            approval = await step.wait_for_event("approval", event_type="approval", timeout="24 hours")
        except WaitTimedOut:
            return "nobody came"
        try:
            sent = await step.do("send", lambda: "sent", timeout="1 minute")
        except StepFailed as error:
            return error.type
        return [user, approval.payload, sent]


async def test_time_moves_only_when_told_and_what_is_due_comes_at_its_time() -> None:
    async with engine_for_tests(Onboarding) as engine:
        run = await engine.create(Onboarding, 7)
        begun = engine.now
        await run.status(Status.WAITING)
        await engine.advance("2 days")
        assert (await run.info()).status is Status.WAITING
        await engine.advance("1 day")
        (sleep,) = [step for step in await run.steps() if step.type == "sleep"]
        assert sleep.ended - sleep.started == 3 * 86_400_000
        await engine.advance("25 hours")

        assert (await run.status(Status.COMPLETE)).output == "nobody came"
        assert engine.now - begun == timedelta(days=4, hours=1)


async def test_steps_events_and_sleeps_do_as_told() -> None:
    async with engine_for_tests(Onboarding) as engine:
        engine.disable_sleeps("settle in")
        engine.disable_retry_delays()
        engine.mock_step_result("create user", {"id": "mocked"})
        engine.mock_step_error("send", ValueError("busy"), times=2)
        engine.force_step_timeout("send", times=1)
        engine.mock_event("approval", {"by": "boss"})
        run = await engine.create(Onboarding, 7)
        send = await run.step("send")
        info = await run.status(Status.COMPLETE)

        assert info.output == [{"id": "mocked"}, {"by": "boss"}, "sent"]
        assert [attempt.error.name if attempt.error else "" for attempt in send.attempts] == [
            "ValueError", "ValueError", "StepTimedOut", "",
        ]  # fmt: skip


async def test_a_forced_event_timeout_needs_no_time() -> None:
    async with engine_for_tests(Onboarding) as engine:
        engine.disable_sleeps()
        engine.force_event_timeout("approval")
        run = await engine.create(Onboarding, 7)

        assert (await run.status("complete")).output == "nobody came"


async def test_waiting_for_what_cannot_come_says_where_the_run_is() -> None:
    async with engine_for_tests(Onboarding) as engine:
        run = await engine.create(Onboarding, 7)
        with pytest.raises(AssertionError, match="is waiting, not complete"):
            await run.status("complete")
        with pytest.raises(
            AssertionError, match=r"there are: create user \(completed\), settle in \(waiting\)"
        ):
            await run.step("send")


@pytest.mark.parametrize(("jump", "then"), [(-10, "14 days"), (10, "2 days")])
async def test_no_sleep_ends_early_when_the_clock_is_set(jump: int, then: str) -> None:
    async with engine_for_tests(Onboarding) as engine:
        run = await engine.create(Onboarding, 7)
        await run.status(Status.WAITING)
        (sleep,) = [step for step in await run.steps() if step.type == "sleep"]
        engine.clock.set(engine.clock.time + jump * 86_400_000)
        await engine.advance(1)
        woke = [step for step in await run.steps() if step.type == "sleep" and step.state == "completed"]

        assert bool(woke) == (engine.clock.time >= sleep.due)
        await engine.advance(then)
        (slept,) = [step for step in await run.steps() if step.type == "sleep"]
        assert slept.ended >= sleep.due
        assert (await run.events()).count(EventName.SLEEP_COMPLETED) == 1


async def test_schedules_create_instances_on_time_and_each_time_once() -> None:
    class Nightly(WorkflowEntrypoint):
        schedules = ("0 2 * * *",)

        async def run(self, event: WorkflowEvent[Any], step: Step) -> Any:
            assert event.schedule
            return event.schedule.scheduled_time.hour

    async with engine_for_tests(Nightly) as engine:
        await engine.advance("3 days")
        page = await engine.plane.list("Nightly")
        for _ in range(3):
            await engine.plane.register(Nightly)
        again = await engine.plane.list("Nightly")
        outputs = [(await engine.plane.get("Nightly", info.id)).output for info in page.instances]

        assert outputs == [2, 2, 2]
        assert again.instances == page.instances
        assert page.instances[0].trigger.source == "cron"
