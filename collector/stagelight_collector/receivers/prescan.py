"""A walk over the wire format that counts what a message would become, before anything is built.

A byte limit is not a memory limit: an empty span takes two bytes on the wire and about 180 parsed, so 20 MB of them
took 1.8 GB. The walk builds nothing and stops at the first limit, so its own work is bounded by the limits.

Bodies up to `SMALL_BYTES` skip it: their worst case was measured at 88 bytes of memory for each of theirs (22 MiB),
and their depth is refused by protobuf itself past 100.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, Union

from stagelight_collector.receivers.status import Reason, Refused

if TYPE_CHECKING:
    from google.protobuf.descriptor import Descriptor

    from stagelight_collector.receivers.limits import Limits

SMALL_BYTES: Final = 256 << 10

_FIELDS_PER_ITEM: Final = 20
"""A span has 16 fields. More of them on average are repetitions, which cost time and mean nothing."""

_PAUSE_MASK: Final = 0xFFF
_PAUSE_SECONDS: Final = 50e-6
"""Every 4,096 fields (about 1 ms) the interpreter lock is let go for this long: the event loop, which gives it up for
each system call, would wait 5 ms for it every time."""

Table = Mapping[int, Union["Table", None]]
"""For a message type: the tag of each field that makes items -> that type's table, or None for repeated text."""


def table_of(message: Descriptor) -> Table:
    """The table for a message type and all that it can contain (types may contain themselves)."""
    tables: dict[str, dict[int, Table | None]] = {}

    def fill(descriptor: Descriptor) -> dict[int, Table | None]:
        table = tables.get(descriptor.full_name)
        if table is None:
            table = tables[descriptor.full_name] = {}
            for field in descriptor.fields:
                if field.message_type is not None:
                    table[field.number << 3 | 2] = fill(field.message_type)
                elif field.is_repeated and field.type in {field.TYPE_STRING, field.TYPE_BYTES}:
                    table[field.number << 3 | 2] = None
        return table

    return fill(message)


def count_items(body: bytes, table: Table, limits: Limits) -> int:
    """How many messages and repeated texts `body` holds at any depth.

    Raises:
        Refused: `TOO_MANY_ITEMS`, `TOO_DEEP`, or `MALFORMED` for bytes that are no protobuf message.
    """
    # One flat loop with local names: this runs for every field of a large request.
    position, end = 0, len(body)
    outer: list[tuple[int, Table]] = []
    items = 0
    fields_left = limits.items * _FIELDS_PER_ITEM
    while True:
        while position >= end:
            if position > end:
                raise _malformed(end)
            if not outer:
                return items
            end, table = outer.pop()
        fields_left -= 1
        if not fields_left & _PAUSE_MASK:
            if fields_left < 0:
                raise too_many_items(limits)
            time.sleep(_PAUSE_SECONDS)
        tag, position = _varint(body, position, end)
        wire_type = tag & 7
        if wire_type == 2:
            length, position = _varint(body, position, end)
            stop = position + length
            if stop > end:
                raise _malformed(position)
            if tag not in table:
                position = stop
                continue
            items += 1
            if items > limits.items:
                raise too_many_items(limits)
            inner = table[tag]
            if inner is None:
                position = stop
                continue
            if len(outer) >= limits.depth:
                raise too_deep(limits)
            outer.append((end, table))
            end, table = stop, inner
        elif wire_type == 0:
            _, position = _varint(body, position, end)
        elif wire_type == 1:
            position += 8
        elif wire_type == 5:
            position += 4
        else:  # groups, which OTLP does not have, and what no version of protobuf has
            raise _malformed(position)


def _varint(body: bytes, position: int, end: int) -> tuple[int, int]:
    if position >= end:
        raise _malformed(position)
    value = body[position]
    position += 1
    if value < 0x80:
        return value, position
    value &= 0x7F
    for shift in range(7, 70, 7):
        if position >= end:
            break
        byte = body[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
    raise _malformed(position)


def _malformed(position: int) -> Refused:
    return Refused(Reason.MALFORMED, f"the body is not a valid protobuf message (at byte {position})")


def too_many_items(limits: Limits) -> Refused:
    """The refusal that names how to make batches smaller."""
    return Refused(
        Reason.TOO_MANY_ITEMS,
        f"more than {limits.items} spans, records, data points, attributes and the like in one request:"
        " send smaller batches (OTEL_BSP_MAX_EXPORT_BATCH_SIZE, OTEL_BLRP_MAX_EXPORT_BATCH_SIZE)",
    )


def too_deep(limits: Limits) -> Refused:
    """The refusal of messages within messages."""
    return Refused(Reason.TOO_DEEP, f"more than {limits.depth} messages within one another")
