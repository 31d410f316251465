"""Random schedules of events, viewers, losses and restarts: nobody ever sees a gap or a lie (invariants I2 and I3).

A schedule is a list of numbers that choose what happens next, so Hypothesis can shrink one that fails, and a seeded
generator can run many more of them in the same time.
"""

from __future__ import annotations

import json
import os
import random
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, TypeVar

from hypothesis import given, settings, strategies as st

from stagelight.conventions import EventType
from stagelight.events import Event, Failure
from stagelight_collector.feed.admission import first_messages
from stagelight_collector.feed.stream import afresh
from stagelight_collector.rooms.eviction import SILENT_SECONDS
from stagelight_collector.rooms.hub import RETURN_SECONDS, Hub
from stagelight_collector.rooms.limits import HubLimits
from stagelight_collector.rooms.room import Room
from stagelight_collector.rooms.state import Run

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

    from stagelight_collector.rooms.channel import Message, Viewer

T = EventType
Answer = TypeVar("Answer")
SCHEDULES: Final = int(os.environ.get("STAGELIGHT_SCHEDULES", "100000"))
LENGTH: Final = 14
FACTS: Final[tuple[tuple[EventType, dict[str, Any]], ...]] = (
    (T.RUN_STARTED, {}),
    (T.RUN_COMPLETED, {}),
    (T.RUN_FAILED, {"error": Failure(message="no")}),
    (T.RUN_RESUMED, {}),
    (T.STEP_STARTED, {"step_id": "s", "step_name": "load", "attempt": 1}),
    (T.STEP_COMPLETED, {"step_id": "s", "attempt": 1}),
    (T.ATTEMPT_FAILED, {"step_id": "s", "attempt": 1, "error": Failure(message="no")}),
    (T.STEP_STARTED, {"step_id": "s", "attempt": 2}),
    (T.STEP_STARTED, {"step_id": "t", "step_name": "save", "attempt": 1}),
    (T.SLEEP_STARTED, {"step_id": "t"}),
    (T.SLEEP_COMPLETED, {"step_id": "t"}),
    (T.PROGRESS, {"step_id": "t", "message": "half"}),
    (T.LOG, {"message": "line"}),
    (T.PROGRESS, {"message": "run", "attributes": {"a": 1}}),
)


def drive(work: Coroutine[Any, Any, Answer]) -> Answer:
    """Run a coroutine that waits for nothing, without an event loop."""
    try:
        while True:
            work.send(None)
    except StopIteration as stopped:
        return stopped.value  # type: ignore[no-any-return]  # what it returned


@dataclass
class Screen:
    """A viewer's page: what it shows comes from messages alone."""

    room: str
    viewer: Viewer | None = None
    last: str = ""
    run: dict[str, Any] = field(default_factory=dict[str, Any])
    steps: dict[str, Any] = field(default_factory=dict[str, Any])
    logs: list[Any] = field(default_factory=list[Any])

    def show(self, epoch: str, messages: Sequence[Message]) -> None:
        """Take messages as they come over the wire."""
        for message in messages:
            data = json.loads(message.data)
            if message.type == "snapshot":
                self.run, self.logs = data["run"], data["logs"]
                self.steps = {step["id"]: step for step in data["steps"]}
            elif message.type not in {"reset", "gone", "restarting"}:
                self.run = data["run"]
                if data["step"]:
                    self.steps[data["step"]["id"]] = data["step"]
                if data["log"]:
                    self.logs.append(data["log"])
            self.last = f"{epoch}-{message.seq}"

    def state(self) -> tuple[Any, ...]:
        return self.run, self.steps, sorted(self.logs, key=json.dumps)


def state_of(snapshot: bytes) -> tuple[Any, ...]:
    """Return a snapshot as a page that knows all of it shows it."""
    data = json.loads(snapshot)
    return data["run"], {s["id"]: s for s in data["steps"]}, sorted(data["logs"], key=json.dumps)


class World:
    """A hub, what is behind it, and who watches."""

    def __init__(self) -> None:
        self.facts: list[Event] = []
        self.journal: list[tuple[int, Event]] = []
        self.history: list[Event] = []
        self.seq = self.committed = 0
        self.restarts = 0
        self.now = 0.0
        self.failures = 0
        self.screens: list[Screen] = []
        self.hub = self._new_hub()
        self.does: tuple[Callable[[int], None], ...] = (
            self.happen, self.happen, self.happen, self.repeat, self.join, self.read, self.read, self.vanish,
            self.come_back, self.archive, self.warm, self.restart, self.crowd_out, self.pass_time, self.close_idle,
            self.break_down,
        )  # fmt: skip

    def _new_hub(self) -> Hub:
        return Hub(
            self._load,
            f"e{self.restarts}",
            HubLimits(rooms=3),
            clock=lambda: self.now,
            kept=lambda: self.committed,
        )

    async def _load(self, run_id: str) -> list[Event]:
        if self.failures:
            self.failures -= 1
            raise OSError("history is away")
        return [event for event in self.history if event.run_id == run_id]

    def play(self, schedule: Sequence[int]) -> None:
        """Let things happen, and look at every screen; in the end everybody has seen everything."""
        for number in schedule:
            self.does[number % len(self.does)](number // len(self.does))
        self.archive(0)
        self.failures = 0
        drive(self.hub.warm())
        for screen in list(self.screens):
            if screen.viewer is None:
                self._join(screen)
            self._read(screen)
            assert screen.state() == self._truth(screen.room)

    def _truth(self, run_id: str) -> tuple[Any, ...]:
        room = Room(Run(run_id))
        for event in self.facts:
            if event.run_id == run_id:
                room.apply(event)
        return state_of(room.snapshot())

    # --- what may happen ------------------------------------------------------------------------------------------

    def happen(self, number: int) -> None:
        kind, more = FACTS[number % len(FACTS)]
        number //= len(FACTS)
        run_id, time = f"r{number % 2}", 1 + number // 2 % 50
        event = Event(type=kind, run_id=run_id, time=time, received=time + 10**12, workflow="w", **more)
        self.facts.append(event)
        self._take(event)

    def repeat(self, number: int) -> None:
        if self.facts:
            self._take(self.facts[number % len(self.facts)])

    def crowd_out(self, number: int) -> None:
        event = Event(type=T.RUN_STARTED, run_id=f"other{number % 3}", time=1, received=10**12)
        self.facts.append(event)
        self._take(event)

    def _take(self, event: Event) -> None:
        self.seq += 1
        self.journal.append((self.seq, event))
        self.hub.take(event, self.seq)
        for room in self.hub.rooms.values():
            room.channel.capacity = 3

    def archive(self, _number: int) -> None:
        self.history += [event for _, event in self.journal]
        self.journal.clear()
        self.committed = self.seq

    def warm(self, _number: int) -> None:
        with suppress(OSError):
            drive(self.hub.warm())

    def pass_time(self, _number: int) -> None:
        self.now += RETURN_SECONDS + 1

    def close_idle(self, _number: int) -> None:
        self.now += SILENT_SECONDS + 1
        drive(self.hub.eviction.close_idle())

    def break_down(self, number: int) -> None:
        self.failures = 1 + number % 3

    def restart(self, _number: int) -> None:
        self.restarts += 1
        self.hub = self._new_hub()
        for seq, event in self.journal:
            self.hub.take(event, seq)
        for screen in self.screens:
            screen.viewer = None

    def join(self, number: int) -> None:
        if len(self.screens) < 3:
            screen = Screen(f"r{number % 2}")
            if self._join(screen):
                self.screens.append(screen)

    def come_back(self, number: int) -> None:
        away = [screen for screen in self.screens if screen.viewer is None]
        if away:
            self._join(away[number % len(away)])

    def _join(self, screen: Screen) -> bool:
        async def enter() -> bool:
            async with self.hub.holding([screen.room]) as known:
                if not known:
                    return False
                screen.viewer = self.hub.join(known)
                screen.viewer.capacity = 3
                first = first_messages(self.hub, screen.viewer, [], screen.last)
                screen.show(self.hub.stamp(), first or [])
                return True

        try:
            return drive(enter())
        except OSError:
            return False

    def vanish(self, number: int) -> None:
        here = [screen for screen in self.screens if screen.viewer is not None]
        if here:
            screen = here[number % len(here)]
            assert screen.viewer is not None
            self.hub.leave(screen.viewer)  # with whatever it had not read
            screen.viewer = None

    def read(self, number: int) -> None:
        here = [screen for screen in self.screens if screen.viewer is not None]
        if here:
            self._read(here[number % len(here)])

    def _read(self, screen: Screen) -> None:
        viewer = screen.viewer
        assert viewer is not None
        messages = viewer.take()
        if viewer.lagged:
            viewer.lagged = False
            messages = afresh(self.hub, viewer.names)
        screen.show(self.hub.stamp(), messages)
        room = self.hub.rooms.get(screen.room)
        if room is not None:
            assert screen.state() == state_of(room.snapshot())


@settings(max_examples=1_000, deadline=None)
@given(st.lists(st.integers(0, 2**20), max_size=40))
def test_no_schedule_shows_a_gap_or_a_lie(schedule: list[int]) -> None:
    World().play(schedule)


def test_many_short_schedules_show_neither() -> None:
    seed = random.randrange(2**32)
    chance = random.Random(seed)
    for number in range(SCHEDULES):
        schedule = [chance.randrange(2**20) for _ in range(LENGTH)]
        try:
            World().play(schedule)
        except AssertionError as error:
            raise AssertionError(f"seed {seed}, schedule {number}: World().play({schedule})") from error
