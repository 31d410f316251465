"""What the engine did reaches the rest of Stagelight: at least once, in order, as ordinary runs."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from stagelight.conventions import EventType as T, RunStatus, StepStatus
from stagelight_collector.rooms.state import Run
from stagelight_plugins.engine import WorkflowEntrypoint, WorkflowEvent
from stagelight_plugins.engine.limits import Limits
from stagelight_plugins.engine.publishing import Publisher
from stagelight_plugins.engine.testing import VirtualClock

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from tests.plugins.engine.conftest import Bench

    from stagelight.events import Event
    from stagelight_plugins.engine.control_plane import LocalControlPlane
    from stagelight_plugins.engine.step import Step
    from stagelight_plugins.hookspecs import Table
else:
    Bench = LocalControlPlane = Any


class Mixed(WorkflowEntrypoint):
    """A retry, a sleep, a failure."""

    async def run(self, event: WorkflowEvent[Any], step: Step) -> Any:
        async def flaky(ctx: Any) -> str:
            if ctx.attempt == 1:
                raise ValueError("again")
            return "fine"

        await step.do("flaky", flaky, retries={"limit": 2, "delay": 1})
        await step.sleep("nap", 120)
        await step.do("bad", lambda: 1 / 0, retries=0)


class Receiver:
    """Takes events, or refuses them."""

    def __init__(self, *, refuse: int = 0) -> None:
        self.events: list[Event] = []
        self.logs: list[Table] = []
        self.refuse = refuse
        self.ended = asyncio.Event()

    async def publish(self, events: Sequence[Event], logs: Table) -> None:
        self.events.extend(events)
        self.logs.append(logs)
        if self.refuse:
            self.refuse -= 1
            raise OSError("the collector goes down")
        if any(event.type in {T.RUN_FAILED, T.RUN_COMPLETED} for event in events):
            self.ended.set()


def state_of(events: Sequence[Event]) -> Run:
    """Return the run as rooms see it."""
    run = Run(events[0].run_id)
    for event in events:
        run.apply(event)
    return run


async def test_a_run_of_the_engine_is_an_ordinary_run(bench: Bench) -> None:
    plane = await bench.open(Mixed)
    receiver = Receiver(refuse=1)
    publisher = Publisher(plane.house, receiver.publish)
    await publisher.start()
    info = await bench.run(Mixed)
    await asyncio.wait_for(receiver.ended.wait(), 60)
    await publisher.stop()
    run = state_of(receiver.events)
    steps = {step.name.value: step for step in run.steps.values()}

    assert run.id == info.id
    assert run.status is RunStatus.FAILED
    assert {name: step.status for name, step in steps.items()} == {
        "flaky": StepStatus.COMPLETED,
        "nap": StepStatus.COMPLETED,
        "bad": StepStatus.FAILED,
    }
    assert {name: (step.kind.value, step.attempt) for name, step in steps.items()} == {
        "flaky": ("do", 2),
        "nap": ("sleep", 1),
        "bad": ("do", 1),
    }


def certain(events: Sequence[Event]) -> list[T]:
    """Return what happens however slow the machine is: one that is late to begin a short sleep does not set it aside."""
    aside = {T.RUN_WAITING, T.RUN_QUEUED, T.RUN_RESUMED}
    return [event.type for event in events if event.type not in aside]


async def test_what_was_confirmed_is_not_told_again_after_a_restart(bench: Bench) -> None:
    plane = await bench.open(Mixed)
    first = Receiver()
    publisher = Publisher(plane.house, first.publish)
    await publisher.start()
    await bench.run(Mixed)
    await asyncio.wait_for(first.ended.wait(), 60)
    await publisher.stop()
    plane = await bench.reopen()
    second = Receiver()
    publisher = Publisher(plane.house, second.publish)
    await publisher.start()
    await bench.run(Mixed)
    await asyncio.wait_for(second.ended.wait(), 60)
    await publisher.stop()

    assert {event.run_id for event in first.events}.isdisjoint({event.run_id for event in second.events})
    assert certain(second.events) == certain(first.events)


async def test_health_tells_how_much_was_not_taken_yet(bench: Bench) -> None:
    plane = await bench.open(Mixed)
    receiver = Receiver(refuse=10**6)
    publisher = Publisher(plane.house, receiver.publish)
    await publisher.start()
    await bench.run(Mixed)
    waiting = plane.health().unpublished
    rows = len(plane.house.store.outbox(0, 1_000))
    receiver.refuse = 0
    async with asyncio.timeout(60):
        while plane.health().unpublished:  # noqa: ASYNC110 - a figure tells nobody
            await asyncio.sleep(0.01)
    await publisher.stop()

    assert waiting == rows > 5


class Picky(Receiver):
    """Refuses the first events that come with code."""

    async def publish(self, events: Sequence[Event], logs: Table) -> None:
        before = names(self.logs)
        await super().publish(events, logs)
        if "workflow.source" in names(self.logs) and "workflow.source" not in before:
            raise OSError("the collector goes down")


def names(logs: Sequence[Table]) -> list[str]:
    return [name for table in logs for name in table.get("EventName", ())]


async def test_the_code_of_a_version_is_told_with_its_first_run_and_again_until_it_is_taken(
    bench: Bench,
) -> None:
    plane = await bench.open(Mixed)
    receiver = Picky()
    publisher = Publisher(plane.house, receiver.publish)
    await publisher.start()
    made = [await bench.run(Mixed) for _ in range(2)]
    async with asyncio.timeout(60):
        while plane.health().unpublished:  # noqa: ASYNC110 - a figure tells nobody
            await asyncio.sleep(0.01)
    await publisher.stop()
    (version,) = await plane.versions("Mixed")
    rows = [attributes for logs in receiver.logs for attributes in logs.get("LogAttributes", ())]
    told = list(zip(names(receiver.logs), rows, strict=True))
    sources = [attributes for name, attributes in told if name == "workflow.source"]

    assert [one["workflow.version"] for one in sources] == [version.id] * 2
    assert [one["workflow.source.path"] for one in sources] == ["test_publishing.py"] * 2
    assert {one["workflow.run.id"] for name, one in told if name == "workflow.run_started"} == {
        info.id for info in made
    }


class Again(WorkflowEntrypoint):
    """A retry, then a wait."""

    async def run(self, event: WorkflowEvent[Any], step: Step) -> Any:
        async def flaky(ctx: Any) -> int:
            if ctx.attempt == 1:
                raise ValueError("again")
            return int(ctx.attempt)

        await step.do("flaky", flaky, retries={"limit": 2, "delay": 1})
        return (await step.wait_for_event("go", event_type="go")).payload


async def test_steps_after_a_restart_are_steps_of_their_own_whoever_publishes_them(bench: Bench) -> None:
    plane = await bench.open(Again)
    receiver = Receiver()
    made = await plane.create("Again")
    for life in range(2):
        await bench.until("Again", made.id, lambda info: info.status == "waiting")
        if not life:
            # It has no slot in this process, so nothing of its new life is cut off by the end of it.
            plane.house.account.workflow("Again").known = False
            await plane.restart("Again", made.id)
            # Another process publishes the rest: it has nothing but the journal.
            plane = await bench.reopen()
    publisher = Publisher(plane.house, receiver.publish)
    await publisher.start()
    await plane.send_event("Again", made.id, "go", 7)
    await asyncio.wait_for(receiver.ended.wait(), 60)
    await publisher.stop()
    run = state_of(receiver.events)

    assert {step.id: (step.status, step.attempt) for step in run.steps.values()} == {
        "do:flaky-1": (StepStatus.COMPLETED, 2),
        "wait_for_event:go-1": (StepStatus.FAILED, 1),
        "2/do:flaky-1": (StepStatus.COMPLETED, 2),
        "2/wait_for_event:go-1": (StepStatus.COMPLETED, 1),
    }


class Asks(WorkflowEntrypoint):
    """A wait."""

    async def run(self, event: WorkflowEvent[Any], step: Step) -> Any:
        return (await step.wait_for_event("go", event_type="go")).payload


async def told_of(
    bench: Bench,
    work: Callable[[LocalControlPlane, str], Awaitable[object]],
    cls: type[WorkflowEntrypoint] = Again,
    **options: Any,
) -> list[Event]:
    """Return what is told of an instance to which something was done."""
    plane = await bench.open(cls, **options)
    receiver = Receiver()
    publisher = Publisher(plane.house, receiver.publish)
    await publisher.start()
    made = await plane.create(cls.__name__)
    await work(plane, made.id)
    await plane.house.ledger.durable()
    async with asyncio.timeout(60):
        while plane.health().unpublished:  # noqa: ASYNC110 - a figure tells nobody
            await asyncio.sleep(0.01)
    await publisher.stop()
    return receiver.events


async def test_an_instance_that_waits_for_a_slot_is_queued_also_after_a_pause(bench: Bench) -> None:
    async def pause_and_resume(plane: LocalControlPlane, name: str) -> None:
        await plane.pause("Again", name)
        await plane.resume("Again", name)

    # Not a millisecond passes.
    events = await told_of(bench, pause_and_resume, limits=Limits(slots=0), clock=VirtualClock())

    assert [event.type for event in events] == [T.RUN_CREATED, T.RUN_QUEUED, T.RUN_PAUSED, T.RUN_QUEUED]
    assert state_of(events).status is RunStatus.QUEUED


async def test_a_restart_in_the_millisecond_of_the_end_is_a_run_that_waits_for_a_slot(bench: Bench) -> None:
    async def end_and_restart(plane: LocalControlPlane, name: str) -> None:
        await plane.terminate("Again", name)
        await plane.restart("Again", name)

    events = await told_of(bench, end_and_restart, limits=Limits(slots=0), clock=VirtualClock())

    assert state_of(events).status is RunStatus.QUEUED
    assert state_of(events[:-2]).status is RunStatus.TERMINATED


async def test_events_are_told_in_the_order_of_the_journal_also_when_the_clock_is_set_back(
    bench: Bench,
) -> None:
    clock = VirtualClock()
    began = clock.now()

    async def through_a_day_back(plane: LocalControlPlane, name: str) -> None:
        await bench.until("Asks", name, lambda info: info.status == "waiting")
        clock.move(1)
        await plane.pause("Asks", name)
        clock.set(began - 86_400_000)
        await plane.resume("Asks", name)
        await bench.until("Asks", name, lambda info: info.status == "waiting")
        await plane.send_event("Asks", name, "go", 1)
        await bench.until("Asks", name)

    events = await told_of(bench, through_a_day_back, Asks, clock=clock)
    times = [event.time for event in events]

    assert times == sorted(set(times))
    assert (times[0], times[-1] // 1_000_000) == (began * 1_000_000, began + 1)
    assert state_of(events).status is RunStatus.COMPLETED


async def test_an_event_has_the_same_time_whoever_tells_it_and_a_restart_goes_on_after_it(
    bench: Bench,
) -> None:
    clock = VirtualClock()

    async def pause(plane: LocalControlPlane, name: str) -> None:
        await plane.pause("Again", name)

    first = await told_of(bench, pause, limits=Limits(slots=0), clock=clock)
    plane = await bench.reopen(limits=Limits(slots=0), clock=clock)
    await plane.resume("Again", first[0].run_id)
    receiver = Receiver()
    publisher = Publisher(plane.house, receiver.publish)
    plane.house.ledger.edit().facts["published"] = 0
    await plane.house.ledger.durable()
    await publisher.start()
    async with asyncio.timeout(60):
        while plane.health().unpublished:  # noqa: ASYNC110 - a figure tells nobody
            await asyncio.sleep(0.01)
    await publisher.stop()

    assert receiver.events[: len(first)] == first
    assert [event.type for event in receiver.events[len(first) :]] == [T.RUN_QUEUED]
    assert receiver.events[-1].time > first[-1].time
