"""The control plane: slots, fairness, shards, alarms, and the migration with everything running."""

from __future__ import annotations

import asyncio
import random
import threading
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from stagelight_plugins.engine import Status, WorkflowEntrypoint, WorkflowEvent
from stagelight_plugins.engine.account import Plane
from stagelight_plugins.engine.errors import LimitReached, WrongControlPlane
from stagelight_plugins.engine.gatekeeper import Gatekeeper, SlotRequest
from stagelight_plugins.engine.limits import Limits
from stagelight_plugins.engine.migration import AccountOld

if TYPE_CHECKING:
    from tests.plugins.engine.conftest import Bench

    from stagelight_plugins.engine.control_plane import LocalControlPlane
    from stagelight_plugins.engine.engine import Engine
    from stagelight_plugins.engine.house import House
    from stagelight_plugins.engine.ledger import Ledger
    from stagelight_plugins.engine.step import Step
    from stagelight_plugins.engine.store import Batch
    from stagelight_plugins.engine.store.sqlite import SqliteStore
else:
    Bench = LocalControlPlane = Any


class Quick(WorkflowEntrypoint):
    """One step."""

    async def run(self, event: WorkflowEvent[Any], step: Step) -> Any:
        async def work() -> Any:
            return event.payload

        return await step.do("work", work)


class Nap(WorkflowEntrypoint):
    """A step, an event, a step."""

    async def run(self, event: WorkflowEvent[Any], step: Step) -> Any:
        await step.wait_for_event("go", event_type="go", timeout="1 hour")
        return await step.do("work", lambda: event.payload)


async def all_ended(plane: LocalControlPlane, workflow: str, count: int) -> None:
    """Wait until so many instances are complete."""
    counts = plane.house.account.workflow(workflow).counts
    async with asyncio.timeout(60):
        while counts.get("complete", 0) < count:  # noqa: ASYNC110 - nothing tells of all at once
            await asyncio.sleep(0.005)
    await plane.house.ledger.drain()


def test_no_shard_gets_less_than_its_max_min_share_over_ten_cycles() -> None:
    chance = random.Random(5)
    keeper = Gatekeeper(1_000)
    held = dict.fromkeys(range(100), 0)
    wanted = {chef: chance.choice([2, 5, 10, 500]) for chef in held}
    total: Counter[int] = Counter()
    for _ in range(10):
        grants = keeper.grant(
            [SlotRequest(chef, 1, held[chef], 0, wanted[chef] - held[chef], 10**6) for chef in held]
        )
        for chef, more in grants.items():
            held[chef] += more
            total[chef] += held[chef]
        assert sum(held.values()) <= 1_000
        for chef in held:
            held[chef] -= chance.randint(0, held[chef] // 2)
    share = next(s for s in range(1, 1_001) if sum(min(want, s + 1) for want in wanted.values()) > 1_000)

    assert min(total[chef] - 10 * min(wanted[chef], share) for chef in held) >= 0
    assert keeper.requests == 10


def test_woken_instances_go_before_any_storm_of_new_ones() -> None:
    keeper = Gatekeeper(100)
    storm = [SlotRequest(chef, 1, 10, 0, 100_000, 10**6) for chef in range(9)]
    grants = keeper.grant([*storm, SlotRequest(9, 1, 0, 10, 0, 10**6)])

    assert grants[9] == 10
    assert sum(grants.values()) == 10


def test_a_workflow_gets_no_more_than_its_limit() -> None:
    keeper = Gatekeeper(100)
    grants = keeper.grant(
        [SlotRequest(1, 1, 1, 0, 50, 3), SlotRequest(2, 1, 1, 0, 50, 3), SlotRequest(3, 2, 0, 0, 200, 100)]
    )

    assert grants[1] + grants[2] == 1
    assert grants[3] == 97


async def test_the_account_is_asked_once_a_cycle_however_many_instances_are_created(bench: Bench) -> None:
    plane = await bench.open(Quick, limits=Limits(cycle=50))
    asked = plane.house.account.asked
    began = asyncio.get_running_loop().time()
    await asyncio.gather(*(plane.create("Quick") for _ in range(400)))
    await all_ended(plane, "Quick", 400)
    cycles = (asyncio.get_running_loop().time() - began) / 0.05

    assert plane.house.account.asked - asked <= 3
    assert plane.house.account.gatekeeper.requests <= cycles + 2


async def test_more_than_a_queues_head_are_run_in_order_and_none_is_left(bench: Bench) -> None:
    order: list[int] = []

    class Ordered(WorkflowEntrypoint):
        concurrency = 1

        async def run(self, event: WorkflowEvent[Any], step: Step) -> Any:
            order.append(event.payload)

    plane = await bench.open(Ordered, limits=Limits(shards=1, cycle=1))
    await asyncio.gather(*(plane.create("Ordered", n) for n in range(1_300)))
    await all_ended(plane, "Ordered", 1_300)

    assert order == list(range(1_300))


async def test_an_instance_waits_in_the_queue_while_its_class_is_unknown(bench: Bench) -> None:
    plane = await bench.open(Nap)
    made = await plane.create("Nap", 1)
    await bench.until("Nap", made.id, frozenset({Status.WAITING}))
    plane = await bench.reopen(Quick)
    await plane.send_event("Nap", made.id, "go")
    assert (await plane.get("Nap", made.id)).status is Status.QUEUED
    await plane.register(Nap)

    assert (await bench.until("Nap", made.id)).output == 1


async def test_the_alarm_starts_an_instance_whose_registration_was_lost(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    plane = await bench.open(Quick)
    monkeypatch.setattr("stagelight_plugins.engine.house.START_ALARM", 30)
    lost: list[Engine] = []

    def lose(_: House, engine: Engine) -> None:
        lost.append(engine)

    monkeypatch.setattr(type(plane.house), "register_later", lose)
    made = await plane.create("Quick", "alarmed")

    assert (await bench.until("Quick", made.id)).output == "alarmed"
    assert len(lost) == 1


async def test_an_instance_that_waits_holds_no_task_no_timer_and_no_slot(bench: Bench) -> None:
    plane = await bench.open(Nap)
    tasks = len(asyncio.all_tasks())
    made = await asyncio.gather(*(plane.create("Nap", 1) for _ in range(200)))
    for info in made:
        await bench.until("Nap", info.id, frozenset({Status.WAITING}))
    await asyncio.sleep(0)

    assert len(asyncio.all_tasks()) == tasks
    assert plane.house.timers.next_wall() is None
    assert (await plane.queue("Nap")).running == 0


async def test_a_full_queue_refuses_and_says_when_to_come_again(bench: Bench) -> None:
    plane = await bench.open(Nap, limits=Limits(queued=3, slots=1))
    plane.house.account.workflow("Nap").known = False
    for _ in range(3):
        await plane.create("Nap")
    with pytest.raises(LimitReached, match="wait until some have run") as caught:
        await plane.create("Nap")

    assert caught.value.retry_after == 1.0


async def test_migrating_under_a_storm_of_creates_stops_nothing(bench: Bench) -> None:
    plane = await bench.open(Quick, limits=Limits(slots=20))
    workflow = plane.house.account.workflow("Quick")
    workflow.plane = Plane.V1
    old = AccountOld(plane.house, workflow)
    chefs: list[int] = []

    async def storm(first: int) -> None:
        for number in range(first, first + 100):
            info = await plane.create("Quick", number, id=f"q{number}")
            chefs.append(0 if workflow.plane is Plane.V1 else 1)
            assert info.status is Status.QUEUED

    storms = asyncio.gather(*(storm(start) for start in range(0, 1_000, 100)))
    while len(chefs) < 300:  # noqa: ASYNC110 - in the middle of the storm
        await asyncio.sleep(0)
    assert old.metadata()
    assert set(plane.house.chefs[workflow.key]) == {0}
    old.migrate()
    before = plane.house.last_seq
    await storms
    await all_ended(plane, "Quick", 1_000)
    plane = await bench.reopen()
    rows = [await plane.house.engine(plane.house.account.workflow("Quick"), f"q{n}") for n in range(1_000)]

    assert [engine.row.output for engine in rows] == [str(number) for number in range(1_000)]
    assert {engine.row.chef for engine in rows if engine.row.seq <= before} == {0}
    assert {engine.row.chef for engine in rows if engine.row.seq > before} == {1, 2, 3, 4}
    assert rows[0].workflow.plane is Plane.SOUS_CHEFS
    assert old.retired
    with pytest.raises(WrongControlPlane, match="metadata belongs to control plane V1"):
        old.metadata()


async def test_a_queued_instance_without_an_engine_is_impossible(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until it is on disk with its alarm, nobody has heard of it: no answer, no place in a queue or a list."""
    plane = await bench.open(Quick)
    held: list[Batch] = []
    write = type(plane.house.store).write
    free = threading.Event()

    def slow(store: SqliteStore, batch: Batch) -> list[int]:
        if batch.creates:
            held.append(batch)
            free.wait(60)
        return write(store, batch)

    monkeypatch.setattr(type(plane.house.store), "write", slow)
    creating = asyncio.ensure_future(plane.create("Quick", 1, id="it"))
    async with asyncio.timeout(60):
        while not held:  # noqa: ASYNC110 - another thread is waited for
            await asyncio.sleep(0.001)
    chefs = plane.house.chefs.get(1, {}).values()

    assert not creating.done()
    assert [chef.queued for chef in chefs] in ([], [0])
    assert plane.house.store.row(1, "it") is None
    (row,) = held[0].creates
    assert (row.rank is not None, row.alarm is not None, row.params) == (True, True, b"1")
    assert list(held[0].journal) == [row.seq]
    free.set()
    await asyncio.wait_for(creating, 60)
    assert (await bench.until("Quick", "it")).output == 1


async def test_souschefs_are_made_on_the_first_request_each_of_one_workflow(bench: Bench) -> None:
    plane = await bench.open(Quick, Nap)
    assert plane.house.chefs == {}
    await asyncio.gather(*(plane.create(name, 1) for name in ("Quick", "Nap") for _ in range(60)))
    await all_ended(plane, "Quick", 60)
    chefs = [chef for group in plane.house.chefs.values() for chef in group.values()]

    assert Counter(chef.workflow.name for chef in chefs) == {"Quick": 4, "Nap": 4}
    assert len({chef.id for chef in chefs}) == 8


async def test_a_woken_instance_runs_before_a_storm_of_new_ones(bench: Bench) -> None:
    order: list[str] = []

    class Woken(WorkflowEntrypoint):
        concurrency = 1

        async def run(self, event: WorkflowEvent[Any], step: Step) -> Any:
            if event.payload:
                await step.wait_for_event("go", event_type="go")

            async def work() -> None:
                order.append("woken" if event.payload else "new")

            await step.do("work", work)

    plane = await bench.open(Woken, limits=Limits(shards=4, cycle=1))
    await plane.create("Woken", True, id="old")
    await bench.until("Woken", "old", frozenset({Status.WAITING}))
    storm = asyncio.gather(*(plane.create("Woken", False) for _ in range(300)))
    while len(order) < 5:  # noqa: ASYNC110 - in the middle of the storm
        await asyncio.sleep(0.001)
    await plane.send_event("Woken", "old", "go")
    sent = len(order)
    await storm
    await all_ended(plane, "Woken", 301)

    # One slot, so each that runs before it is a cycle that it waited.
    assert order.index("woken") - sent <= 2


async def test_an_alarm_that_comes_twice_does_nothing_twice(bench: Bench) -> None:
    plane = await bench.open(Nap)
    made = await plane.create("Nap", 1)
    await bench.until("Nap", made.id, frozenset({Status.WAITING}))
    engine = await plane.house.engine(plane.house.account.workflow("Nap"), made.id)
    for _ in range(3):
        plane.house.ledger.change(engine.row.seq, {"alarm": 1})
        engine.row.alarm = 1
        plane.house.alarms.expect(1)
        await bench.until("Nap", made.id, lambda info: info.status is Status.WAITING and info.wakes > 1)
    await plane.send_event("Nap", made.id, "go")
    await bench.until("Nap", made.id)

    assert [step.name for step in await plane.steps("Nap", made.id)] == ["go", "work"]
    assert (await plane.queue("Nap")).running == 0


async def test_an_operation_on_an_instance_asks_nobody_but_its_engine(bench: Bench) -> None:
    plane = await bench.open(Nap)
    made = await plane.create("Nap", 1)
    await bench.until("Nap", made.id, frozenset({Status.WAITING}))
    keeper, reads = plane.house.account.gatekeeper, plane.house.reader
    before, calls = keeper.requests, 0
    call = reads.call

    async def counted(work: Any) -> Any:
        nonlocal calls
        calls += 1
        return await call(work)

    reads.call = counted  # type: ignore[method-assign]
    await plane.pause("Nap", made.id)
    warm, calls = calls, 0
    plane.house.engines.clear()
    plane.house._by_id.clear()  # noqa: SLF001  # pyright: ignore[reportPrivateUsage] - as if it had been evicted
    await plane.terminate("Nap", made.id)

    assert (warm, calls) == (0, 1)
    assert keeper.requests == before


async def test_an_alarm_that_is_set_while_others_are_looked_for_is_not_forgotten(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Set when what was said before is on disk and before the store is read, and not on disk itself yet."""
    plane = await bench.open(Nap)
    house = plane.house
    for name in ("due", "set late"):
        await plane.create("Nap", 1, id=name.replace(" ", "-"))
        await bench.until("Nap", name.replace(" ", "-"), frozenset({Status.WAITING}))
    late = await house.engine(house.account.workflow("Nap"), "set-late")
    await house.ledger.drain()
    write, durable, disk = type(house.store).write, type(house.ledger).durable, threading.Event()
    soon = house.clock.now() + 600_000  # before any other

    def slow(store: SqliteStore, batch: Batch) -> list[int]:
        if late.row.seq in batch.changes:
            disk.wait(60)
        return write(store, batch)

    def then_set(ledger: Ledger) -> asyncio.Future[None]:
        monkeypatch.undo()
        monkeypatch.setattr(type(house.store), "write", slow)
        future = durable(ledger)
        future.add_done_callback(lambda _: late.put(Status.WAITING, alarm=soon))
        return future

    monkeypatch.setattr(type(house.ledger), "durable", then_set)
    house.alarms.next = 0
    house.alarms.look()
    async with asyncio.timeout(60):
        while house.alarms.looking or late.row.alarm != soon:  # noqa: ASYNC110 - nothing tells of it
            await asyncio.sleep(0.001)
    found = house.alarms.next
    disk.set()

    assert found == soon
