"""Numbers about many runs: how often, how long, and why they fail. Of the latest 100,000 at most."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from stagelight_collector.history.queries import IN_PERIODS, joined
from stagelight_collector.history.reader import ask, latest
from stagelight_collector.history.records import Durations, ErrorGroup, StepStatistics, WorkflowStatistics

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stagelight_collector.history.engine import Handle

_COUNTS: Final = """
    count(), countIf(Status = 'completed'), countIf(Status = 'failed'),
    countIf(Status NOT IN ('completed', 'failed', 'terminated', 'skipped')),
    countIf(Status = 'completed' AND isNotNull(DurationMs)),
    quantilesExactIf(0.5, 0.95, 0.99)(assumeNotNull(DurationMs), Status = 'completed' AND isNotNull(DurationMs))
"""

WORKFLOW: Final = joined(
    "SELECT", _COUNTS, "FROM stagelight_runs WHERE Workflow = {workflow:String} AND", IN_PERIODS
)

STEPS: Final = joined(
    "SELECT StepName, any(StepKind),",
    _COUNTS,
    ", sum(Attempts) - count() FROM stagelight_steps WHERE RunId IN",
    "(SELECT RunId FROM stagelight_runs WHERE Workflow = {workflow:String} AND",
    IN_PERIODS,
    ") GROUP BY StepName ORDER BY min(Started), StepName LIMIT 1000",
)

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
    ((runs, completed, failed, running, timed, quantiles),) = ask(handle, WORKFLOW, **of_it)
    if not runs:
        return None
    return WorkflowStatistics(
        name=name,
        runs=runs,
        completed=completed,
        failed=failed,
        running=running,
        durations=Durations(*quantiles) if timed else None,
        steps=[_step(row) for row in ask(handle, STEPS, **of_it)],
    )


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


def _step(row: Sequence[Any]) -> StepStatistics:
    name, kind, runs, completed, failed, running, timed, quantiles, retries = row
    return StepStatistics(
        name=name,
        kind=kind,
        runs=runs,
        completed=completed,
        failed=failed,
        running=running,
        retries=retries,
        durations=Durations(*quantiles) if timed else None,
    )
