"""The clock: wall time for what is durable, a counter that never jumps for what is not."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """Tells the time."""

    def now(self) -> int:
        """Return Unix milliseconds. It may jump; what is durable is measured by it."""
        ...

    def steady(self) -> float:
        """Return seconds that only go on; timeouts of what runs are measured by it."""
        ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> int:
        """Return Unix milliseconds."""
        return time.time_ns() // 1_000_000

    def steady(self) -> float:
        """Return seconds since some moment."""
        return time.monotonic()
