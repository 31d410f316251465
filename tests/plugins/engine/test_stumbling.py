"""Parts that stumble: a store that cannot be read for a moment, a full queue, threads that hang. Nothing is stuck after it."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

import pytest

from stagelight_plugins.engine import Status, WorkflowEntrypoint, WorkflowEvent
from stagelight_plugins.engine.errors import StoreDamaged, StoreUnavailable
from stagelight_plugins.engine.lanes import Threads
from stagelight_plugins.engine.limits import Limits
from stagelight_plugins.engine.store.sqlite import SqliteStore

if TYPE_CHECKING:
    from pathlib import Path

    from tests.plugins.engine.conftest import Bench

    from stagelight_plugins.engine.step import Step
    from stagelight_plugins.engine.store import Row
else:
    Bench = Any


class Stumbling(SqliteStore):
    """The real store, of which some reads fail."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.failing = {"due": 0, "queue": 0}

    def _stumble(self, what: str) -> None:
        if self.failing[what]:
            self.failing[what] -= 1
            raise StoreUnavailable("disk I/O error")

    def due(self, until: int, limit: int) -> list[Row]:
        self._stumble("due")
        return super().due(until, limit)

    def queue(self, workflow: int, chef: int, limit: int) -> list[Row]:
        self._stumble("queue")
        return super().queue(workflow, chef, limit)


class Nap(WorkflowEntrypoint):
    """A short sleep."""

    async def run(self, event: WorkflowEvent[Any], step: Step) -> Any:
        await step.sleep("nap", 300)
        return event.payload


async def test_an_alarm_that_cannot_be_read_comes_when_it_can(bench: Bench) -> None:
    store = Stumbling(bench.path)
    plane = await bench.open(Nap, store=store)
    made = await plane.create("Nap", 1)
    await bench.until("Nap", made.id, frozenset({Status.WAITING}))
    store.failing["due"] = 3

    assert (await bench.until("Nap", made.id)).output == 1
    assert store.failing["due"] == 0


async def test_a_queue_that_cannot_be_read_is_read_when_it_can(bench: Bench) -> None:
    plane = await bench.open(Nap, limits=Limits(slots=0))
    made = await plane.create("Nap", 1)
    await bench.close()
    store = Stumbling(bench.path)
    store.failing["queue"] = 2
    plane = await bench.open(Nap, store=store)

    assert (await bench.until("Nap", made.id)).output == 1
    assert store.failing["queue"] == 0


class Child(WorkflowEntrypoint):
    """Queues until it has a class."""

    async def run(self, event: WorkflowEvent[Any], step: Step) -> Any:
        return event.payload


class Parent(WorkflowEntrypoint):
    """Waits for a child."""

    async def run(self, event: WorkflowEvent[Any], step: Step) -> Any:
        return await step.child("child", Child, 7)


async def test_a_child_for_which_the_queue_has_no_room_comes_when_it_has(bench: Bench) -> None:
    plane = await bench.open(Parent, Child, limits=Limits(queued=1))
    plane.house.account.workflow("Child").known = False
    await plane.create("Child", id="first")
    made = await plane.create("Parent")
    async with asyncio.timeout(60):
        while [  # noqa: ASYNC110 - nothing tells of it
            step.state for step in await plane.steps("Parent", made.id)
        ] != ["waiting"]:
            await asyncio.sleep(0.005)  # it was refused once
    await plane.register(Child)

    assert (await bench.until("Parent", made.id)).output == 7


async def test_a_handler_that_raises_what_no_future_takes_fails_and_does_not_hang(bench: Bench) -> None:
    class Saga(WorkflowEntrypoint):
        async def run(self, event: WorkflowEvent[Any], step: Step) -> Any:
            def undo() -> None:
                raise StopIteration("nothing more")

            await step.do("a", lambda: 1, rollback=undo, rollback_retries=0)
            raise ValueError("all is lost")

    await bench.open(Saga)
    info = await bench.run(Saga)

    assert info.status is Status.ERRORED
    assert info.rollback
    assert info.rollback.error
    assert "nothing more" in info.rollback.error.message


async def test_what_was_given_up_before_it_had_a_thread_is_never_run() -> None:
    gate = threading.Event()
    ran: list[str] = []
    threads = Threads(asyncio.get_running_loop(), 1)
    first = threads.call(lambda: gate.wait(60))
    late = threads.call(lambda: ran.append("late"))
    late.cancel()
    await asyncio.sleep(0)
    gate.set()
    await asyncio.wait_for(first, 60)
    await asyncio.wait_for(threads.call(lambda: ran.append("after")), 60)
    threads.close()

    assert ran == ["after"]
    assert threads.stuck == 0


async def test_a_flipped_byte_in_the_middle_of_the_file_is_told_with_the_remedy(bench: Bench) -> None:
    plane = await bench.open(Nap)
    for number in range(200):
        await plane.create("Nap", "x" * 2_000, id=f"n{number}")
    for number in range(200):
        await bench.until("Nap", f"n{number}")
    await bench.close()
    with bench.path.open("r+b") as file:
        whole = file.read()
        page = 4_096
        for start in range(len(whole) // page // 2 * page, len(whole), page):
            file.seek(start)
            file.write(b"\xff" * 12)
    plane = await bench.open(Nap)
    found = await asyncio.gather(
        *(plane.get("Nap", f"n{number}") for number in range(200)), return_exceptions=True
    )
    damaged = [error for error in found if isinstance(error, StoreDamaged)]

    assert damaged
    assert "restore it from a backup" in str(damaged[0])
    assert {type(error) for error in found if isinstance(error, BaseException)} == {StoreDamaged}


@pytest.mark.parametrize(
    "kind", [SystemExit, KeyboardInterrupt, GeneratorExit, asyncio.CancelledError, StopAsyncIteration]
)
@pytest.mark.parametrize("where", ["a task", "a thread", "run"])
async def test_what_would_end_a_process_ends_one_instance(
    bench: Bench, kind: type[BaseException], where: str
) -> None:
    class Ends(WorkflowEntrypoint):
        async def run(self, event: WorkflowEvent[Any], step: Step) -> Any:
            async def in_a_task() -> None:
                raise kind(where)

            def in_a_thread() -> None:
                raise kind(where)

            if where == "run":
                raise kind(where)
            await step.do("it", in_a_task if where == "a task" else in_a_thread, retries=0)

    await bench.open(Ends, Nap)
    ended, other = await bench.run(Ends), await bench.run(Nap, 1)

    assert ended.status is Status.ERRORED
    assert ended.error
    assert kind.__name__ in f"{ended.error.name}: {ended.error.message}"
    assert other.output == 1
