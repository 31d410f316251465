"""Rates: how fast instances may be created, in all and of one workflow."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from stagelight_plugins.engine.errors import LimitReached
from stagelight_plugins.engine.limits import MAX_BATCH

if TYPE_CHECKING:
    from stagelight_plugins.engine.clock import Clock
    from stagelight_plugins.engine.limits import Limits


@dataclass(slots=True)
class Bucket:
    """Fills with so many a second; holds what comes in a second, and at least one batch."""

    per_second: int
    level: float = field(init=False)
    at: float = 0.0

    def __post_init__(self) -> None:
        self.level = self.size

    @property
    def size(self) -> float:
        """How much it holds."""
        return float(max(self.per_second, MAX_BATCH))

    def missing(self, count: int, now: float) -> float:
        """Return in how many seconds it will have so many; 0.0 where it has."""
        self.level = min(self.size, self.level + max(0.0, now - self.at) * self.per_second)
        self.at = now
        return max(0.0, (count - self.level) / self.per_second)


@dataclass(slots=True)
class Rates:
    """Lets creates through, or says when to come again."""

    limits: Limits
    clock: Clock
    _buckets: dict[str, Bucket] = field(default_factory=dict[str, Bucket])

    def take(self, workflow: str, count: int = 1) -> None:
        """Take so many creates of a workflow.

        Raises:
            LimitReached: They come too fast; `retry_after` says when there is room. Nothing was taken.
        """
        now, limits = self.clock.steady(), self.limits
        asked = (
            ("", "creates a second of all workflows", limits.creates_per_second),
            (f"/{workflow}", f"creates a second of {workflow!r}", limits.workflow_creates_per_second),
        )
        found: list[Bucket] = []
        for name, what, per_second in asked:
            if not per_second:
                continue
            bucket = self._buckets.get(name)
            if bucket is None:
                bucket = self._buckets[name] = Bucket(per_second, at=now)
            wait = bucket.missing(count, now)
            if wait:
                raise LimitReached(what, per_second, f"try again in {wait:.1f} s", retry_after=wait)
            found.append(bucket)
        for bucket in found:
            bucket.level -= count
