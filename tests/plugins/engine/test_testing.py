"""The test kit: what it promises to those who test their workflows with it; and the clock, which it moves."""

from __future__ import annotations

import asyncio
import time
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from stagelight_plugins.engine import Status, StepFailed, WaitTimedOut, WorkflowEntrypoint, WorkflowEvent
from stagelight_plugins.engine.facts import EventName
from stagelight_plugins.engine.testing import engine_for_tests

if TYPE_CHECKING:
    from collections.abc import Iterator

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


class Slow(WorkflowEntrypoint):
    """A step that takes as long as the test wants, then an hour of sleep."""

    gate: asyncio.Event
    began: asyncio.Event

    async def run(self, event: WorkflowEvent[Any], step: Step) -> Any:
        async def work() -> str:
            self.began.set()
            await self.gate.wait()
            return "done"

        done = await step.do("work", work, timeout="10 minutes", retries=0)
        await step.sleep("nap", "1 hour")
        return done


async def test_a_machine_that_was_suspended_wakes_its_sleeps_once_and_times_out_no_step() -> None:
    Slow.gate, Slow.began = asyncio.Event(), asyncio.Event()
    async with engine_for_tests(Slow) as engine:
        run = await engine.create(Slow)
        await asyncio.wait_for(Slow.began.wait(), 60)
        # Wall time goes on while the machine is suspended, the steady clock stands still.
        engine.clock.time += 3_600_000
        engine.plane.house.timers.poke()
        Slow.gate.set()
        await run.status(Status.WAITING)
        (sleep,) = [step for step in await run.steps() if step.type == "sleep"]
        engine.clock.time += 3_599_000
        engine.plane.house.timers.poke()
        await engine.advance(0)
        early = (await run.info()).status
        engine.clock.time += 1_000
        await engine.advance(0)
        info = await run.status(Status.COMPLETE)

        assert early is Status.WAITING
        assert info.output == "done"
        assert engine.clock.time == sleep.due
        assert (await run.events()).count(EventName.SLEEP_COMPLETED) == 1
        assert EventName.ATTEMPT_ERRORED not in await run.events()


@pytest.fixture
def new_york(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A machine whose local time has daylight saving."""
    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.usefixtures("new_york")
@pytest.mark.parametrize("day", ["2027-03-13", "2027-11-06"])
async def test_daylight_saving_moves_no_sleep_and_no_schedule(day: str) -> None:
    class Nightly(WorkflowEntrypoint):
        schedules = ("30 6 * * *",)  # 01:30 in New York, an hour that comes twice in November

        async def run(self, event: WorkflowEvent[Any], step: Step) -> Any:
            assert event.schedule
            await step.sleep("a day", "1 day")
            return event.schedule.scheduled_time.isoformat()

    async with engine_for_tests(Nightly) as engine:
        engine.clock.set(round(datetime.fromisoformat(f"{day}T00:00:00+00:00").timestamp() * 1_000))
        await engine.plane.register(Nightly)
        before = {info.id for info in (await engine.plane.list("Nightly")).instances}
        await engine.advance("3 days")
        infos = [info for info in (await engine.plane.list("Nightly")).instances if info.id not in before]
        found = [await engine.plane.get("Nightly", info.id) for info in infos]

        assert [info.trigger.scheduled % 86_400_000 for info in found] == [6.5 * 3_600_000] * len(found)
        assert len(found) == len({info.trigger.scheduled for info in found}) >= 3
        ended = [info for info in found if info.status is Status.COMPLETE]
        assert [info.ended - info.started >= 86_400_000 for info in ended] == [True] * len(ended)
        assert len(ended) >= 2


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


class Year(WorkflowEntrypoint):
    """As long a sleep as there is."""

    async def run(self, event: WorkflowEvent[Any], step: Step) -> Any:
        await step.sleep("a year", "365 days")
        return (step.now() - event.timestamp).days


async def test_a_sleep_of_a_year_ends_after_a_year() -> None:
    async with engine_for_tests(Year) as engine:
        run = await engine.create(Year)
        await engine.advance("364 days")
        assert (await run.info()).status is Status.WAITING
        await engine.advance("1 day")

        assert (await run.status(Status.COMPLETE)).output == 365
