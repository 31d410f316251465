"""The line: something said while a run or step is open."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from math import isfinite
from typing import TYPE_CHECKING, Any, Final

from stagelight.attributes import describe, name_text
from stagelight.guard import say_once

if TYPE_CHECKING:
    from stagelight.conventions import EventType
    from stagelight.scope import Scope

_LEVELS: Final = (
    (logging.CRITICAL, "CRITICAL"),
    (logging.ERROR, "ERROR"),
    (logging.WARNING, "WARNING"),
    (logging.INFO, "INFO"),
    (logging.DEBUG, "DEBUG"),
)


@dataclass(slots=True, eq=False)
class Line:
    """A progress report or a log line; `time` is Unix nanoseconds."""

    scope: Scope
    type: EventType
    time: int
    message: str = ""
    severity: str = ""
    attributes: dict[str, Any] = field(default_factory=dict[str, Any])
    current: float | None = None
    total: float | None = None

    @property
    def weight(self) -> int:
        """About how many characters it holds."""
        return len(self.message) + sum(
            len(value) for value in self.attributes.values() if isinstance(value, str)
        )


def level_name(severity: object) -> str:
    """Return a severity as an upper-case name: `error`, `logging.ERROR` and 45 are `ERROR`; what is neither is `INFO`."""
    if isinstance(severity, int):
        return next((name for least, name in _LEVELS if int.__int__(severity) >= least), "TRACE")
    return (name_text(severity).strip().upper() or "INFO") if isinstance(severity, str) else "INFO"


def finite(name: str, value: object) -> float | None:
    """Return a number of a progress report; what is no finite number is None, and said once."""
    if type(value) is int and -(2**63) <= value < 2**63:
        return value
    try:
        number = float(value)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # whatever has __float__
        if isfinite(number) and not isinstance(value, (str, bytes, bytearray)):
            return number
    except Exception:  # noqa: S110 - the value's own __float__ may raise anything
        pass
    say_once(
        f"progress {name}",
        "progress(%s=%s): that is no finite number, so it is left out",
        name,
        describe(value),
    )
    return None
