"""What is usual, by robust statistics: medians, so that a few strange runs do not move it; and nothing in the warm-up."""

from __future__ import annotations

import math
import statistics
from collections import deque
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

WARM_UP: Final = 20
"""So many samples are needed before anything is called unusual."""
KEPT: Final = 100
FAR: Final = 4.0
"""So many robust standard deviations (of the logarithm: durations are skewed) from the median is far."""
TIMES_THE_LONGEST: Final = 2.0
TIMES_AT_MOST: Final = 5.0
"""However wild it is, five times the longest is unusual."""
LEAST_SPREAD: Final = 0.1
FLOOR_SECONDS: Final = 10.0
"""Nobody is told of less than that above the usual, however regular it is."""
STALE: Final = 10
"""The limit is computed again after so many samples."""
CONSISTENT: Final = 1.4826
"""Turns the median absolute deviation into the standard deviation of a normal distribution."""

LEAST_GAPS: Final = 10
KEPT_STARTS: Final = 60
REGULAR: Final = 0.15
"""A cadence whose robust deviation is a smaller part of it than this is a schedule."""
LEAST_PERIOD: Final = 30.0


@dataclass(slots=True)
class Baseline:
    """How long something usually takes."""

    _samples: deque[float] = field(default_factory=lambda: deque[float](maxlen=KEPT))
    _usual: float = 0.0
    _limit: float = math.inf
    _fresh: int = 0

    def __len__(self) -> int:
        return len(self._samples)

    def add(self, seconds: float) -> None:
        """Take a sample."""
        self._samples.append(seconds)
        self._fresh -= 1

    def extend(self, samples: Iterable[float]) -> None:
        """Take samples that are older than all that are here."""
        room = KEPT - len(self._samples)
        self._samples.extendleft(reversed(list(samples)[-room:] if room else []))
        self._fresh = 0

    @property
    def limit(self) -> float:
        """More seconds than this are unusual; infinite in the warm-up."""
        if self._fresh <= 0:
            self._compute()
        return self._limit

    @property
    def usual(self) -> float:
        """The median, in seconds."""
        if self._fresh <= 0:
            self._compute()
        return self._usual

    def _compute(self) -> None:
        self._fresh = STALE if len(self._samples) >= WARM_UP else 1
        if len(self._samples) < WARM_UP:
            return
        ordered = sorted(self._samples)
        logs = [math.log(max(sample, 1e-3)) for sample in ordered]
        middle = statistics.median(logs)
        spread = max(LEAST_SPREAD, CONSISTENT * statistics.median(abs(each - middle) for each in logs))
        self._usual = statistics.median(ordered)
        # The longest of all may be what somebody was told of before: they must not hide the next one.
        longest = ordered[-1 - math.ceil(len(ordered) * 0.05)]
        far = min(math.exp(middle + FAR * spread), TIMES_AT_MOST * longest)
        self._limit = max(far, TIMES_THE_LONGEST * longest, self._usual + FLOOR_SECONDS)


@dataclass(slots=True)
class Cadence:
    """How regularly something starts."""

    _starts: deque[float] = field(default_factory=lambda: deque[float](maxlen=KEPT_STARTS))
    _due: float | None = None
    _known: bool = False
    period: float = 0.0

    def add(self, start: float) -> None:
        """Take a start."""
        if not self._starts or start > self._starts[-1]:
            self._starts.append(start)
            self._known = False

    def learn(self, starts: Iterable[float]) -> None:
        """Take starts that are older than all that are here, the oldest first."""
        newer = list(self._starts)
        older = [start for start in starts if not newer or start < newer[0]]
        self._starts.clear()
        self._starts.extend([*older, *newer])
        self._known = False

    @property
    def last(self) -> float:
        """The last start; 0 where there was none."""
        return self._starts[-1] if self._starts else 0.0

    @property
    def due(self) -> float | None:
        """When the next start is overdue; None where there is no schedule in it."""
        if not self._known:
            self._due, self._known = self._overdue(), True
        return self._due

    def _overdue(self) -> float | None:
        starts = list(self._starts)
        gaps = sorted(after - before for before, after in pairwise(starts))
        if len(gaps) < LEAST_GAPS:
            return None
        self.period = statistics.median(gaps)
        deviation = CONSISTENT * statistics.median(abs(gap - self.period) for gap in gaps)
        if self.period < LEAST_PERIOD or deviation > REGULAR * self.period:
            return None
        # A schedule of weekdays has long gaps that are as usual as the short ones: what comes often is no miss.
        longest = gaps[-1 - math.ceil(len(gaps) * 0.05)]
        grace = max(3 * deviation, 0.25 * self.period, LEAST_PERIOD)
        return starts[-1] + max(self.period, longest) + grace
