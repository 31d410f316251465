"""Ways back through the runs, newest first, in portions of a bounded number of candidates.

A run's whole state is costly to look up (60 µs), so each way finds candidates in a table that knows little of every run: when it was
heard of, how it ended. What is found there passes the filter or may pass it; the list of runs looks at it closely.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from stagelight.conventions import RunStatus
from stagelight_collector.history import queries
from stagelight_collector.history.bounded import ask, portions
from stagelight_collector.history.records import RunFilter

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from stagelight_collector.history.engine import Handle

PORTION: Final = 64
"""How many candidates the list of runs looks at first, at least; four times as many each time it finds too few."""

SPARE: Final = 3
"""How many times as many candidates as runs are wanted it looks at first: most runs are heard of in two periods."""

SPARE_OF_ENDED: Final = 2
"""The same by how runs ended: one that did not end in the insert that it began in is found where it ended, and may have begun too early
for its portion. What is looked up for nothing costs 0.2 ms each."""

SPARE_OF_EXACT: Final = 1.25
"""The same where each candidate is a run that is asked for."""

BUDGET: Final = 100_000
"""How many candidates one page may look at; then it is handed out as it is."""

SCANNED: Final = 500_000
"""In how many rows of what was heard of one page may look for a text, which takes 25 ms; then it is handed out as it is."""

SIFTED: Final = 100_000
"""Among how many rows of what was heard of one page may look for runs that are not over, which takes 50 ms; then it is handed out as
it is."""

SIEVED: Final = 100_000
"""Of how many rows of what was heard of one page may look at the spans for an attribute, which takes 35 ms; then it is handed out as
it is. To look at fewer first took 25 ms: planning, most of it, which a value that is rare paid twice."""

NAMED: Final = 1_000
"""Of how many candidates the list of runs is told the ids: looked for among all once more they cost it 10 to 20 ms."""

LAST: Final = 2**63 - 1
"""Later than every run, in Unix nanoseconds."""

_ENDS: Final = frozenset({RunStatus.COMPLETED, RunStatus.FAILED, RunStatus.TERMINATED})


def asked(wanted: RunFilter) -> dict[str, Any]:
    """Return the parameters of what is asked for."""
    attributes = {
        f"{name}_{number}": text
        for number, pair in enumerate(wanted.attributes)
        for name, text in zip(("key", "value"), pair, strict=True)
    }
    return {
        **attributes,
        "workflow": wanted.workflow,
        "status": wanted.status.value if wanted.status else "",
        "error": wanted.error,
        "least": -1 if wanted.min_duration is None else wanted.min_duration,
        "most": -1 if wanted.max_duration is None else wanted.max_duration,
        "q": wanted.q,
    }


class Portion(NamedTuple):
    """The candidates of some periods."""

    floor: int
    """The earliest period."""
    seen: int
    """How many there are."""
    ids: list[str] | None = None
    """Of all of them, where they are few."""


def _few(ids: Iterable[str]) -> list[str] | None:
    """Return each id once; None where they are too long for one parameter."""
    found = list(set(ids))
    return found if len(list(portions(found))) <= 1 else None


class Walk:
    """Walks back through the periods in which runs were heard of, in portions of a bounded number of candidates."""

    def __init__(
        self,
        handle: Handle,
        wanted: RunFilter,
        way: queries.Way = queries.HEARD,
        /,
        *,
        since: int,
        before: int,
        portion: int,
    ) -> None:
        self._handle = handle
        self._asked = asked(wanted)
        self._way = way
        self._attributes = [one.condition for one in queries.with_attributes(len(wanted.attributes))]
        self._bottom = since // queries.PERIOD_NS
        self._ceiling = self._newest = before // queries.PERIOD_NS
        self._portion = portion
        self._budget = BUDGET
        self.ids: list[str] | None = None
        """The candidates of the portion, where they are few."""
        self.exhausted = False
        """There is nothing further back."""

    @property
    def candidates(self) -> list[str]:
        """The conditions that a run is one of the portion."""
        found, *others = dict.fromkeys([self._found.condition, *self._attributes])
        return [found if self.ids is None else queries.NAMED, *others]

    @property
    def _is_newest(self) -> bool:
        """Whether the portion is that of the newest runs: none of them can have ended after it."""
        return self._ceiling == self._newest and self._newest >= LAST // queries.PERIOD_NS

    @property
    def _found(self) -> queries.Candidates:
        return self._way.newest if self._is_newest else self._way.later

    def __iter__(self) -> Iterator[tuple[int, int]]:
        while self._budget > 0 and self._ceiling >= self._bottom:
            most = min(self._portion, self._budget)
            floor, seen, self.ids = self._next(most)
            self.exhausted = seen < most
            yield (self._bottom if self.exhausted else floor), self._ceiling
            if self.exhausted:
                return
            self._budget -= seen
            self._portion *= 4
            self._ceiling = floor - 1
        self.exhausted = self._ceiling < self._bottom

    def _next(self, most: int) -> Portion:
        """Return the next portion, of so many candidates and those of the same period."""
        if most <= NAMED and self._found.latest:
            return self._named(most)
        return self._floor(self._found, most)

    def _named(self, most: int) -> Portion:
        """Return a portion with its ids, unless its last periods have too many candidates."""
        few = most + most // 4
        latest = self._ask(self._found.latest, few)
        if len(latest) < most:
            return Portion(self._bottom, len(latest), _few(run_id for _, run_id in latest))
        floor = int(latest[most - 1][0])
        lowest = floor - self._found.earlier
        whole = len(latest) < few or latest[-1][0] < lowest
        return Portion(
            floor, most, _few(run_id for period, run_id in latest if period >= lowest) if whole else None
        )

    def _floor(self, candidates: queries.Candidates, most: int) -> Portion:
        ((floor, seen),) = self._ask(candidates.floor, most)
        return Portion(int(floor), int(seen))

    def _ask(self, query: str, most: int) -> Sequence[Sequence[Any]]:
        within = {"floor": self._bottom, "ceiling": self._ceiling, "portion": most}
        return ask(self._handle, query, **within, **self._asked)


class EndingsWalk(Walk):
    """Walks back through the endings of runs that pass a filter: few, as a rule, of all the runs there are."""

    def _next(self, most: int) -> Portion:
        found = super()._next(most)
        if self._is_newest:
            return found
        # Who was heard of in the window is looked up, so it must be bounded, too.
        lowest, heard, _ = self._floor(queries.HEARD.later, BUDGET)
        if heard < BUDGET or (lowest <= found.floor and found.seen >= most):
            return found
        return Portion(lowest, most)


class FarWalk(Walk):
    """Walks back through candidates that are few among many, as far as so many rows of what was heard of reach."""

    def __init__(self, handle: Handle, wanted: RunFilter, way: queries.Way, rows: int, **given: int) -> None:
        super().__init__(handle, wanted, way, **given)
        self._rows = rows

    def __iter__(self) -> Iterator[tuple[int, int]]:
        reach, seen, _ = self._floor(queries.HEARD.newest, self._rows)
        self._bottom = max(self._bottom, reach)
        yield from super().__iter__()
        self.exhausted = self.exhausted and seen < self._rows


def walk(handle: Handle, wanted: RunFilter, *, since: int, before: int, limit: int) -> Walk:
    """Return the way that finds the fewest candidates."""

    def given(spare: float) -> dict[str, int]:
        return {"since": since, "before": before, "portion": max(PORTION, int(spare * limit))}

    by_end = (
        wanted.status in _ENDS or wanted.error or (wanted.min_duration, wanted.max_duration) != (None, None)
    )
    if by_end:
        return EndingsWalk(handle, wanted, queries.ENDED, **given(SPARE_OF_ENDED))
    if wanted.attributes:
        first = queries.with_attributes(1)[0]
        spare = SPARE_OF_EXACT if _is_one_attribute(wanted) else SPARE
        return FarWalk(handle, wanted, queries.Way(first, first), SIEVED, **given(spare))
    if wanted.status is not None:
        return FarWalk(handle, wanted, queries.OPEN, SIFTED, **given(SPARE))
    if wanted.q:
        return FarWalk(handle, wanted, queries.TEXTS, SCANNED, **given(SPARE))
    return Walk(handle, wanted, **given(SPARE))


def _is_one_attribute(wanted: RunFilter) -> bool:
    plain = replace(wanted, attributes=(), since=None, until=None)
    return len(wanted.attributes) == 1 and plain == RunFilter()


def latest(handle: Handle, since: int, workflow: str = "") -> dict[str, Any]:
    """Return the parameters for the latest runs, as many as the budget allows."""
    wanted = RunFilter(workflow=workflow)
    floor, ceiling = next(iter(Walk(handle, wanted, since=since, before=LAST, portion=BUDGET)))
    return {"floor": floor, "ceiling": ceiling, "workflow": workflow}
