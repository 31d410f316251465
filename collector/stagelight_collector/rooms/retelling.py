"""Retelling: messages that a room did not keep, made again from the events that the bus kept.

So a viewer that comes back after long, or from another collector, goes on where it was. Each event is told in its order
and once, with the state of now: a viewer replaces by id, so it ends where the room is.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final

from stagelight.conventions import EventType
from stagelight_collector.encoding import fact
from stagelight_collector.rooms.channel import Message
from stagelight_collector.rooms.ids import is_settled, number_in
from stagelight_collector.rooms.state import Change, LogLine

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from stagelight.events import Event
    from stagelight_collector.bus.contract import Told
    from stagelight_collector.rooms.hub import Hub
    from stagelight_collector.rooms.room import Room

PORTION: Final = 200
"""How many events are told again before others get their turn on the event loop."""

_log = logging.getLogger(__name__)


async def catch_up(hub: Hub, names: Iterable[str], last_event_id: str) -> None:
    """Have rooms that are held keep again what came after an id, where the bus still knows it."""
    seq = number_in(last_event_id, hub.epoch, hub.seq)
    if seq is None or seq < hub.torn or not is_settled(last_event_id):
        return
    for name in names:
        room = hub.rooms.get(name)
        if room is None or room.channel.since(seq) is not None:
            continue
        async with room.retelling:  # a crowd that comes back together is told again once
            if room.channel.since(seq) is None:
                await _retell(hub, room, seq)


async def _retell(hub: Hub, room: Room, after: int) -> None:
    room.watched = hub.clock()  # from here on the ring keeps what happens
    missing, doubts = room.channel.missing, hub.doubts
    try:
        missed = await hub.recall(room.run.id, after)
        kept = await hub.recall(room.run.id, 0) if missed is not None else None
    except Exception as error:  # noqa: BLE001 - then everything is told afresh
        _log.debug("what happened in run %s is not told again: %s", room.run.id, error)
        return
    if kept is None:
        return
    messages = await _messages(room, kept, after, missing)
    if room.whole and room.channel.missing == missing and hub.doubts == doubts:
        room.channel.precede(messages, after)
        room.retold = True


async def _messages(room: Room, kept: Sequence[Told], after: int, until: int) -> list[Message]:
    """Return a message for each event after one number, until another, that was not there before."""
    known: set[str] = set()
    messages: list[Message] = []
    for number, told in enumerate(kept, start=1):
        text = fact(told.event)
        if after < told.number <= until and text not in known:
            data = room.describe(told.event, _as_of_now(room, told.event))
            messages.append(Message(told.number, told.event.type.value, data))
        known.add(text)
        if number % PORTION == 0:
            await asyncio.sleep(0)
    return messages


def _as_of_now(room: Room, event: Event) -> Change:
    if event.type is EventType.LOG:
        return Change(log=LogLine.of(event))
    return Change(run=True, step=room.run.steps.get(event.step_id))
