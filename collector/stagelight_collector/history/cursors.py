"""Opaque cursors: the key of the last row that was handed out, so that a page stays true while rows arrive."""

from __future__ import annotations

import base64
import binascii
import json
from typing import NamedTuple

from stagelight_collector.history.errors import BadCursor


class RunKey(NamedTuple):
    """What runs are ordered by, newest first."""

    started: int
    id: str


class EventKey(NamedTuple):
    """What the events of a run are ordered by."""

    time: int
    type: str
    step_id: str
    attempt: int
    hash: int


def encode(key: RunKey | EventKey) -> str:
    """Return a key as a cursor."""
    return base64.urlsafe_b64encode(json.dumps(key, separators=(",", ":")).encode()).decode().rstrip("=")


def run_key(cursor: str) -> RunKey:
    """Read the cursor of a listing of runs.

    Raises:
        BadCursor: It is none.
    """
    match _decode(cursor):
        case [int(started), str(id_)] if _is_time(started):
            return RunKey(started, id_)
        case _:
            raise BadCursor


def event_key(cursor: str) -> EventKey:
    """Read the cursor of a listing of events.

    Raises:
        BadCursor: It is none.
    """
    match _decode(cursor):
        case [int(time), str(type_), str(step_id), int(attempt), int(hash_)] if (
            _is_time(time) and 0 <= attempt < 2**32 and 0 <= hash_ < 2**64
        ):
            return EventKey(time, type_, step_id, attempt, hash_)
        case _:
            raise BadCursor


def _is_time(value: int) -> bool:
    return 0 <= value < 2**63


def _decode(cursor: str) -> object:
    try:
        return json.loads(base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True))
    except (binascii.Error, ValueError, RecursionError) as error:
        raise BadCursor from error
