"""Spans of time, as people write and read them."""

from __future__ import annotations

import re
from typing import Annotated, Final

from pydantic import BeforeValidator

_UNITS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
LONGEST: Final = 100 * 365 * 86_400.0
_PART: Final = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d|w)")


def seconds(value: object) -> float:
    """Read `90s`, `1h30m` or a number of seconds.

    Raises:
        ValueError: It is none.
    """
    if isinstance(value, (int, float)) and not isinstance(value, bool) and value >= 0:
        return _bounded(value)
    text = str(value).replace(" ", "")
    parts = _PART.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise ValueError("this is no span of time; write for example '30s', '5m', '1h30m' or '1d'")
    return _bounded(sum(float(number) * _UNITS[unit] for number, unit in parts))


def _bounded(span: float) -> float:
    if span > LONGEST:
        raise ValueError("this is longer than a hundred years; write a shorter span of time")
    return float(span)


Span = Annotated[float, BeforeValidator(seconds)]
"""Seconds, written as a span of time."""


def said(span: float) -> str:
    """Return a span as people say it: `0.4 s`, `40 s`, `5 min 20 s`, `2 h 5 min`, `3 d 4 h`."""
    if span < 10:
        return f"{max(0.0, span):.2g} s" if span < 1 else f"{span:.1f} s".replace(".0 ", " ")
    whole = round(span)
    if whole < 60:
        return f"{whole} s"
    for size, word, below, part in ((86400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if whole >= size:
            rest = whole % size // below
            return f"{whole // size} {word}" + (f" {rest} {part}" if rest else "")
    return f"{whole} s"
