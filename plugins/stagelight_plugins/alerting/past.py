"""The past, from history: what is usual, what still goes on, and what was missed while nobody looked."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from stagelight.conventions import EventType
from stagelight.events import Event
from stagelight_plugins.alerting.rules.open import OpenStep

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stagelight_plugins.alerting.rules.watch import Watch
    from stagelight_plugins.hookspecs import Collector

DAYS: Final = 30
"""How far back what is usual is learned from."""
RUNS: Final = 20_000
"""From how many runs, at most."""
PAGE: Final = 10_000
MARGIN_NS: Final = 60_000_000_000
"""Batches may overtake each other by so much."""
MISSED: Final = (
    EventType.RUN_STARTED, EventType.RUN_COMPLETED, EventType.RUN_FAILED, EventType.RUN_TERMINATED,
    EventType.STEP_FAILED,
)  # fmt: skip

_RECENT: Final = f"""
    RunId IN (
        SELECT RunId FROM stagelight_run_periods WHERE Period >= toUnixTimestamp(now() - INTERVAL {DAYS} DAY) / 10
        ORDER BY Period DESC LIMIT {RUNS}
    )"""  # noqa: S608 - figures of ours
_STEPS: Final = f"""
    SELECT Workflow, StepName, groupArray(100)(Seconds) FROM (
        SELECT r.Workflow AS Workflow, s.StepName AS StepName, s.DurationMs / 1000 AS Seconds
        FROM (SELECT * FROM stagelight_steps WHERE {_RECENT}) AS s
        INNER JOIN (SELECT RunId, Workflow FROM stagelight_runs WHERE {_RECENT}) AS r ON r.RunId = s.RunId
        WHERE s.Status = 'completed' AND s.DurationMs IS NOT NULL AND s.StepName != ''
        ORDER BY s.Started DESC
    ) GROUP BY Workflow, StepName LIMIT 5000"""  # noqa: S608 - as above
_RUNS: Final = f"""
    SELECT Workflow, groupArray(100)(Start), groupArray(100)(Seconds), groupArray(100)(Done), groupArray(100)(Top) FROM (
        SELECT
            Workflow, toUnixTimestamp64Milli(Started) / 1000 AS Start, ifNull(DurationMs, 0) / 1000 AS Seconds,
            Status = 'completed' AS Done, ParentRunId = '' AS Top
        FROM stagelight_runs WHERE {_RECENT} AND Workflow != '' ORDER BY Started DESC
    ) GROUP BY Workflow LIMIT 5000"""  # noqa: S608 - as above
_SILENCES: Final = f"""
    SELECT Workflow, groupArray(100)(Gap) FROM (
        SELECT
            anyIf(Workflow, Workflow != '') AS Workflow, countIf(Type = 'run_completed') > 0 AS Done,
            arrayMax(arrayDifference(arraySort(groupArray(toUnixTimestamp64Milli(Received))))) / 1000 AS Gap
        FROM stagelight_events WHERE Type NOT IN ('heartbeat', 'log') AND {_RECENT}
        GROUP BY RunId ORDER BY max(Received) DESC
    ) WHERE Done AND Workflow != '' GROUP BY Workflow LIMIT 5000"""  # noqa: S608 - as above
_OPEN_RUNS: Final = f"""
    SELECT
        RunId, Workflow, toUnixTimestamp64Milli(Started) / 1000, toUnixTimestamp64Milli(LastEvent) / 1000,
        Service, Status
    FROM stagelight_runs
    WHERE {_RECENT} AND Status IN ('running', 'waiting', 'paused') AND LastEvent > now() - INTERVAL 1 DAY
    ORDER BY Started LIMIT {PAGE}"""  # noqa: S608 - as above
_OPEN_STEPS: Final = f"""
    SELECT RunId, StepId, StepName, toUnixTimestamp64Milli(Started) / 1000, Attempts FROM stagelight_steps
    WHERE {_RECENT} AND Status = 'running' AND Started > now() - INTERVAL 1 DAY AND StepName != ''
    ORDER BY Started LIMIT {PAGE}"""  # noqa: S608 - as above
_MISSED: Final = f"""
    SELECT Data, toUnixTimestamp64Nano(Received) AS At FROM stagelight_events
    WHERE Received >= fromUnixTimestamp64Nano({{seen:Int64}}) AND Time >= now() - INTERVAL {DAYS} DAY
        AND Type IN ({", ".join(f"'{kind}'" for kind in MISSED)})
    ORDER BY Received LIMIT {PAGE}"""  # noqa: S608 - as above

_REACHED: Final = """
    SELECT count() > 0 FROM stagelight_events
    WHERE Received >= fromUnixTimestamp64Nano({until:Int64}) AND Time >= now() - INTERVAL 1 DAY"""


async def learn(collector: Collector, watch: Watch, now: float) -> None:
    """Learn what is usual.

    Raises:
        QueryError: History cannot be asked.
    """
    for workflow, step, seconds in await _ask(collector, _STEPS):
        watch.step(watch.workflow(workflow, now), step).usual.extend(reversed(seconds))
    for workflow, starts, seconds, done, top in await _ask(collector, _RUNS):
        known = watch.workflow(workflow, now)
        known.length.extend(reversed([each for each, well in zip(seconds, done, strict=True) if well]))
        known.cadence.learn(sorted(start for start, first in zip(starts, top, strict=True) if first))
    for workflow, gaps in await _ask(collector, _SILENCES):
        watch.workflow(workflow, now).silence.extend(reversed(gaps))


async def take_up(collector: Collector, watch: Watch, now: float) -> None:
    """Take up what still goes on.

    Raises:
        QueryError: History cannot be asked.
    """
    for run_id, workflow, started, last, service, status in await _ask(collector, _OPEN_RUNS):
        if run_id not in watch.runs:
            run = watch.open_run(run_id, watch.workflow(workflow or service or "unnamed", now), started, last)
            run.service, run.waits = service, status != "running"
    for run_id, step_id, name, started, attempt in await _ask(collector, _OPEN_STEPS):
        open_run = watch.runs.get(run_id)
        if open_run is not None and step_id not in open_run.steps:
            step = watch.step(open_run.known, name)
            step.open[step_id] = OpenStep(step_id, run_id, started, int(attempt))
            open_run.steps[step_id] = step
            watch.open_steps += 1


async def missed(collector: Collector, seen: int) -> list[Event]:
    """Return events that history has and that were received since; a page of them.

    Raises:
        QueryError: History cannot be asked.
    """
    rows = await _ask(collector, _MISSED, {"seen": max(0, seen - MARGIN_NS)})
    return [Event.from_dict({**json.loads(data), "received": int(received)}) for data, received in rows]


async def has_reached(collector: Collector, until: int) -> bool:
    """Whether history has what was received then.

    Raises:
        QueryError: History cannot be asked.
    """
    ((reached,),) = await _ask(collector, _REACHED, {"until": until})
    return bool(reached)


async def _ask(
    collector: Collector, sql: str, parameters: dict[str, Any] | None = None
) -> Sequence[Sequence[Any]]:
    found = await collector.query(sql, parameters, seconds=30, rows=PAGE)
    return found.rows
