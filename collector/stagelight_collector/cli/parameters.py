"""Values on the command line that click has no type for."""

from __future__ import annotations

import re
from typing import Final

import click

_DURATION: Final = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")
_MS: Final = {"ms": 1.0, "s": 1e3, "m": 60e3, "h": 3600e3, "d": 86400e3}


class Duration(click.ParamType[float]):
    """A length of time, `250ms 1.5s 2m 3h 1d`, in milliseconds."""

    name = "duration"

    def convert(self, value: str | float, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Read it."""
        if isinstance(value, float):
            return value
        found = _DURATION.fullmatch(str(value))
        if found is None:
            self.fail(f"{value!r} is not a length of time; write 250ms, 1.5s, 2m, 3h or 1d", param, ctx)
        return float(found[1]) * _MS[found[2]]
