"""Values on the command line that click has no type for."""

from __future__ import annotations

import re
import time
from datetime import datetime
from typing import TYPE_CHECKING, Final

import click

if TYPE_CHECKING:
    from collections.abc import Callable

_DURATION: Final = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_MS: Final = {"ms": 1.0, "s": 1e3, "m": 60e3, "h": 3600e3, "d": 86400e3}


class Duration(click.ParamType[float]):
    """A length of time, `250ms 1.5s 2m 3h 1d`, in milliseconds."""

    name = "duration"

    def convert(self, value: str | float, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Read it."""
        if isinstance(value, float):
            return value
        length = _length(str(value))
        if length is None:
            self.fail(f"{value!r} is not a length of time; write 250ms, 1.5s, 2m, 3h or 1d", param, ctx)
        return length


class Moment(click.ParamType[float]):
    """A point in time, in Unix milliseconds: ISO 8601, in local time unless it says otherwise, or so long ago (`2h`)."""

    name = "moment"

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock

    def convert(self, value: str | float, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Read it."""
        if isinstance(value, float):
            return value
        text = str(value)
        if (ago := _length(text)) is not None:
            return self._clock() * 1e3 - ago
        try:
            return datetime.fromisoformat(text).timestamp() * 1e3
        except (ValueError, OverflowError, OSError):
            self.fail(
                f"{text!r} is no point in time; write 2h for two hours ago, or 2026-11-25T09:30", param, ctx
            )


def _length(text: str) -> float | None:
    """Return a length of time in milliseconds; None where the text is none."""
    found = _DURATION.fullmatch(text)
    return float(found[1]) * _MS[found[2]] if found else None
