"""Deleting: an instance is forgotten, and whoever watches it hears so."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from tests.plugins.engine.test_publishing import Receiver, state_of

from stagelight.conventions import RunStatus
from stagelight_plugins.engine import Status, WorkflowEntrypoint, WorkflowEvent
from stagelight_plugins.engine.errors import InstanceNotFound, WorkflowNotFound
from stagelight_plugins.engine.publishing import Publisher

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.plugins.engine.conftest import Bench

    from stagelight_plugins.engine.control_plane import LocalControlPlane
    from stagelight_plugins.engine.facts import EventName
    from stagelight_plugins.engine.step import Step
else:
    Bench = LocalControlPlane = Any

WAITING = frozenset({Status.WAITING})
undone: list[str] = []


class Long(WorkflowEntrypoint):
    """A step that could be undone, and a year's wait."""

    async def run(self, event: WorkflowEvent[Any], step: Step) -> Any:
        await step.do("charge", lambda: "charged", rollback=lambda: undone.append("charge"))
        await step.sleep("a year", "1 year")


async def until(true: Callable[[], object]) -> None:
    async with asyncio.timeout(60):
        while not true():  # noqa: ASYNC110 - a figure tells nobody
            await asyncio.sleep(0.005)


async def watched(plane: LocalControlPlane, name: str) -> asyncio.Task[list[EventName]]:
    """Return a task that watches an instance to its end; it is watching already."""
    events: list[EventName] = []

    async def watch() -> list[EventName]:
        async for event in plane.subscribe("Long", name):
            events.append(event.type)  # noqa: PERF401 - looked at while it grows
        return events

    task = asyncio.ensure_future(watch())
    await until(lambda: "workflow_waiting" in events)
    return task


async def test_a_delete_runs_no_rollback_and_ends_subscriptions(bench: Bench) -> None:
    undone.clear()
    plane = await bench.open(Long)
    await plane.create("Long", id="it")
    await bench.until("Long", "it", WAITING)
    watching = await watched(plane, "it")
    await plane.delete("Long", "it")
    events = await asyncio.wait_for(watching, 60)

    assert events[-1] == "workflow_waiting"
    assert undone == []
    assert not plane.house.watchers
    with pytest.raises(InstanceNotFound):
        await plane.get("Long", "it")


async def test_a_deleted_workflow_ends_subscriptions_also_of_instances_that_nobody_holds(
    bench: Bench,
) -> None:
    plane = await bench.open(Long)
    await plane.create("Long", id="it")
    await bench.until("Long", "it", WAITING)
    plane = await bench.reopen()
    watching = await watched(plane, "it")
    plane.house.engines.clear()
    await plane.delete_workflow("Long")
    await asyncio.wait_for(watching, 60)

    with pytest.raises(WorkflowNotFound):
        await plane.get("Long", "it")


@pytest.mark.parametrize("what", ["an instance", "its workflow"])
async def test_who_sees_a_run_sees_that_it_was_deleted(bench: Bench, what: str) -> None:
    plane = await bench.open(Long)
    receiver = Receiver()
    publisher = Publisher(plane.house, receiver.publish)
    await publisher.start()
    await plane.create("Long", id="it")
    await bench.until("Long", "it", WAITING)
    await until(lambda: not plane.health().unpublished)
    # Nobody takes it: it is told after the next start.
    await publisher.stop()
    await (plane.delete("Long", "it") if what == "an instance" else plane.delete_workflow("Long"))
    plane = await bench.reopen()
    publisher = Publisher(plane.house, receiver.publish)
    await publisher.start()
    await until(lambda: not plane.health().unpublished)
    await publisher.stop()
    await plane.house.ledger.drain()
    run = state_of(receiver.events)

    assert run.status is RunStatus.TERMINATED
    assert receiver.events[-1].message == "it was deleted"
    assert receiver.events[-1].workflow == "Long"
    assert plane.house.store.outbox(0, 10) == []


async def test_an_id_is_free_again_when_its_retention_is_over(bench: Bench) -> None:
    class Short(WorkflowEntrypoint):
        retention = 1

        async def run(self, event: WorkflowEvent[Any], step: Step) -> Any:
            return event.payload

    plane = await bench.open(Short)
    await plane.create("Short", 1, id="it")
    with pytest.raises(InstanceNotFound):
        await bench.until("Short", "it", lambda _: False)
    await plane.create("Short", 2, id="it", retention="1 day")

    assert (await bench.until("Short", "it")).output == 2
