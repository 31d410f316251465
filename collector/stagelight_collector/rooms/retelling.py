"""Retelling: messages that a room did not keep, made again from the events that the bus kept.

So a viewer that comes back after long, or from another collector, goes on where it was. The state is a pure reducer, so
the messages are those that were told then.
"""

from __future__ import annotations

import asyncio
import json
import logging
from typing import TYPE_CHECKING, Final

from stagelight_collector.rooms.channel import Message
from stagelight_collector.rooms.room import Room
from stagelight_collector.rooms.state import Run

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from stagelight.events import Event
    from stagelight_collector.bus.contract import Told
    from stagelight_collector.rooms.hub import Hub

PORTION: Final = 200
"""How many events are applied before others get their turn on the event loop."""

_log = logging.getLogger(__name__)


async def catch_up(hub: Hub, names: Iterable[str], last_event_id: str) -> None:
    """Have rooms that are held keep again what came after an id, where the bus still knows it."""
    seq = hub.resumable(last_event_id)
    if seq is None or seq < hub.torn:
        return
    for name in names:
        room = hub.rooms.get(name)
        if room is None or room.channel.since(seq) is not None:
            continue
        async with room.retelling:  # a crowd that comes back together is retold once
            if room.channel.since(seq) is None:
                await _retell(hub, room, seq)


async def _retell(hub: Hub, room: Room, after: int) -> None:
    room.watched = hub.clock()  # from here on the ring keeps what happens
    missing, torn = room.channel.missing, hub.torn
    try:
        missed = await hub.recall(room.run.id, after)
        past = await hub.load(room.run.id) if missed is not None else []
    except Exception as error:  # noqa: BLE001 - then everything is told afresh
        _log.debug("what happened in run %s is not retold: %s", room.run.id, error)
        return
    if missed is None:
        return
    messages = await told_again(room.run.id, past, missed)
    if room.channel.missing == missing and hub.torn == torn:
        room.channel.precede([message for message in messages if message.seq <= missing], after)


async def told_again(run_id: str, past: Sequence[Event], missed: Sequence[Told]) -> list[Message]:
    """Return the messages of `missed`, which `past` may hold already."""
    latest = {_fact(told.event) for told in missed}
    room = Room(Run(run_id))
    messages: list[Message] = []
    for number, event in enumerate(past):
        if _fact(event) not in latest:
            room.apply(event)
        if number % PORTION == 0:
            await asyncio.sleep(0)
    for told in missed:
        if change := room.apply(told.event):
            data = room.describe(told.event, change)
            messages.append(Message(told.number, told.event.type.value, data))
        if told.number % PORTION == 0:
            await asyncio.sleep(0)
    return messages


def _fact(event: Event) -> str:
    """Return what makes an event the same as another, whichever way it came."""
    return json.dumps(event.to_dict(), sort_keys=True, default=str)
