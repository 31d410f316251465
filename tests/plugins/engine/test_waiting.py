"""Events and what waits for them: queues by type, exactly one of event and timeout, and how many are kept."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from stagelight_plugins.engine import Status, WaitTimedOut, WorkflowEntrypoint, WorkflowEvent
from stagelight_plugins.engine.errors import LimitReached, TooLarge
from stagelight_plugins.engine.limits import Limits
from stagelight_plugins.engine.testing import engine_for_tests

if TYPE_CHECKING:
    from tests.plugins.engine.conftest import Bench

    from stagelight_plugins.engine.step import Step
else:
    Bench = Any


class Two(WorkflowEntrypoint):
    """Opens a gate, then waits for two types in turns."""

    async def run(self, event: WorkflowEvent[Any], step: Step) -> Any:
        await step.wait_for_event("gate", event_type="open")
        return [
            (await step.wait_for_event(f"w{n}", event_type=kind)).payload for n, kind in enumerate("abab")
        ]


async def test_events_are_queued_by_type_and_do_not_pass_each_other(bench: Bench) -> None:
    plane = await bench.open(Two)
    made = await plane.create("Two")
    for kind, payload in (("b", "b1"), ("b", "b2"), ("a", "a1"), ("a", "a2"), ("open", None)):
        await plane.send_event("Two", made.id, kind, payload)

    assert (await bench.until("Two", made.id)).output == ["a1", "b1", "a2", "b2"]


class Both(WorkflowEntrypoint):
    """Two wait for the same type at once."""

    async def run(self, event: WorkflowEvent[Any], step: Step) -> Any:
        found = await asyncio.gather(
            *(step.wait_for_event(name, event_type="go") for name in ("first", "second"))
        )
        return [event.payload for event in found]


async def test_of_two_that_wait_for_a_type_each_event_feeds_one(bench: Bench) -> None:
    plane = await bench.open(Both)
    made = await plane.create("Both")
    await bench.until("Both", made.id, frozenset({Status.WAITING}))
    await plane.send_event("Both", made.id, "go", 1)
    (first, second) = await plane.steps("Both", made.id)
    assert (first.state, second.state) == ("completed", "waiting")
    await plane.send_event("Both", made.id, "go", 2)

    assert (await bench.until("Both", made.id)).output == [1, 2]


class Timed(WorkflowEntrypoint):
    """A wait with the default timeout."""

    async def run(self, event: WorkflowEvent[Any], step: Step) -> Any:
        try:
            return (await step.wait_for_event("w", event_type="go")).payload
        except WaitTimedOut as error:
            await step.sleep("nap", "1 day")
            return [error.step, error.event_type]


async def test_a_wait_is_over_after_24_hours_unless_told_otherwise() -> None:
    async with engine_for_tests(Timed) as engine:
        run = await engine.create(Timed)
        await run.status(Status.WAITING)
        (step,) = await run.steps()
        assert step.due - step.started == 24 * 3_600_000
        await engine.advance("23 hours")
        assert (await run.steps())[0].state == "waiting"
        await engine.advance("26 hours")
        assert (await run.status(Status.COMPLETE)).output == ["w", "go"]


@pytest.mark.parametrize("first", ["the event", "the timeout"])
async def test_at_the_instant_of_the_timeout_it_is_the_event_or_the_timeout_never_both(first: str) -> None:
    async with engine_for_tests(Timed) as engine:
        run = await engine.create(Timed)
        await run.status(Status.WAITING)
        (step,) = await run.steps()
        engine.clock.move(step.due - engine.clock.now())
        if first == "the timeout":
            engine.plane.house.alarms.look()
            await engine.settled()
        await run.send_event("go", "in time")
        await engine.advance("2 days")
        info = await run.status(Status.COMPLETE)
        events = await run.events()

        assert sum(name in {"wait_completed", "wait_timed_out"} for name in events) == 1
        assert info.output == ("in time" if first == "the event" else ["w", "go"])


class Deaf(WorkflowEntrypoint):
    """Waits for something that nobody sends."""

    async def run(self, event: WorkflowEvent[Any], step: Step) -> Any:
        await step.wait_for_event("w", event_type="never")


async def test_an_instance_keeps_so_many_events_and_refuses_the_next(bench: Bench) -> None:
    plane = await bench.open(Deaf, limits=Limits(waiting_events=50))
    made = await plane.create("Deaf")
    await asyncio.gather(*(plane.send_event("Deaf", made.id, "go", n) for n in range(50)))
    with pytest.raises(LimitReached, match="the limit is 50; let its steps wait for them"):
        await plane.send_event("Deaf", made.id, "go")
    plane = await bench.reopen(limits=Limits(waiting_events=50))
    with pytest.raises(LimitReached):
        await plane.send_event("Deaf", made.id, "go")

    assert (await bench.until("Deaf", made.id, frozenset({Status.WAITING}))).wakes
    # The one that a step waits for is taken all the same: else nothing could ever go on.
    await plane.send_event("Deaf", made.id, "never")
    assert (await bench.until("Deaf", made.id)).status is Status.COMPLETE


async def test_an_instance_keeps_no_more_than_its_state_may_be(bench: Bench) -> None:
    plane = await bench.open(Deaf, limits=Limits(state_bytes=2_000))
    made = await plane.create("Deaf")
    await plane.send_event("Deaf", made.id, "go", "x" * 1_000)
    with pytest.raises(TooLarge, match="all that this instance keeps has"):
        await plane.send_event("Deaf", made.id, "go", "x" * 1_000)
