"""Operations on instances: what each does in each state, and what is refused."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from stagelight_plugins.engine import From, NewInstance, Rejected, Status, WorkflowEntrypoint, WorkflowEvent
from stagelight_plugins.engine.errors import (
    BadName,
    BadValue,
    InstanceExists,
    InstanceNotFound,
    Invalid,
    LimitReached,
    StepNotFound,
    StoreInUse,
    TooLarge,
    WorkflowNotFound,
    WrongState,
)
from stagelight_plugins.engine.facts import EventName
from stagelight_plugins.engine.limits import Limits
from stagelight_plugins.engine.opening import open_control_plane

if TYPE_CHECKING:
    from tests.plugins.engine.conftest import Bench

    from stagelight_plugins.engine.step import Step
else:
    Bench = Any

WAITING = frozenset({Status.WAITING})
ran: list[str] = []


@pytest.fixture(autouse=True)
def _fresh() -> None:
    ran.clear()


class Order(WorkflowEntrypoint):
    """Three steps around a wait."""

    async def run(self, event: WorkflowEvent[Any], step: Step) -> Any:
        await step.do("fetch", lambda: ran.append("fetch"))
        got = await step.wait_for_event("approval", event_type="approval", timeout="24 hours")
        await step.do("process", lambda: ran.append("process"), rollback=lambda: ran.append("undo process"))
        if got.payload == "fail":
            await step.do("last", lambda: 1 / 0, retries=0)
        return got.payload


async def waiting(bench: Bench, **options: Any) -> str:
    """Return the id of an instance that waits."""
    assert bench.plane is not None
    made = await bench.plane.create("Order", **options)
    await bench.until("Order", made.id, WAITING)
    return made.id


async def test_pausing_cuts_a_wait_and_resuming_goes_on(bench: Bench) -> None:
    plane = await bench.open(Order)
    name = await waiting(bench)

    assert (await plane.pause("Order", name)).status is Status.PAUSED
    with pytest.raises(WrongState, match="cannot pause"):
        await plane.pause("Order", name)
    await plane.send_event("Order", name, "approval", "yes")
    assert (await plane.get("Order", name)).status is Status.PAUSED
    await plane.resume("Order", name)

    assert (await bench.until("Order", name)).output == "yes"
    with pytest.raises(WrongState, match="only what is paused"):
        await plane.resume("Order", name)


async def test_pausing_waits_for_the_step_that_runs(bench: Bench) -> None:
    started, go = asyncio.Event(), asyncio.Event()

    class Slow(WorkflowEntrypoint):
        async def run(self, event: WorkflowEvent[Any], step: Step) -> Any:
            async def slow() -> None:
                started.set()
                await go.wait()

            await step.do("slow", slow)
            return await step.do("after", lambda: "done")

    plane = await bench.open(Slow)
    made = await plane.create("Slow")
    await asyncio.wait_for(started.wait(), 60)
    assert (await plane.pause("Slow", made.id)).status is Status.WAITING_FOR_PAUSE
    go.set()
    await bench.until("Slow", made.id, frozenset({Status.PAUSED}))

    assert [step.name for step in await plane.steps("Slow", made.id)] == ["slow"]
    await plane.resume("Slow", made.id)
    assert (await bench.until("Slow", made.id, frozenset({Status.COMPLETE}))).output == "done"


async def test_terminating_ends_and_a_second_time_is_refused(bench: Bench) -> None:
    plane = await bench.open(Order)
    name = await waiting(bench)

    assert (await plane.terminate("Order", name)).status is Status.TERMINATED
    with pytest.raises(WrongState, match="ended already"):
        await plane.terminate("Order", name)
    with pytest.raises(WrongState, match="cannot send an event"):
        await plane.send_event("Order", name, "approval")


async def test_terminating_with_rollback_runs_the_handlers(bench: Bench) -> None:
    class Saga(WorkflowEntrypoint):
        async def run(self, event: WorkflowEvent[Any], step: Step) -> Any:
            await step.do("a", lambda: ran.append("a"), rollback=lambda: ran.append("undo a"))
            await step.do("b", lambda: ran.append("b"), rollback=lambda: ran.append("undo b"))
            await step.sleep("long", "1 day")
            await step.do("never", lambda: ran.append("never"))

    plane = await bench.open(Saga)
    made = await plane.create("Saga")
    await bench.until("Saga", made.id, WAITING)
    assert (await plane.terminate("Saga", made.id, rollback=True)).status is Status.ROLLING_BACK
    info = await bench.until("Saga", made.id)

    assert info.status is Status.TERMINATED
    assert info.rollback
    assert info.rollback.outcome == "complete"
    assert ran == ["a", "b", "undo b", "undo a"]


async def test_restarting_from_a_step_reuses_what_was_before_it(bench: Bench) -> None:
    plane = await bench.open(Order)
    name = await waiting(bench)
    await plane.send_event("Order", name, "approval", "one")
    await bench.until("Order", name, frozenset({Status.COMPLETE}))
    with pytest.raises(StepNotFound):
        await plane.restart("Order", name, From(name="no such step"))
    await plane.restart("Order", name, From(name="approval", type="wait_for_event"))
    await plane.send_event("Order", name, "approval", "two")

    assert (await bench.until("Order", name, frozenset({Status.COMPLETE}))).output == "two"
    assert ran == ["fetch", "process", "process"]


async def test_a_failed_step_is_skipped_with_an_output(bench: Bench) -> None:
    class Fails(WorkflowEntrypoint):
        async def run(self, event: WorkflowEvent[Any], step: Step) -> Any:
            return [await step.do("bad", lambda: 1 / 0, retries=0), await step.do("next", lambda: "next")]

    plane = await bench.open(Fails)
    info = await bench.run(Fails)
    assert info.status is Status.ERRORED
    await plane.skip("Fails", info.id, "bad", {"given": True})

    assert (await bench.until("Fails", info.id)).output == [{"given": True}, "next"]
    with pytest.raises(WrongState):
        await plane.skip("Fails", info.id, "bad")


async def test_a_wait_and_a_step_to_come_are_skipped(bench: Bench) -> None:
    plane = await bench.open(Order)
    name = await waiting(bench)
    await plane.skip("Order", name, "process", None)
    await plane.skip("Order", name, "approval", "fail")
    info = await bench.until("Order", name)
    (skipped,) = [step for step in await plane.steps("Order", name) if step.type == "wait_for_event"]

    assert info.status is Status.ERRORED
    assert ran == ["fetch"]
    assert (skipped.output["type"], skipped.output["payload"]) == (skipped.event_type, "fail")
    assert skipped.output["timestamp"] >= skipped.started


async def test_ids_are_in_use_until_they_are_deleted(bench: Bench) -> None:
    plane = await bench.open(Order)
    await waiting(bench, id="mine")
    with pytest.raises(InstanceExists):
        await plane.create("Order", id="mine")
    await plane.delete("Order", "mine")
    with pytest.raises(InstanceNotFound):
        await plane.get("Order", "mine")
    await waiting(bench, id="mine")

    assert ran == ["fetch", "fetch"]


async def test_a_batch_tells_what_became_of_each(bench: Bench) -> None:
    plane = await bench.open(Order)
    await waiting(bench, id="taken")
    batch = [NewInstance(id=name) for name in ("new", "taken", "new", "-bad")] + [NewInstance(params={1, 2})]
    result = await plane.create_batch("Order", batch)

    assert [info.id for info in result.done] == ["new"]
    assert [(error.index, error.code) for error in result.errors] == [
        (1, 10405),
        (2, 10415),
        (3, 10001),
        (4, 10001),
    ]
    for size in (0, 101):
        with pytest.raises(LimitReached):
            await plane.create_batch("Order", [NewInstance()] * size)
    gone = await plane.delete_batch("Order", ["new", "unknown"])
    assert [info.id for info in gone.done] == ["new"]
    assert [error.code for error in gone.errors] == [10400]


async def test_bad_input_is_refused_and_nothing_is_touched(bench: Bench) -> None:
    plane = await bench.open(Order, limits=Limits(payload_bytes=100))
    name = await waiting(bench)
    before = await plane.get("Order", name)

    with pytest.raises(WorkflowNotFound, match="there are: Order"):
        await plane.create("Nope")
    with pytest.raises(InstanceNotFound):
        await plane.pause("Order", "unknown")
    with pytest.raises(BadName):
        await plane.send_event("Order", name, "no spaces allowed")
    with pytest.raises(TooLarge):
        await plane.send_event("Order", name, "approval", "x" * 101)
    with pytest.raises(BadValue, match=r"at \.deep\[1\].*of type object"):
        await plane.send_event("Order", name, "approval", {"deep": [1, object()]})
    with pytest.raises(Invalid, match="cursor"):
        await plane.list("Order", cursor="garbage")

    assert await plane.get("Order", name) == before


async def test_pages_are_consistent_while_instances_come_and_go(bench: Bench) -> None:
    plane = await bench.open(Order)
    names = [(await plane.create("Order", id=f"i{n}")).id for n in range(25)]
    seen: list[str] = []
    cursor = ""
    while True:
        page = await plane.list("Order", limit=4, cursor=cursor)
        seen += [info.id for info in page.instances]
        await plane.create("Order")
        if not (cursor := page.next):
            break
    back = await plane.list(
        "Order", limit=4, cursor=(await plane.list("Order", limit=4, cursor=page.previous)).next
    )

    assert seen == names[::-1]
    assert [info.id for info in back.instances] == [info.id for info in page.instances]


async def test_concurrency_queues_and_never_rejects(bench: Bench) -> None:
    here: list[int] = [0, 0]

    class One(WorkflowEntrypoint):
        concurrency = 2

        async def run(self, event: WorkflowEvent[Any], step: Step) -> Any:
            async def alone() -> None:
                here[0] += 1
                here[1] = max(here[1], here[0])
                await asyncio.sleep(0.001)
                here[0] -= 1

            await step.do("alone", alone)

    plane = await bench.open(One)
    made = await asyncio.gather(*(plane.create("One") for _ in range(40)))
    for info in made:
        await bench.until("One", info.id)
    figures = await plane.queue("One")

    assert here == [0, 2]
    assert (figures.queued, figures.running, figures.limit) == (0, 0, 2)


async def test_a_subscription_goes_on_from_its_cursor_and_ends_with_the_last_event(bench: Bench) -> None:
    plane = await bench.open(Order)
    name = await waiting(bench)
    stream = plane.subscribe("Order", name)
    first = [await anext(stream) for _ in range(3)]
    await plane.send_event("Order", name, "approval", "fail")
    rest = [event async for event in plane.subscribe("Order", name, cursor=first[-1].id)]
    only = [event async for event in plane.subscribe("Order", name, types=[EventName.STEP_ERRORED])]
    whole = first + [event async for event in stream]

    assert whole == first + rest
    assert [event.id for event in whole] == sorted({event.id for event in whole})
    assert [event.type for event in only] == [EventName.STEP_ERRORED, EventName.WORKFLOW_ERRORED]


async def test_a_second_process_is_refused(bench: Bench) -> None:
    await bench.open(Order)

    with pytest.raises(StoreInUse, match="stop that one"):
        await open_control_plane(bench.path)


async def test_an_ended_instance_is_forgotten_after_its_retention(bench: Bench) -> None:
    class Short(WorkflowEntrypoint):
        async def run(self, event: WorkflowEvent[Any], step: Step) -> Any:
            return 1

    plane = await bench.open(Short)
    made = await plane.create("Short", retention=50)
    with pytest.raises(InstanceNotFound):
        await bench.until("Short", made.id, lambda _: False)

    assert (await plane.workflow("Short")).counts == {}


async def test_a_step_that_a_failed_instance_does_not_have_is_not_skipped(bench: Bench) -> None:
    class Fails(WorkflowEntrypoint):
        async def run(self, event: WorkflowEvent[Any], step: Step) -> Any:
            await step.do("bad", lambda: 1 / 0, retries=0)

    plane = await bench.open(Fails)
    info = await bench.run(Fails)
    with pytest.raises(StepNotFound, match="no such step as 'badd' number 1; list its steps"):
        await plane.skip("Fails", info.id, "badd")

    assert [step.name for step in await plane.steps("Fails", info.id)] == ["bad"]


@pytest.mark.parametrize(
    ("payload", "says"),
    [
        (None, "the event that came says neither yes nor no; approve it, or skip it with"),
        ({"by": "Ada"}, "the event that came says neither yes nor no"),
        (False, "'boss' was rejected"),
        ({"approved": False, "reason": "too dear"}, "'boss' was rejected: too dear"),
    ],
)
async def test_an_answer_that_is_no_approval_is_a_rejection_that_says_why(
    bench: Bench, payload: Any, says: str
) -> None:
    class Asks(WorkflowEntrypoint):
        async def run(self, event: WorkflowEvent[Any], step: Step) -> Any:
            await step.wait_for_approval("boss")
            try:
                await step.wait_for_approval("boss")
            except Rejected as error:
                return [error.count, str(error)]

    plane = await bench.open(Asks)
    made = await plane.create("Asks")
    await plane.approve("Asks", made.id)
    await plane.send_event("Asks", made.id, "approval", payload)
    count, said = (await bench.until("Asks", made.id)).output

    assert count == 2
    assert says in said


async def test_what_cannot_be_paused_says_what_happens_anyway(bench: Bench) -> None:
    plane = await bench.open(Order)
    name = await waiting(bench)
    await plane.pause("Order", name)
    with pytest.raises(WrongState, match="while it is paused; it is so already; resume it"):
        await plane.pause("Order", name)
    await plane.terminate("Order", name)
    with pytest.raises(WrongState, match="while it is terminated; it has ended; restart it"):
        await plane.pause("Order", name)
