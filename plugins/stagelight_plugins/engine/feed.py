"""The feed of an instance: its journal in the words of the public event feed, one event after the other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import orjson

from stagelight_plugins.engine.facts import EventName as E, InstanceEvent
from stagelight_plugins.engine.values import REDACTED

if TYPE_CHECKING:
    from collections.abc import Iterator

    from stagelight_plugins.engine.memory import Record
    from stagelight_plugins.engine.store import Entry

PLACES: Final = 1 << 14
"""How many events one row of the journal may make; an event's id is the row's place and its own."""

_FRAME: Final = frozenset({"t", "at", "s", "c", "k", "n", "g", "cut", "o", "run"})


def expand(entry: Entry) -> Iterator[tuple[int, Record]]:
    """Yield the events of a row with their ids: a step's start is also that of its first attempt, and so on.

    Those of one record have moments of their own.
    """
    number = 0
    for record in orjson.loads(entry.body):
        for place, event in enumerate(_split(record)):
            if place:
                event["o"] = event.get("o", 0) + place
            yield entry.seq * PLACES + min(number, PLACES - 1), event
            number += 1


def _split(record: Record) -> Iterator[Record]:
    match record["t"]:
        case E.STEP_STARTED:
            yield record
            yield {**_bare(record), "t": E.ATTEMPT_STARTED.value, "n": 1}
        case E.STEP_COMPLETED:
            yield {**_bare(record), "t": E.ATTEMPT_COMPLETED.value}
            yield record
        case E.STEP_ERRORED:
            yield {
                **_bare(record),
                "t": E.ATTEMPT_ERRORED.value,
                "n": record.get("n", 1),
                "error": record["error"],
            }
            yield record
        case E.ROLLBACK_STEP_COMPLETED:
            yield {**_bare(record), "t": E.ROLLBACK_ATTEMPT_COMPLETED.value}
            yield record
        case _:
            yield record


def _bare(record: Record) -> Record:
    return {key: record[key] for key in ("at", "o", "s", "c", "k", "g", "n") if key in record}


def event_of(
    number: int, record: Record, workflow: str, instance: str, sensitive: set[tuple[str, int]]
) -> InstanceEvent:
    """Return an event as the outside sees it; what is sensitive is left out."""
    data: dict[str, Any] = {key: value for key, value in record.items() if key not in _FRAME}
    place = (record.get("s", ""), record.get("c", 0))
    if data.pop("sensitive", False):
        sensitive.add(place)
    if "output" in data and place in sensitive:
        data["output"] = REDACTED
    if "retry_at" in data:
        data["retry_delay_ms"] = data.pop("retry_at") - record["at"]
    if "k" in record:
        data["type"] = record["k"]
    return InstanceEvent(
        id=number,
        type=E(record["t"]),
        time=record["at"],
        workflow=workflow,
        instance=instance,
        step=place[0],
        count=place[1],
        attempt=record.get("n", 0),
        data=data,
    )
