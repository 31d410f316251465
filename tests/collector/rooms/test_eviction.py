"""Idle rooms leave memory by themselves, and none that somebody needs does."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from stagelight.conventions import EventType
from stagelight.events import Event
from stagelight_collector.rooms.eviction import ENDED_SECONDS, SILENT_SECONDS
from stagelight_collector.rooms.hub import Hub

if TYPE_CHECKING:
    from collections.abc import Sequence

T = EventType


class World:
    """A hub, its clock, and what history has."""

    def __init__(self) -> None:
        self.seconds = 1_000.0
        self.committed = 0
        self.history: list[Event] = []
        self.hub = Hub(self._load, "e", clock=lambda: self.seconds, kept=lambda: self.committed)

    async def _load(self, run_id: str) -> Sequence[Event]:
        return [event for event in self.history if event.run_id == run_id]

    async def tell(self, kind: EventType, run_id: str, time: int = 1, seq: int = 0) -> None:
        event = Event(type=kind, run_id=run_id, time=time, workflow="etl")
        self.history.append(event)
        await self.hub.write([event], seq)

    async def left(self, seconds: float) -> list[str]:
        """Return which rooms are still there after some time."""
        self.seconds += seconds
        await self.hub.eviction.close_idle()
        return list(self.hub.rooms)


@pytest.fixture
def world() -> World:
    return World()


async def test_ended_rooms_leave_soon_and_silent_ones_late(world: World) -> None:
    await world.tell(T.RUN_STARTED, "silent")
    await world.tell(T.RUN_STARTED, "ended")
    await world.tell(T.RUN_FAILED, "ended", 2)

    assert await world.left(ENDED_SECONDS - 1) == ["silent", "ended"]
    assert await world.left(2) == ["silent"]
    assert await world.left(SILENT_SECONDS) == []
    assert world.hub.counters.closed_idle == 2
    assert world.hub.counters.evicted == 0
    assert world.hub.eviction.steps == 0
    assert {run["id"] for run in world.hub.lobby.runs()} == {"silent", "ended"}


async def test_a_watched_room_stays_and_leaves_after_its_last_viewer(world: World) -> None:
    await world.tell(T.RUN_STARTED, "r")
    await world.tell(T.RUN_COMPLETED, "r", 2)
    viewer = world.hub.join(["r"])
    assert await world.left(2 * ENDED_SECONDS) == ["r"]

    world.hub.leave(viewer)

    assert await world.left(ENDED_SECONDS - 1) == ["r"]
    assert await world.left(2) == []


async def test_a_held_room_stays(world: World) -> None:
    await world.tell(T.RUN_COMPLETED, "r")
    async with world.hub.holding(["r"]):
        assert await world.left(2 * ENDED_SECONDS) == ["r"]
    assert await world.left(0) == []


async def test_no_idle_room_leaves_before_history_has_its_events(world: World) -> None:
    await world.tell(T.RUN_COMPLETED, "r", seq=7)
    world.committed = 6
    assert await world.left(2 * SILENT_SECONDS) == ["r"]
    world.committed = 7
    with world.hub.awaiting_history(["r"]):
        assert await world.left(2 * SILENT_SECONDS) == ["r"]

    assert await world.left(0) == []


async def test_the_run_of_a_room_that_left_goes_on_with_its_past(world: World) -> None:
    await world.tell(T.RUN_STARTED, "r")
    assert await world.left(2 * SILENT_SECONDS) == []

    await world.tell(T.RUN_COMPLETED, "r", 9)
    await world.hub.warm()

    run = world.hub.rooms["r"].run
    assert (run.started, run.status) == (1, "completed")
