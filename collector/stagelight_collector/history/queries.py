"""The questions that history answers, as SQL. What a user types is bound by the server, never put into the text."""

from __future__ import annotations

from typing import Final

from stagelight_collector.decode.metrics import METRIC_COLUMNS

PERIOD_NS: Final = 10_000_000_000
"""The length of a period of `stagelight_run_periods`."""

LIMITS: Final = {
    "max_execution_time": 10,
    "max_memory_usage": 512 * 1024 * 1024,
    "max_result_rows": 200_000,
    "result_overflow_mode": "throw",
    "max_threads": 2,
}
"""The bounds of every query: seconds, bytes, rows."""


def joined(*parts: str) -> str:
    """Return parts of a query as one text."""
    return "\n".join(parts)


_RUNS: Final = """
SELECT
    RunId, Workflow, Service, Status, toUnixTimestamp64Nano(Started) AS StartedNs, toUnixTimestamp64Nano(Ended) AS EndedNs,
    toUnixTimestamp64Nano(LastEvent) AS LastNs, ErrorType, ErrorMessage, ParentRunId, ParentStepId, TraceIds
FROM stagelight_runs
"""

IN_PERIODS: Final = """
    RunId IN
    (
        SELECT RunId FROM stagelight_run_periods
        WHERE Period >= {floor:UInt32} AND Period <= {ceiling:UInt32} AND ({workflow:String} = '' OR Workflow IN ('', {workflow:String}))
    )
"""

FLOOR: Final = """
SELECT min(Period), count() FROM
(
    SELECT Period FROM stagelight_run_periods
    WHERE Period >= {floor:UInt32} AND Period <= {ceiling:UInt32} AND ({workflow:String} = '' OR Workflow IN ('', {workflow:String}))
    ORDER BY Period DESC
    LIMIT {portion:UInt32}
)
"""

_ENDED: Final = """
            ({status:String} = '' OR Status = {status:String})
            AND ({error:String} = '' OR positionCaseInsensitiveUTF8(concat(ErrorType, ': ', ErrorMessage), {error:String}) > 0)
            AND ({least:Int64} < 0 OR Lasted < 0 OR Lasted >= {least:Int64} - 1000000000)
            AND ({most:Int64} < 0 OR Lasted < 0 OR Lasted <= {most:Int64})
            AND ({workflow:String} = '' OR Workflow IN ('', {workflow:String}))
            AND
            (
                {q:String} = '' OR Workflow = '' OR positionCaseInsensitiveUTF8(RunId, {q:String}) > 0
                OR positionCaseInsensitiveUTF8(Workflow, {q:String}) > 0 OR positionCaseInsensitiveUTF8(ErrorMessage, {q:String}) > 0
            )
"""
"""What the ending of a run that passes the filter passes, too."""

IN_ENDINGS: Final = joined(
    """
    RunId IN
    (
        SELECT RunId FROM stagelight_run_endings
        WHERE Period >= {floor:UInt32} AND Period <= {ceiling:UInt32} AND
""",
    _ENDED,
    ")",
)
IN_LATER_ENDINGS: Final = joined(
    """
    RunId IN
    (
        SELECT RunId FROM stagelight_run_endings
        WHERE Period >= {floor:UInt32} AND
""",
    _ENDED,
    """
            AND (Period <= {ceiling:UInt32} OR RunId IN
            (
                SELECT RunId FROM stagelight_run_periods WHERE Period >= {floor:UInt32} AND Period <= {ceiling:UInt32}
            ))
    )
""",
)
"""The same where runs of the window may have endings after it: they were heard of in the window, too."""

ENDINGS_FLOOR: Final = joined(
    """
SELECT min(Period), count() FROM
(
    SELECT Period FROM stagelight_run_endings
    WHERE Period >= {floor:UInt32} AND Period <= {ceiling:UInt32} AND
""",
    _ENDED,
    """
    ORDER BY Period DESC
    LIMIT {portion:UInt32}
)
""",
)

_IN_SPAN: Final = """
Period >= {floor:UInt32} AND Period <= {ceiling:UInt32} AND ({workflow:String} = '' OR Workflow IN ('', {workflow:String}))
"""
_NAMED: Final = """
(Workflow = '' OR positionCaseInsensitiveUTF8(Workflow, {q:String}) > 0 OR positionCaseInsensitiveUTF8(RunId, {q:String}) > 0)
"""
_SAID: Final = "positionCaseInsensitiveUTF8(ErrorMessage, {q:String}) > 0"

_HEARD: Final = joined("FROM stagelight_run_periods WHERE", _IN_SPAN)
_TOLD: Final = joined("FROM stagelight_run_endings WHERE", _IN_SPAN, "AND", _SAID)
_TEXTS: Final = joined("SELECT RunId", _HEARD, "AND", _NAMED, "UNION ALL SELECT RunId", _TOLD)

IN_TEXTS: Final = joined("RunId IN (", _TEXTS, ")")
"""Runs of which a text is in the id or the workflow, as they were heard of, or in the error, as they ended."""
IN_LATER_TEXTS: Final = joined(
    "RunId IN (",
    _TEXTS,
    "UNION ALL SELECT RunId",
    _HEARD,
    "AND RunId IN (SELECT RunId FROM stagelight_run_endings WHERE Period > {ceiling:UInt32} AND",
    _SAID,
    "))",
)
"""The same where runs of the window may have ended after it."""

_ENDS_SINCE: Final = "SELECT RunId FROM stagelight_run_endings WHERE Period >= {floor:UInt32}"
_NOT_RESUMED: Final = (
    "RunId NOT IN (SELECT RunId FROM stagelight_run_resumptions WHERE Period >= {floor:UInt32})"
)


def _open(ends: str) -> str:
    """Return what may go on of what was heard of: it has no end, or went on after one."""
    return joined(_HEARD, "AND NOT (RunId IN (", ends, ") AND", _NOT_RESUMED, ")")


_OPEN: Final = _open(_ENDS_SINCE)
_OPEN_LATER: Final = _open(joined(_ENDS_SINCE, "AND RunId IN (SELECT RunId", _HEARD, ")"))

IN_OPEN: Final = joined("RunId IN (SELECT RunId", _OPEN, ")")
"""Runs that may go on."""
IN_LATER_OPEN: Final = joined("RunId IN (SELECT RunId", _OPEN_LATER, ")")
"""The same where most ends are those of other runs, after the window."""

_LATEST: Final = "ORDER BY Period DESC LIMIT {portion:UInt32}"
TEXT_FLOOR: Final = joined(
    "SELECT min(Period), count() FROM (SELECT Period FROM (",
    joined("(SELECT Period", _HEARD, "AND", _NAMED, _LATEST, ")"),
    "UNION ALL",
    joined("(SELECT Period", _TOLD, _LATEST, ")"),
    ")",
    _LATEST,
    ")",
)

OPEN_FLOOR: Final = joined("SELECT min(Period), count() FROM (SELECT Period", _OPEN, _LATEST, ")")
LATER_OPEN_FLOOR: Final = joined(
    "SELECT min(Period), count() FROM (SELECT Period",
    _OPEN_LATER,
    _LATEST,
    ")",
)

RUNS: Final = joined(
    _RUNS,
    "WHERE",
    "{candidates}",
    """
AND (StartedNs, RunId) < ({before:Int64}, {before_id:String}) AND StartedNs >= {since:Int64}
    AND ({workflow:String} = '' OR Workflow = {workflow:String})
    AND ({service:String} = '' OR Service = {service:String})
    AND ({status:String} = '' OR Status = {status:String})
    AND
    (
        {q:String} = '' OR positionCaseInsensitiveUTF8(RunId, {q:String}) > 0
        OR positionCaseInsensitiveUTF8(Workflow, {q:String}) > 0 OR positionCaseInsensitiveUTF8(ErrorMessage, {q:String}) > 0
    )
    AND ({error:String} = '' OR positionCaseInsensitiveUTF8(concat(ErrorType, ': ', ErrorMessage), {error:String}) > 0)
    AND ({least:Int64} < 0 OR (isNotNull(EndedNs) AND greatest(EndedNs - StartedNs, 0) >= {least:Int64}))
    AND ({most:Int64} < 0 OR (isNotNull(EndedNs) AND greatest(EndedNs - StartedNs, 0) <= {most:Int64}))
""",
)

NEWEST_FIRST: Final = """
ORDER BY StartedNs DESC, RunId DESC
LIMIT {limit:UInt32}
"""

HAS_ATTRIBUTE: Final = """
    AND RunId IN
    (
        SELECT WorkflowRunId FROM otel_traces
        WHERE Timestamp >= fromUnixTimestamp64Nano({spans_since:Int64}) AND Timestamp <= fromUnixTimestamp64Nano({spans_until:Int64})
            AND WorkflowRunId != '' AND WorkflowStepName = ''
            AND (SpanAttributes[{key:String}] = {value:String} OR ResourceAttributes[{key:String}] = {value:String})
    )
"""
"""A run's own span starts when the run starts, so only spans of that time are looked at."""


def runs(attributes: int, candidates: str = IN_PERIODS) -> str:
    """Return the list of runs among candidates that have so many attributes, `key_0` and `value_0` and so on."""
    having = [
        HAS_ATTRIBUTE.replace("{key:", f"{{key_{number}:").replace("{value:", f"{{value_{number}:")
        for number in range(attributes)
    ]
    return joined(RUNS.replace("{candidates}", candidates), *having, NEWEST_FIRST)


RUN: Final = joined(
    _RUNS,
    "WHERE RunId = {run_id:String}",
)

STEP_COUNTS: Final = """
SELECT RunId, Status, count() FROM stagelight_steps WHERE RunId IN {run_ids:Array(String)} GROUP BY RunId, Status
"""

WORKFLOWS: Final = joined(
    """
SELECT
    Workflow, count(), countIf(Status NOT IN ('completed', 'failed', 'terminated')), countIf(Status = 'failed'),
    toUnixTimestamp64Nano(max(Started)) AS Latest
FROM stagelight_runs
WHERE
""",
    IN_PERIODS,
    """
GROUP BY Workflow
ORDER BY Latest DESC, Workflow
LIMIT {limit:UInt32}
""",
)

TRACE_RUNS: Final = joined(
    """
SELECT Trace, argMin(RunId, (Started, RunId)), max(LastEvent) AS Latest
FROM stagelight_runs ARRAY JOIN TraceIds AS Trace
WHERE
""",
    IN_PERIODS,
    """
AND ParentRunId = '' AND toUnixTimestamp64Nano(LastEvent) >= {since:Int64}
GROUP BY Trace
ORDER BY Latest DESC, Trace
LIMIT {limit:UInt32}
""",
)

EVENTS: Final = """
SELECT
    toUnixTimestamp64Nano(Time) AS TimeNs, toString(Type), StepId, Attempt, Hash, toUnixTimestamp64Nano(Received), Data
FROM stagelight_events
WHERE RunId = {run_id:String} AND Time >= fromUnixTimestamp64Nano({time:Int64}, 'UTC')
    AND (Time, Type, StepId, Attempt, Hash)
        > (fromUnixTimestamp64Nano({time:Int64}, 'UTC'), {type:String}, {step_id:String}, {attempt:UInt32}, {hash:UInt64})
ORDER BY Time, Type, StepId, Attempt, Hash
LIMIT 1 BY Time, Type, StepId, Attempt, Hash
LIMIT {limit:UInt32}
"""

TRACES_OF_RUN: Final = """
SELECT DISTINCT TraceId FROM
(
    SELECT arrayJoin(TraceIds) AS TraceId FROM stagelight_runs WHERE RunId = {run_id:String}
    UNION ALL
    SELECT TraceId FROM otel_traces WHERE WorkflowRunId = {run_id:String}
)
ORDER BY TraceId
LIMIT 100
"""

TRACE_RANGE: Final = """
SELECT toUnixTimestamp(min(Start)), toUnixTimestamp(max(End)) FROM otel_traces_trace_id_ts WHERE TraceId IN {trace_ids:Array(String)}
"""

SPANS: Final = """
SELECT
    TraceId AS trace_id, SpanId AS span_id, ParentSpanId AS parent_span_id, SpanName AS name, SpanKind AS kind,
    ServiceName AS service, toUnixTimestamp64Nano(Timestamp) AS start, Duration AS duration, StatusCode AS status,
    StatusMessage AS status_message, SpanAttributes AS attributes, ResourceAttributes AS resource,
    ScopeName AS scope, arrayMap(t -> toUnixTimestamp64Nano(t), Events.Timestamp) AS event_times,
    Events.Name AS event_names, Events.Attributes AS event_attributes, Links.TraceId AS link_traces,
    Links.SpanId AS link_spans
FROM otel_traces
WHERE TraceId IN {trace_ids:Array(String)}
    AND Timestamp >= fromUnixTimestamp64Nano({since:Int64}) AND Timestamp < fromUnixTimestamp64Nano({until:Int64})
ORDER BY Timestamp, SpanId
LIMIT 1 BY TraceId, SpanId, Timestamp
LIMIT {limit:UInt32}
"""
"""A span that came twice is shown once; Airflow's tries of a task share one id and are told apart by their start."""

PARTS: Final = """
SELECT replaceRegexpOne(table, '_local$', ''), sum(rows), sum(bytes_on_disk), count() FROM {parts}
WHERE active AND database = currentDatabase() GROUP BY table ORDER BY table
"""

_OLDEST: Final = {
    "otel_traces": "toUnixTimestamp64Nano(min(Timestamp))",
    "otel_logs": "toUnixTimestamp64Nano(min(Timestamp))",
    **dict.fromkeys(METRIC_COLUMNS, "toInt64(toUnixTimestamp(min(TimeUnix))) * 1000000000"),
    "stagelight_events": "toUnixTimestamp64Nano(min(Time))",
}
OLDEST: Final = " UNION ALL ".join(
    f"SELECT '{table}', {oldest}, count() FROM {table}"  # noqa: S608 - of constants
    for table, oldest in _OLDEST.items()
)
