"""Ways back through the runs, newest first, in portions of a bounded number of candidates.

A run's whole state is costly to look up (60 µs), so each way finds candidates in a table that knows little of every run: when it was
heard of, how it ended. What is found there passes the filter or may pass it; the list of runs looks at it closely.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from stagelight.conventions import RunStatus
from stagelight_collector.history import queries
from stagelight_collector.history.bounded import ask

if TYPE_CHECKING:
    from collections.abc import Iterator

    from stagelight_collector.history.engine import Handle
    from stagelight_collector.history.records import RunFilter

PORTION: Final = 64
"""How many candidates the list of runs looks at first, at least; four times as many each time it finds too few."""

BUDGET: Final = 100_000
"""How many candidates one page may look at; then it is handed out as it is."""

SCANNED: Final = 500_000
"""In how many rows of what was heard of one page may look for a text, which takes 25 ms; then it is handed out as it is."""

SIFTED: Final = 100_000
"""Among how many rows of what was heard of one page may look for runs that are not over, which takes 50 ms; then it is handed out as
it is."""

LAST: Final = 2**63 - 1
"""Later than every run, in Unix nanoseconds."""

_ENDS: Final = frozenset({RunStatus.COMPLETED, RunStatus.FAILED, RunStatus.TERMINATED})


def ended(wanted: RunFilter) -> dict[str, Any]:
    """Return the parameters of what an ending tells."""
    return {
        "workflow": wanted.workflow,
        "status": wanted.status.value if wanted.status else "",
        "error": wanted.error,
        "least": -1 if wanted.min_duration is None else wanted.min_duration,
        "most": -1 if wanted.max_duration is None else wanted.max_duration,
        "q": wanted.q,
    }


class Walk:
    """Walks back through the periods in which runs were heard of, in portions of a bounded number of candidates."""

    def __init__(
        self, handle: Handle, workflow: str, *, since: int, before: int, portion: int = PORTION
    ) -> None:
        self._handle = handle
        self._workflow = workflow
        self._bottom = since // queries.PERIOD_NS
        self._ceiling = self._newest = before // queries.PERIOD_NS
        self._portion = portion
        self._budget = BUDGET
        self.exhausted = False
        """There is nothing further back."""

    @property
    def candidates(self) -> str:
        """The condition that a run is one of the portion."""
        return queries.IN_PERIODS

    @property
    def _first(self) -> bool:
        """Whether the portion is that of the newest runs: none of them can have ended after it."""
        return self._ceiling == self._newest and self._newest >= LAST // queries.PERIOD_NS

    def __iter__(self) -> Iterator[tuple[int, int]]:
        while self._budget > 0 and self._ceiling >= self._bottom:
            floor, seen = self._floor(min(self._portion, self._budget))
            self.exhausted = seen < min(self._portion, self._budget)
            yield (self._bottom if self.exhausted else floor), self._ceiling
            if self.exhausted:
                return
            self._budget -= seen
            self._portion *= 4
            self._ceiling = floor - 1
        self.exhausted = self._ceiling < self._bottom

    def _floor(self, portion: int) -> tuple[int, int]:
        ((floor, seen),) = ask(
            self._handle,
            queries.FLOOR,
            floor=self._bottom,
            ceiling=self._ceiling,
            workflow=self._workflow,
            portion=portion,
        )
        return int(floor), int(seen)


class EndingsWalk(Walk):
    """Walks back through the endings of runs that pass a filter: few, as a rule, of all the runs there are."""

    def __init__(self, handle: Handle, wanted: RunFilter, *, since: int, before: int, portion: int) -> None:
        super().__init__(handle, wanted.workflow, since=since, before=before, portion=portion)
        self._ended = ended(wanted)

    @property
    def candidates(self) -> str:
        """The condition on how it ended."""
        return queries.IN_ENDINGS if self._first else queries.IN_LATER_ENDINGS

    def _floor(self, portion: int) -> tuple[int, int]:
        ((floor, seen),) = ask(
            self._handle,
            queries.ENDINGS_FLOOR,
            floor=self._bottom,
            ceiling=self._ceiling,
            portion=portion,
            **self._ended,
        )
        if self.candidates == queries.IN_ENDINGS:
            return int(floor), int(seen)
        # Who was heard of in the window is looked up, so it must be bounded, too.
        lowest, heard = super()._floor(BUDGET)
        if heard < BUDGET or lowest <= floor:
            return (int(floor), int(seen)) if seen >= portion or heard < BUDGET else (lowest, portion)
        return lowest, portion


class _FarWalk(Walk):
    """Walks back through candidates that are few among many, as far as a bounded number of rows reaches."""

    @property
    def floors(self) -> str:
        """The query that finds the floor of a portion."""
        raise NotImplementedError

    @property
    def rows(self) -> int:
        """How many rows of what was heard of one page may go through."""
        raise NotImplementedError

    def __init__(self, handle: Handle, wanted: RunFilter, *, since: int, before: int, portion: int) -> None:
        super().__init__(handle, wanted.workflow, since=since, before=before, portion=portion)
        self._asked = {"workflow": wanted.workflow, "q": wanted.q}

    def __iter__(self) -> Iterator[tuple[int, int]]:
        reach, seen = super()._floor(self.rows)
        whole = seen < self.rows
        if not whole:
            self._bottom = max(self._bottom, reach)
        yield from super().__iter__()
        self.exhausted = self.exhausted and whole

    def _floor(self, portion: int) -> tuple[int, int]:
        ((floor, seen),) = ask(
            self._handle,
            self.floors,
            floor=self._bottom,
            ceiling=self._ceiling,
            portion=portion,
            **self._asked,
        )
        return int(floor), int(seen)


class OpenWalk(_FarWalk):
    """Walks back through the runs that are not over."""

    @property
    def floors(self) -> str:
        """The query of what may go on."""
        return queries.OPEN_FLOOR if self._first else queries.LATER_OPEN_FLOOR

    @property
    def rows(self) -> int:
        """As many as make sets of them in 50 ms."""
        return SIFTED

    @property
    def candidates(self) -> str:
        """The condition that it may go on."""
        return queries.IN_OPEN if self._first else queries.IN_LATER_OPEN


class TextWalk(_FarWalk):
    """Walks back through the runs whose id, workflow or error holds a text."""

    @property
    def floors(self) -> str:
        """The query of where a text is."""
        return queries.TEXT_FLOOR

    @property
    def rows(self) -> int:
        """As many as are looked through in 25 ms."""
        return SCANNED

    @property
    def candidates(self) -> str:
        """The condition that a text is somewhere in it."""
        return queries.IN_TEXTS if self._first else queries.IN_LATER_TEXTS


def walk(handle: Handle, wanted: RunFilter, *, since: int, before: int, portion: int) -> Walk:
    """Return the way that finds the fewest candidates."""
    by_end = (
        wanted.status in _ENDS or wanted.error or (wanted.min_duration, wanted.max_duration) != (None, None)
    )
    if by_end:
        return EndingsWalk(handle, wanted, since=since, before=before, portion=portion)
    if wanted.status is not None:
        return OpenWalk(handle, wanted, since=since, before=before, portion=portion)
    if wanted.q:
        return TextWalk(handle, wanted, since=since, before=before, portion=portion)
    return Walk(handle, wanted.workflow, since=since, before=before, portion=portion)


def latest(handle: Handle, since: int, workflow: str = "") -> dict[str, Any]:
    """Return the parameters for the latest runs, as many as the budget allows."""
    floor, ceiling = next(iter(Walk(handle, workflow, since=since, before=LAST, portion=BUDGET)))
    return {"floor": floor, "ceiling": ceiling, "workflow": workflow}
