"""Durations: a number of milliseconds, or words such as `24 hours`."""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime, timedelta
from typing import Final

from stagelight_plugins.engine.errors import BadDuration

SECOND: Final = 1_000
DAY: Final = 86_400 * SECOND
MAX_SLEEP: Final = 365 * DAY
"""Milliseconds."""

_UNITS: Final = {
    "millisecond": 1,
    "second": SECOND,
    "minute": 60 * SECOND,
    "hour": 3_600 * SECOND,
    "day": DAY,
    "week": 7 * DAY,
    "month": 30 * DAY,
    "year": 365 * DAY,
}
_WORDS: Final = re.compile(
    r"\s*(\d+(?:\.\d+)?)\s*(millisecond|second|minute|hour|day|week|month|year)s?\s*", re.IGNORECASE
)
_REMEDY: Final = "write milliseconds as a number, a timedelta, or words such as '24 hours'"

Duration = int | float | str | timedelta


def milliseconds(value: Duration, *, longest: int = MAX_SLEEP) -> int:
    """Return a duration in milliseconds.

    Raises:
        BadDuration: It cannot be understood, is negative, or longer than `longest`.
    """
    found = _read(value)
    if found < 0:
        raise BadDuration(value, "it is negative; durations begin at 0")
    if found > longest:
        raise BadDuration(value, f"the longest is {longest // DAY} days")
    return found


def _read(value: object) -> int:
    if isinstance(value, timedelta):
        return round(value.total_seconds() * 1_000)
    if isinstance(value, str):
        match = _WORDS.fullmatch(value)
        if match is None:
            raise BadDuration(value, _REMEDY)
        return round(float(match[1]) * _UNITS[match[2].lower()])
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise BadDuration(value, _REMEDY)
    return round(value)


def moment(value: object) -> int:
    """Return a point in time as Unix milliseconds.

    Raises:
        BadDuration: It is no time, or a datetime without a zone: a guess would be wrong twice a year.
    """
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise BadDuration(value, "it has no time zone; write datetime(…, tzinfo=UTC)")
        return math.ceil(value.timestamp() * 1_000)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise BadDuration(value, "write an aware datetime, or Unix milliseconds")
    return math.ceil(value)


def at(time: int) -> datetime:
    """Return Unix milliseconds as an aware datetime, UTC."""
    return datetime.fromtimestamp(time / 1_000, UTC)
