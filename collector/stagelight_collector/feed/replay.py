"""Replay: what history has of a run, told again in the feed's own format, as fast as it was or faster.

A replay has a state of its own; nothing of it is in the hub. Its ids count the events, so that a viewer who lost the
link goes on where it was, on any collector with the same history.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from aiohttp import web

from stagelight.conventions import RUN_ENDS
from stagelight.events import Event
from stagelight_collector.api.problem import Problem
from stagelight_collector.encoding import fact
from stagelight_collector.feed.admission import last_event_id, requested_types
from stagelight_collector.feed.stream import WRITE_SECONDS
from stagelight_collector.feed.wire import HEADERS, Events
from stagelight_collector.rooms.channel import Message, wanted
from stagelight_collector.rooms.room import Room
from stagelight_collector.rooms.state import Run

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Sequence

    from stagelight_collector.rooms.hub import Loader
    from stagelight_collector.rooms.limits import HubCounters

SPEEDS: Final = {"1": 1.0, "10": 10.0, "max": 0.0}
"""How many seconds of the run go by in one; 0 means all at once."""
MAX_PAUSE_SECONDS: Final = 5.0
"""A longer pause, in which a run slept or waited, is not sat out."""
MAX_REPLAYS: Final = 16
"""How many may go on at once; each holds the events of its run."""
EPOCH: Final = "replay"
PORTION: Final = 200
"""How many events are told before others get their turn, at full speed."""


@dataclass(slots=True)
class Replays:
    """Tells runs again."""

    load: Loader
    counters: HubCounters
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    _going_on: int = 0
    _wire: Events = field(default_factory=lambda: Events(lambda: EPOCH))

    async def serve(self, request: web.Request, run_id: str, speed: str) -> web.StreamResponse:
        """Stream a run from history.

        Raises:
            Problem: The speed is none, nobody knows the run, or too many replays go on.
        """
        if speed not in SPEEDS:
            raise Problem(400, f"There is no speed {speed!r}.", f"Possible are {', '.join(SPEEDS)}.")
        if self._going_on >= MAX_REPLAYS:
            raise Problem(503, f"{MAX_REPLAYS} replays go on already.", "Try again.", retry_after=5)
        self._going_on += 1
        try:
            return await self._serve(request, run_id, SPEEDS[speed])
        finally:
            self._going_on -= 1

    async def _serve(self, request: web.Request, run_id: str, speed: float) -> web.StreamResponse:
        types = requested_types(request)
        events = await in_order(await self.load(run_id))
        if not events:
            raise Problem(404, f"History has no run {run_id!r}.", "GET /api/v1/runs lists the runs.")
        told = _told(last_event_id(request), len(events))
        if told == len(events):
            return web.Response(status=204)
        response = web.StreamResponse(headers=HEADERS)
        await response.prepare(request)
        try:
            await self._tell(response, _Score(run_id, events).play(told, speed), types)
        except ConnectionError:
            pass  # it has gone
        except TimeoutError:
            self.counters.dropped += 1
            if request.transport is not None:
                request.transport.abort()
        return response

    async def _tell(
        self,
        response: web.StreamResponse,
        score: Iterator[tuple[float, list[Message]]],
        types: frozenset[str],
    ) -> None:
        for pause, messages in score:
            if pause:
                await self.sleep(pause)
            if chosen := [message for message in messages if wanted(message.type, types)]:
                async with asyncio.timeout(WRITE_SECONDS):  # or who reads nothing keeps the place of others
                    await response.write(b"".join(map(self._wire.frame, chosen)))
            await asyncio.sleep(0)


async def in_order(events: Sequence[Event]) -> list[Event]:
    """Return events in their order, each once: history and the bus both tell the latest ones.

    The order of what happened at one time is the same whoever tells it, because ids count the events.
    """
    known: dict[tuple[Any, ...], Event | set[str]] = {}
    found: list[Event] = []
    for number, event in enumerate(events, start=1):
        key = (event.time, event.type, event.step_id, event.attempt, event.span_id, event.message)
        if (others := known.get(key)) is None:
            known[key] = event
        else:  # rarely: a fact as text costs more than all the rest
            facts = known[key] = {fact(others)} if isinstance(others, Event) else others
            if (text := fact(event)) in facts:
                continue
            facts.add(text)
        found.append(event)
        if number % PORTION == 0:
            await asyncio.sleep(0)
    return sorted(found, key=_place)


def _place(event: Event) -> tuple[Any, ...]:
    kind = event.type
    ending = 2 * (kind in RUN_ENDS) + kind.endswith(("_completed", "_failed", "_skipped"))
    beginning = kind.endswith(("_created", "_queued", "_started"))
    return event.time, ending, not beginning, kind, event.step_id, event.attempt, event.span_id, event.message


@dataclass(slots=True)
class _Score:
    """The events of a run, and the state that they make one after the other."""

    run_id: str
    events: Sequence[Event]

    def play(self, told: int, speed: float) -> Iterator[tuple[float, list[Message]]]:
        """Yield messages and the pause before them, in seconds; the first `told` events are known already."""
        room = Room(Run(self.run_id))
        for event in self.events[:told]:
            room.apply(event)
        ready = [] if told else [Message(0, "snapshot", room.snapshot())]
        clock = self.events[max(0, told - 1)].time
        for number, event in enumerate(self.events[told:], start=told + 1):
            pause = min(MAX_PAUSE_SECONDS, (event.time - clock) / 1e9 / speed) if speed else 0.0
            if ready and (pause > 0 or len(ready) >= PORTION):
                yield 0.0, ready
                ready = []
            if pause > 0:
                yield pause, []
            clock = event.time
            change = room.apply(event)
            if change or number == len(self.events):
                ready.append(Message(number, event.type.value, room.describe(event, change)))
        yield 0.0, ready


def _told(last_id: str, most: int) -> int:
    """Return how many events a returning viewer has; 0 where its id is not of a replay."""
    epoch, _, number = last_id.partition("-")
    if epoch != EPOCH or not number.isdecimal() or len(number) > len(str(most)):
        return 0
    return min(int(number), most)
