"""The questions that the dashboards and alert rules ask, as SQL with the macros of Grafana's ClickHouse data source.

Runs and steps are narrowed by `stagelight_run_periods` first, so that a panel costs what its range of time holds, however
much history there is.
"""

from __future__ import annotations

from typing import Final

_RUNS_IN_RANGE: Final = (
    "RunId IN (SELECT RunId FROM stagelight_run_periods"
    " WHERE Period BETWEEN intDiv(toUnixTimestamp($__fromTime), 10) AND intDiv(toUnixTimestamp($__toTime), 10))"
)
_BY_WORKFLOW: Final = "Workflow IN (${workflow:singlequote})"

WORKFLOWS: Final = (
    "SELECT DISTINCT Workflow FROM stagelight_run_periods WHERE Workflow != '' ORDER BY Workflow LIMIT 1000"
)
"""The choices of the variable `workflow`."""


def _runs(columns: str, *clauses: str, chosen: bool = True) -> str:
    where = [_RUNS_IN_RANGE, "$__timeFilter(Started)"] + ([_BY_WORKFLOW] if chosen else [])
    return f"SELECT {columns} FROM stagelight_runs WHERE {' AND '.join(where)} " + " ".join(clauses)


def _steps(columns: str, *clauses: str) -> str:
    runs = f"SELECT RunId FROM stagelight_runs WHERE {_RUNS_IN_RANGE} AND {_BY_WORKFLOW}"
    return (
        f"SELECT {columns} FROM stagelight_steps WHERE RunId IN ({runs}) AND $__timeFilter(ifNull(Started, toDateTime64(0, 9))) "
        + " ".join(clauses)
    )


RUNS: Final = _runs("count() AS runs")
FAILED: Final = _runs("countIf(Status = 'failed') AS failed")
RUNNING: Final = _runs("countIf(Status IN ('running', 'waiting', 'paused', 'queued', 'pending')) AS running")
SUCCESS: Final = _runs(
    "if(countIf(Ended IS NOT NULL) = 0, NULL, countIf(Status = 'completed') / countIf(Ended IS NOT NULL)) AS success"
)
BY_STATUS: Final = _runs(
    "$__timeInterval(Started) AS time, Status AS status, count() AS runs",
    "GROUP BY time, status ORDER BY time",
)
DURATION: Final = _runs(
    "$__timeInterval(Started) AS time, quantile(0.5)(DurationMs) AS p50, quantile(0.95)(DurationMs) AS p95,"
    " quantile(0.99)(DurationMs) AS p99",
    "AND DurationMs IS NOT NULL GROUP BY time ORDER BY time",
)
BY_WORKFLOW: Final = _runs(
    "Workflow, count() AS runs, countIf(Status = 'failed') AS failed,"
    " countIf(Status = 'failed') / greatest(countIf(Ended IS NOT NULL), 1) AS error_rate,"
    " quantile(0.5)(DurationMs) AS p50, quantile(0.95)(DurationMs) AS p95, max(Started) AS latest",
    "GROUP BY Workflow ORDER BY runs DESC LIMIT 100",
)
LATEST: Final = _runs(
    "Started AS time, RunId, Workflow, Status, DurationMs, ErrorType, ErrorMessage",
    "ORDER BY time DESC LIMIT 200",
)
LATEST_FAILED: Final = _runs(
    "Started AS time, RunId, Workflow, ErrorType, ErrorMessage, DurationMs",
    "AND Status = 'failed' ORDER BY time DESC LIMIT 200",
)
FAILURES: Final = _runs(
    "Ended AS time, concat(Workflow, ' failed') AS text, RunId AS tags", "AND Status = 'failed' LIMIT 100"
)

STEPS: Final = _steps(
    "StepName, count() AS steps, countIf(Status = 'failed') AS failed, countIf(Attempts > 1) AS retried,"
    " quantile(0.5)(DurationMs) AS p50, quantile(0.95)(DurationMs) AS p95, quantile(0.99)(DurationMs) AS p99",
    "GROUP BY StepName ORDER BY p95 DESC NULLS LAST LIMIT 200",
)
STEP_DURATION: Final = _steps(
    "$__timeInterval(ifNull(Started, toDateTime64(0, 9))) AS time, StepName AS step, quantile(0.95)(DurationMs) AS p95",
    "AND DurationMs IS NOT NULL GROUP BY time, step ORDER BY time LIMIT 5000",
)
STEP_ERRORS: Final = _steps(
    "StepName, ErrorType, substring(ErrorMessage, 1, 200) AS message, count() AS errors, max(Ended) AS latest, any(RunId) AS run",
    "AND Status = 'failed' GROUP BY StepName, ErrorType, message ORDER BY errors DESC LIMIT 200",
)
RETRIES: Final = _steps(
    "$__timeInterval(ifNull(Started, toDateTime64(0, 9))) AS time, sum(Attempts - 1) AS retries",
    "GROUP BY time ORDER BY time",
)

RUN: Final = (
    "SELECT Workflow, Service, Status, Started, Ended, DurationMs, ErrorType, ErrorMessage, ParentRunId, RunId"
    " FROM stagelight_runs WHERE RunId = ${run:singlequote}"
)
RUN_STEPS: Final = (
    "SELECT Started AS time, StepName, StepKind, Status, DurationMs, Attempts, ErrorType, ErrorMessage"
    " FROM stagelight_steps WHERE RunId = ${run:singlequote} ORDER BY time LIMIT 10000"
)
RUN_TIMELINE: Final = (
    "SELECT At.1 AS time, StepName AS step, At.2 AS status FROM stagelight_steps"
    " ARRAY JOIN [(Started, Status), (Ended, '')] AS At"
    " WHERE RunId = ${run:singlequote} AND At.1 IS NOT NULL ORDER BY time LIMIT 10000"
)
RUN_LOGS: Final = (
    "SELECT Timestamp AS timestamp, Body AS body, SeverityText AS level, TraceId AS traceID FROM otel_logs"
    " WHERE TraceId IN (SELECT arrayJoin(TraceIds) FROM stagelight_runs WHERE RunId = ${run:singlequote})"
    " AND Body != '' ORDER BY timestamp LIMIT 5000"
)
RUN_TRACE: Final = (
    "SELECT TraceId AS traceID, SpanId AS spanID, ParentSpanId AS parentSpanID, ServiceName AS serviceName,"
    " SpanName AS operationName, Timestamp AS startTime, Duration / 1000000 AS duration,"
    " arrayMap(key -> map('key', key, 'value', SpanAttributes[key]), mapKeys(SpanAttributes)) AS tags,"
    " arrayMap(key -> map('key', key, 'value', ResourceAttributes[key]), mapKeys(ResourceAttributes)) AS serviceTags,"
    " if(StatusCode IN ('Error', 'STATUS_CODE_ERROR'), 2, 0) AS statusCode FROM otel_traces"
    " WHERE TraceId IN (SELECT arrayJoin(TraceIds) FROM stagelight_runs WHERE RunId = ${run:singlequote})"
    " ORDER BY startTime LIMIT 5000"
)

SPANS_RATE: Final = (
    "SELECT $__timeInterval(Timestamp) AS time, ServiceName AS service, count() AS spans FROM otel_traces"
    " WHERE $__timeFilter(Timestamp) GROUP BY time, service ORDER BY time"
)
LOGS_RATE: Final = (
    "SELECT $__timeInterval(Timestamp) AS time, count() AS logs FROM otel_logs"
    " WHERE $__timeFilter(Timestamp) GROUP BY time ORDER BY time"
)
DELAY: Final = (
    "SELECT $__timeInterval(Received) AS time, quantile(0.5)(dateDiff('millisecond', Time, Received)) AS p50,"
    " quantile(0.99)(dateDiff('millisecond', Time, Received)) AS p99 FROM stagelight_events"
    " WHERE $__timeFilter(Time) GROUP BY time ORDER BY time"
)
EVENTS: Final = (
    "SELECT $__timeInterval(Time) AS time, Type AS type, count() AS events FROM stagelight_events"
    " WHERE $__timeFilter(Time) GROUP BY time, type ORDER BY time"
)
DISK: Final = (
    "SELECT table, sum(rows) AS rows, sum(bytes_on_disk) AS bytes, count() AS parts FROM system.parts"
    " WHERE active AND database = currentDatabase() GROUP BY table ORDER BY bytes DESC"
)

ALERT_FAILED: Final = _runs("countIf(Status = 'failed') AS value", chosen=False)
ALERT_STUCK: Final = (
    "SELECT count() AS value FROM stagelight_runs WHERE "
    + _RUNS_IN_RANGE
    + " AND Status = 'running' AND LastEvent < now() - INTERVAL 1 HOUR"
)
ALERT_ERROR_RATE: Final = _runs(
    "if(countIf(Ended IS NOT NULL) < 10, 0, countIf(Status = 'failed') / countIf(Ended IS NOT NULL)) AS value",
    chosen=False,
)
