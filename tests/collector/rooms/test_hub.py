"""Viewers see no gap (invariant I3), and memory is bounded (invariant I4)."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest

from stagelight.conventions import EventType
from stagelight.events import Event
from stagelight_collector.rooms.channel import Message, Viewer
from stagelight_collector.rooms.hub import LINGER_SECONDS, LOBBY, RETURN_SECONDS, SLICE, Hub
from stagelight_collector.rooms.limits import HubLimits, TooManyViewers

if TYPE_CHECKING:
    from collections.abc import Sequence

T = EventType


class Clock:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.seconds = 1_000.0

    def __call__(self) -> float:
        return self.seconds


class Past:
    """What history knows."""

    def __init__(self) -> None:
        self.runs: dict[str, list[Event]] = {}
        self.asked: list[str] = []
        self.failures = 0

    async def __call__(self, run_id: str) -> Sequence[Event]:
        self.asked.append(run_id)
        if self.failures:
            self.failures -= 1
            raise OSError("no history")
        return self.runs.get(run_id, [])


def event(kind: EventType, run_id: str = "r", time: int = 1, **fields: Any) -> Event:
    return Event(type=kind, run_id=run_id, time=time, **fields)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def past() -> Past:
    return Past()


@pytest.fixture
def hub(clock: Clock, past: Past) -> Hub:
    return Hub(past, "e", HubLimits(rooms=3, lobby=3, viewers=2), clock)


def types(messages: Sequence[Message]) -> list[str]:
    return [message.type for message in messages]


def ids(hub: Hub) -> list[str]:
    return [run["id"] for run in hub.lobby.runs()]


async def test_a_viewer_gets_what_comes_after_its_snapshot(hub: Hub) -> None:
    await hub.write([event(T.RUN_STARTED)])
    viewer = hub.join(["r"])
    (snapshot,) = hub.snapshots(["r"])

    await hub.write([event(T.STEP_STARTED, step_id="s", step_name="load")])
    (message,) = viewer.take()

    assert message.seq > snapshot.seq
    assert message.type == "step_started"
    assert json.loads(message.data)["step"]["name"] == "load"


async def test_what_changes_nothing_is_not_told(hub: Hub) -> None:
    viewer = hub.join([LOBBY])
    await hub.write([event(T.RUN_STARTED), event(T.RUN_STARTED)])

    assert types(viewer.take()) == ["run"]
    assert hub.counters.duplicates == 1


async def test_who_returns_gets_what_was_missed(hub: Hub) -> None:
    await hub.write([event(T.RUN_STARTED)])
    hub.leave(hub.join(["r"]))
    last_id = f"e-{hub.seq}"
    await hub.write([event(T.STEP_STARTED, step_id="s"), event(T.STEP_COMPLETED, step_id="s", time=2)])

    missed = hub.missed(["r"], last_id)

    assert missed is not None
    assert types(missed) == ["step_started", "step_completed"]


async def test_who_stays_away_too_long_is_told_of_the_gap(hub: Hub, clock: Clock) -> None:
    await hub.write([event(T.RUN_STARTED)])
    hub.leave(hub.join(["r"]))
    last_id = f"e-{hub.seq}"
    clock.seconds += RETURN_SECONDS
    await hub.write([event(T.STEP_STARTED, step_id="s")])

    assert hub.missed(["r"], last_id) is None


@pytest.mark.parametrize("last_id", ["", "e", "e-", "e--1", "e-999", "other-1", "e-x"])
async def test_an_id_of_another_time_is_no_place_to_resume(hub: Hub, last_id: str) -> None:
    assert hub.missed(["r"], last_id) is None


async def test_the_ring_forgets_and_says_so(hub: Hub) -> None:
    await hub.write([event(T.RUN_STARTED)])
    viewer = hub.join(["r"])
    first = f"e-{hub.seq}"
    capacity = hub.rooms["r"].channel.capacity
    await hub.write([event(T.LOG, time=number, message=str(number)) for number in range(1, capacity + 2)])

    assert hub.missed(["r"], first) is None
    assert hub.missed(["r"], f"e-{hub.seq - 1}") is not None
    hub.leave(viewer)


def test_a_slow_viewer_loses_its_queue_and_nobody_elses() -> None:
    slow, quick = Viewer(capacity=2), Viewer(capacity=2)
    for seq in range(4):
        for viewer in (slow, quick):
            viewer.push(Message(seq, "log", b"{}"))
        quick.take()

    assert slow.lagged
    assert slow.take() == []
    assert not quick.lagged


def test_a_filter_never_hides_how_a_run_ends() -> None:
    viewer = Viewer(types=frozenset({"step_failed"}))
    for kind in ("step_started", "step_failed", "run_failed", "reset"):
        viewer.push(Message(1, kind, b"{}"))

    assert types(viewer.take()) == ["step_failed", "run_failed", "reset"]


async def test_a_run_that_left_memory_is_read_from_history(hub: Hub, past: Past) -> None:
    past.runs["old"] = [event(T.RUN_STARTED, "old"), event(T.RUN_COMPLETED, "old", 2)]

    room = await hub.find("old")

    assert room is not None
    assert room.run.status == "completed"
    assert await hub.find("never") is None


async def test_a_room_opened_in_the_middle_is_completed_from_history(hub: Hub, past: Past) -> None:
    past.runs["r"] = [event(T.RUN_STARTED, workflow="etl"), event(T.STEP_STARTED, step_id="a", step_name="a")]
    await hub.write([event(T.STEP_COMPLETED, step_id="b", step_name="b", time=5)])
    viewer = hub.join(["r"])
    await hub.warm()

    assert types(viewer.take()) == ["reset", "snapshot"]
    assert set(hub.rooms["r"].run.steps) == {"a", "b"}
    assert past.asked == ["r"]


async def test_ended_rooms_leave_first_and_watched_ones_stay(hub: Hub) -> None:
    await hub.write([event(T.RUN_STARTED, "watched"), event(T.RUN_COMPLETED, "watched", 2)])
    viewer = hub.join(["watched"])
    await hub.write(
        [event(T.RUN_STARTED, "running"), event(T.RUN_STARTED, "done"), event(T.RUN_FAILED, "done", 3)]
    )
    await hub.write([event(T.RUN_STARTED, "new")])

    assert set(hub.rooms) == {"watched", "running", "new"}
    assert hub.counters.evicted == 1
    hub.leave(viewer)


async def test_the_lobby_lists_the_newest_and_says_which_left(hub: Hub) -> None:
    viewer = hub.join([LOBBY])
    await hub.write([event(T.RUN_STARTED, f"r{number}", number) for number in range(1, 5)])
    messages = viewer.take()

    assert ids(hub) == ["r4", "r3", "r2"]
    assert types(messages) == ["run", "run", "run", "gone", "run"]


async def test_the_lobby_hears_of_steps_when_it_is_flushed(hub: Hub) -> None:
    await hub.write([event(T.RUN_STARTED)])
    viewer = hub.join([LOBBY])
    await hub.write([event(T.STEP_STARTED, step_id=str(number)) for number in range(9)])
    assert viewer.take() == []

    hub.flush()
    (message,) = viewer.take()

    assert json.loads(message.data)["run"]["steps"]["running"] == 9


async def test_a_room_stays_until_history_has_its_events(hub: Hub) -> None:
    committed = [0]
    hub.eviction.kept = lambda: committed[0]
    for number in range(1, 5):
        await hub.write([event(T.RUN_STARTED, f"r{number}", number)], seq=number)
    assert len(hub.rooms) == 4

    committed[0] = 4
    await hub.write([event(T.RUN_STARTED, "r5", 5)], seq=5)

    assert list(hub.rooms) == ["r3", "r4", "r5"]
    assert hub.counters.evicted_early == 0


async def test_memory_is_bounded_even_while_history_is_away(hub: Hub) -> None:
    hub.eviction.kept = lambda: 0
    for number in range(1, 20):
        await hub.write([event(T.RUN_STARTED, f"r{number}", number)], seq=number)

    assert len(hub.rooms) == 2 * hub.limits.rooms
    assert hub.counters.evicted_early == 13


async def test_a_large_room_is_made_ready_for_viewers_while_others_get_their_turn(hub: Hub) -> None:
    await hub.write([event(T.STEP_STARTED, step_id=str(number)) for number in range(1_000)])
    turns = [0]

    async def other() -> None:
        while True:
            turns[0] += 1
            await asyncio.sleep(0)

    task = asyncio.create_task(other())
    room = await hub.find("r")
    task.cancel()
    assert room is not None
    assert turns[0] >= 1_000 // SLICE

    snapshot = json.loads(room.snapshot())
    assert len(snapshot["steps"]) == 1_000


async def test_a_held_room_stays(hub: Hub) -> None:
    await hub.write([event(T.RUN_STARTED, "r"), event(T.RUN_COMPLETED, "r", time=2)])
    async with hub.holding(["r", "nobody", LOBBY]) as known:
        await hub.write([event(T.RUN_STARTED, f"r{number}", number) for number in range(5)])
        assert "r" in hub.rooms

    assert known == ["r", LOBBY]


async def test_a_run_that_goes_on_after_a_restart_keeps_its_past(hub: Hub, past: Past) -> None:
    past.runs["r"] = [event(T.RUN_STARTED), event(T.STEP_COMPLETED, step_id="a", step_name="a")]
    late: dict[str, Any] = {"received": 60_000_000_000}
    await hub.write([event(T.RUN_STARTED, **late), event(T.RUN_COMPLETED, time=9, **late)])
    await hub.warm()

    assert set(hub.rooms["r"].run.steps) == {"a"}


async def test_a_room_that_could_not_be_completed_is_tried_again(hub: Hub, past: Past) -> None:
    past.runs["r"] = [event(T.RUN_STARTED, workflow="etl")]
    past.failures = 1
    await hub.write([event(T.STEP_STARTED, step_id="a")])
    with pytest.raises(OSError, match="no history"):
        await hub.warm()
    await hub.warm()

    assert hub.rooms["r"].whole
    assert hub.rooms["r"].run.workflow.value == "etl"


async def test_while_history_is_away_a_room_is_shown_as_far_as_it_is_known(hub: Hub, past: Past) -> None:
    await hub.write([event(T.STEP_STARTED, step_id="a")])
    past.failures = 9
    room = await hub.find("r")

    assert room is not None
    assert not room.whole
    with pytest.raises(OSError, match="no history"):
        await hub.find("unknown")


async def test_the_count_of_steps_follows_the_rooms(hub: Hub, past: Past) -> None:
    past.runs["old"] = [event(T.STEP_STARTED, "old", step_id=str(number)) for number in range(500)]
    await hub.find("old")
    assert hub.eviction.steps == 500
    await hub.write([event(T.RUN_STARTED, f"r{number}", number) for number in range(9)])

    assert "old" not in hub.rooms
    assert hub.eviction.steps == 0


async def test_a_finished_run_has_no_more_news_after_a_while(hub: Hub, clock: Clock) -> None:
    await hub.write([event(T.RUN_STARTED), event(T.RUN_COMPLETED, time=2)])
    assert not hub.finished(["r"])

    clock.seconds += LINGER_SECONDS + 1

    assert hub.finished(["r"])
    assert not hub.finished(["r", LOBBY])


async def test_places_are_bounded_and_freed(hub: Hub) -> None:
    viewers = [hub.join([LOBBY]) for _ in range(2)]
    with pytest.raises(TooManyViewers):
        hub.join([LOBBY])
    hub.leave(viewers[0])

    assert hub.join([LOBBY]) in hub.viewers


async def test_a_summary_is_made_again_only_when_something_has_changed(hub: Hub) -> None:
    await hub.write([event(T.RUN_STARTED)])
    first = hub.rooms["r"].summary()
    await hub.write([event(T.RUN_STARTED)])
    assert hub.rooms["r"].summary() is first

    await hub.write([event(T.STEP_STARTED, step_id="s", step_name="load")])

    assert hub.rooms["r"].summary()["steps"]["running"] == 1
    assert hub.rooms["r"].summary()["running_step"] == "load"
