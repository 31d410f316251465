"""Numbers about many runs: how often, how long, and why they fail. Of the latest 100,000 at most."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

from stagelight_collector.history.bounded import ask
from stagelight_collector.history.queries import IN_PERIODS, joined
from stagelight_collector.history.records import (
    Durations,
    ErrorGroup,
    StepStatistics,
    TrendPart,
    WorkflowStatistics,
)
from stagelight_collector.history.walks import latest

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from stagelight_collector.history.engine import Handle

_WITH: Final = """
WITH Status = 'completed' AND isNotNull(DurationMs) AS Measured, Status NOT IN ('completed', 'failed', 'terminated', 'skipped') AS Open
"""
_OF_WORKFLOW: Final = joined("FROM stagelight_runs WHERE Workflow = {workflow:String} AND", IN_PERIODS)

WORKFLOW: Final = joined(
    _WITH,
    """
SELECT
    count(), countIf(Status = 'completed'), countIf(Status = 'failed'), countIf(Open), countIf(Measured),
    quantilesExactIf(0.5, 0.95, 0.99)(assumeNotNull(DurationMs), Measured),
    toUnixTimestamp64Nano(min(Started)), toUnixTimestamp64Nano(max(Started))
""",
    _OF_WORKFLOW,
)

BASELINE: Final = joined(
    "SELECT count(), quantileExact(0.5)(assumeNotNull(DurationMs)) FROM (",
    _WITH,
    "SELECT DurationMs",
    _OF_WORKFLOW,
    "AND Measured ORDER BY Started DESC LIMIT 100)",
)

TREND: Final = joined(
    _WITH,
    "SELECT intDiv(toUnixTimestamp64Nano(Started) - {first:Int64}, {width:Int64}) AS Part, count(), countIf(Status = 'failed'),",
    "countIf(Measured), quantileExactIf(0.5)(assumeNotNull(DurationMs), Measured)",
    _OF_WORKFLOW,
    "GROUP BY Part ORDER BY Part",
)
PARTS: Final = 24

STEPS: Final = joined(
    """
SELECT
    StepName, any(Kind), sum(Steps), sum(Completed), sum(Failed), sum(Going), sum(Timed),
    quantilesExactMerge(0.5, 0.95, 0.99)(Lengths), sum(Retries),
    arrayReduce('quantileExact(0.5)', arrayMap(found -> found.2, groupArraySortedMerge(100)(Newest))),
    groupArrayIf((assumeNotNull(Part), Steps, Failed, Timed, Median), isNotNull(Part))
FROM
(
""",
    _WITH,
    """
    SELECT
        StepName,
        if(
            isNull(Started), NULL,
            least(greatest(intDiv(toUnixTimestamp64Nano(assumeNotNull(Started)) - {first:Int64}, {width:Int64}), 0), {parts:Int64} - 1)
        ) AS Part,
        any(StepKind) AS Kind, count() AS Steps, sum(Attempts) - count() AS Retries, min(Started) AS First,
        countIf(Status = 'completed') AS Completed, countIf(Status = 'failed') AS Failed, countIf(Open) AS Going, countIf(Measured) AS Timed,
        quantilesExactStateIf(0.5, 0.95, 0.99)(assumeNotNull(DurationMs), Measured) AS Lengths,
        quantileExactIf(0.5)(assumeNotNull(DurationMs), Measured) AS Median,
        groupArraySortedStateIf(100)((-toUnixTimestamp64Nano(assumeNotNull(Started)), assumeNotNull(DurationMs)), Measured) AS Newest
    FROM stagelight_steps
    WHERE RunId IN (SELECT RunId
""",
    _OF_WORKFLOW,
    ") GROUP BY StepName, Part) GROUP BY StepName ORDER BY min(First), StepName LIMIT 1000",
)
"""Part by part first: the steps are put together from their states once, however much is asked of them."""

ERRORS: Final = joined(
    """
SELECT
    Workflow, ErrorType, substring(replaceRegexpAll(ErrorMessage, '[0-9a-fA-F]{8,}|[0-9]+', '#'), 1, 300) AS Pattern, count() AS Runs,
    toUnixTimestamp64Nano(min(Started)), toUnixTimestamp64Nano(max(Started)) AS Latest, argMax(RunId, (Started, RunId)),
    argMax(ErrorMessage, (Started, RunId))
FROM stagelight_runs
WHERE Status = 'failed' AND ({workflow:String} = '' OR Workflow = {workflow:String}) AND
""",
    IN_PERIODS,
    "GROUP BY Workflow, ErrorType, Pattern ORDER BY Runs DESC, Latest DESC, Workflow, ErrorType, Pattern LIMIT {limit:UInt32}",
)


def workflow(handle: Handle, name: str, since: int) -> WorkflowStatistics | None:
    """Return how a workflow's runs and their steps went; None where it has no runs."""
    of_it = latest(handle, since, name)
    ((runs, completed, failed, running, timed, quantiles, first, last),) = ask(handle, WORKFLOW, **of_it)
    if not runs:
        return None
    parts = _Parts.between(first, last)
    return WorkflowStatistics(
        name=name,
        runs=runs,
        completed=completed,
        failed=failed,
        running=running,
        durations=Durations(*quantiles) if timed else None,
        baseline=_baseline(handle, of_it),
        trend=parts.trend(ask(handle, TREND, **of_it, first=parts.first, width=parts.width)),
        steps=[_step(row, parts) for row in ask(handle, STEPS, **of_it, **asdict(parts))],
    )


def _baseline(handle: Handle, of_it: Mapping[str, Any]) -> float | None:
    ((completed, median),) = ask(handle, BASELINE, **of_it)
    return float(median) if completed else None


@dataclass(frozen=True, slots=True)
class _Parts:
    """The time between the first start of a run and the latest, cut into parts of one length."""

    first: int
    width: int
    parts: int

    @classmethod
    def between(cls, first: int, last: int) -> _Parts:
        width = (last - first) // PARTS + 1
        return cls(first, width, (last - first) // width + 1)

    def trend(self, rows: Iterable[Sequence[Any]]) -> list[TrendPart]:
        """Return all parts, of which some have no row."""
        found = {part: row for part, *row in rows}
        made: list[TrendPart] = []
        for part in range(self.parts):
            runs, failed, timed, median = found.get(part, (0, 0, 0, 0.0))
            start = self.first + part * self.width
            made.append(
                TrendPart(start=start, runs=runs, failed=failed, p50=float(median) if timed else None)
            )
        return made


def errors(handle: Handle, workflow: str, since: int, limit: int) -> list[ErrorGroup]:
    """Return why runs failed, the most frequent first; errors that differ in numbers only are one."""
    rows = ask(handle, ERRORS, **latest(handle, since, workflow), limit=limit)
    return [
        ErrorGroup(
            workflow=name,
            type=type_,
            pattern=pattern,
            runs=runs,
            first=first,
            last=last,
            run_id=run_id,
            message=message,
        )
        for name, type_, pattern, runs, first, last, run_id, message in rows
    ]


def _step(row: Sequence[Any], parts: _Parts) -> StepStatistics:
    name, kind, runs, completed, failed, running, timed, quantiles, retries, baseline, trend = row
    return StepStatistics(
        name=name,
        kind=kind,
        runs=runs,
        completed=completed,
        failed=failed,
        running=running,
        retries=retries,
        durations=Durations(*quantiles) if timed else None,
        baseline=float(baseline) if timed else None,
        trend=parts.trend(trend),
    )
