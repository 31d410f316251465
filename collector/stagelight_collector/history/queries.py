"""The questions that history answers, as SQL. What a user types is bound by the server, never put into the text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from stagelight_collector.decode.metrics import METRIC_COLUMNS

if TYPE_CHECKING:
    from collections.abc import Iterable

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

# --- candidates: runs that may be in a list, found in tables that know little of every run -----------------------------


def _holds(*columns: str) -> str:
    """Return the condition that the text that is looked for is in one of some columns."""
    return " OR ".join(f"positionCaseInsensitiveUTF8({column}, {{q:String}}) > 0" for column in columns)


_LATEST: Final = "ORDER BY Period DESC LIMIT {portion:UInt32}"


def _latest(columns: str, sources: Iterable[str]) -> str:
    """Return the query for the latest so many of some sources."""
    first, *others = [joined("SELECT", columns, source, _LATEST) for source in sources]
    if not others:
        return first
    parts = "\nUNION ALL\n".join(joined("(", part, ")") for part in (first, *others))
    return joined("SELECT", columns, "FROM (", parts, ")", _LATEST)


NAMED: Final = "RunId IN {ids:Array(String)}"
"""The condition that a run is one of some candidates whose ids are known."""


class Candidates(NamedTuple):
    """How to find the candidates of a portion."""

    condition: str
    """That a run is one of them."""
    floor: str
    """The query for the earliest period of the latest so many, and for how many there are."""
    latest: str = ""
    """The query for the periods and ids of the latest so many; empty where others than these meet the condition, too."""
    earlier: int = 0
    """By how many periods one may be found earlier than its run began."""

    @classmethod
    def among(cls, *sources: str, earlier: int = 0) -> Candidates:
        """Return those of some sources (`FROM … WHERE …`)."""
        ids = "\nUNION ALL\n".join(joined("SELECT RunId", source) for source in sources)
        return cls(
            condition=joined("RunId IN (", ids, ")"),
            floor=joined("SELECT min(Period), count() FROM (", _latest("Period", sources), ")"),
            latest=_latest("Period, RunId", sources),
            earlier=earlier,
        )

    def but_floor(self, other: Candidates) -> Candidates:
        """Return the same, in portions of the other's."""
        return Candidates(self.condition, other.floor)


class Way(NamedTuple):
    """How to walk back through the runs."""

    newest: Candidates
    """In a portion after which nothing comes."""
    later: Candidates
    """In one whose runs may have ended after it."""


_IN_WINDOW: Final = "Period >= {floor:UInt32} AND Period <= {ceiling:UInt32}"
_IN_SPAN: Final = joined(_IN_WINDOW, "AND ({workflow:String} = '' OR Workflow IN ('', {workflow:String}))")
_HEARD: Final = joined("FROM stagelight_run_periods WHERE", _IN_SPAN)

_OF_HEARD: Final = Candidates.among(_HEARD)
HEARD: Final = Way(_OF_HEARD, _OF_HEARD)
"""Through all of which was heard."""
IN_PERIODS: Final = _OF_HEARD.condition

_AS_ASKED: Final = """
({status:String} = '' OR Status = {status:String})
    AND ({error:String} = '' OR positionCaseInsensitiveUTF8(concat(ErrorType, ': ', ErrorMessage), {error:String}) > 0)
"""
_ENDED: Final = joined(
    _AS_ASKED,
    """
    AND ({least:Int64} < 0 OR Lasted < 0 OR Lasted >= {least:Int64} - 1000000000)
    AND ({most:Int64} < 0 OR Lasted < 0 OR Lasted <= {most:Int64})
    AND ({workflow:String} = '' OR Workflow IN ('', {workflow:String}))
    AND ({q:String} = '' OR Workflow = '' OR
""",
    _holds("RunId", "Workflow", "ErrorMessage"),
    ")",
)
"""What the ending of a run that passes the filter passes, too."""
_OF_ENDED: Final = Candidates.among(
    joined("FROM stagelight_run_endings WHERE", _IN_WINDOW, "AND", _ENDED),
)
_OF_LATER_ENDED: Final = Candidates.among(
    joined(
        "FROM stagelight_run_endings WHERE Period >= {floor:UInt32} AND",
        _ENDED,
        "AND (Period <= {ceiling:UInt32} OR RunId IN (SELECT RunId FROM stagelight_run_periods WHERE",
        _IN_WINDOW,
        "))",
    ),
).but_floor(_OF_ENDED)
ENDED: Final = Way(_OF_ENDED, _OF_LATER_ENDED)
"""Through those that ended as it is asked for; an ending after the window is that of a run that was heard of in it."""

_SAID: Final = _holds("ErrorMessage")
_TEXTS: Final = (
    joined(_HEARD, "AND (Workflow = '' OR", _holds("Workflow", "RunId"), ")"),
    joined("FROM stagelight_run_endings WHERE", _IN_SPAN, "AND", _SAID),
)
_OF_TEXTS: Final = Candidates.among(*_TEXTS)
_LATER_SAID: Final = joined(
    _HEARD,
    "AND RunId IN (SELECT RunId FROM stagelight_run_endings WHERE Period > {ceiling:UInt32} AND",
    _SAID,
    ")",
)
TEXTS: Final = Way(_OF_TEXTS, Candidates.among(*_TEXTS, _LATER_SAID).but_floor(_OF_TEXTS))
"""Through those of which a text is in the id or the workflow, as they were heard of, or in the error, as they ended."""

_ENDS_SINCE: Final = "SELECT RunId FROM stagelight_run_endings WHERE Period >= {floor:UInt32}"
_NOT_RESUMED: Final = (
    "RunId NOT IN (SELECT RunId FROM stagelight_run_resumptions WHERE Period >= {floor:UInt32})"
)


def _open(ends: str) -> Candidates:
    """Return what may go on of what was heard of: it has no end, or went on after one."""
    return Candidates.among(joined(_HEARD, "AND NOT (RunId IN (", ends, ") AND", _NOT_RESUMED, ")"))


OPEN: Final = Way(_open(_ENDS_SINCE), _open(joined(_ENDS_SINCE, "AND RunId IN (SELECT RunId", _HEARD, ")")))
"""Through those that may go on; most ends after a window are those of other runs."""

_WITH_ATTRIBUTE: Final = """
FROM
(
    SELECT WorkflowRunId AS RunId, least(toUInt32(intDiv(toUnixTimestamp64Nano(Timestamp), 10000000000)), {ceiling:UInt32}) AS Period
    FROM otel_traces
    WHERE Timestamp >= fromUnixTimestamp64Nano((greatest(toInt64({floor:UInt32}), 1) - 1) * 10000000000)
        AND Timestamp < fromUnixTimestamp64Nano((least(toInt64({ceiling:UInt32}), 922337201) + 2) * 10000000000)
        AND WorkflowRunId != '' AND WorkflowStepName = ''
        AND (SpanAttributes[{key:String}] = {value:String} OR ResourceAttributes[{key:String}] = {value:String})
)
"""
"""A run's own span starts when the run starts, give or take a period."""


def with_attributes(count: int) -> list[Candidates]:
    """Return those that have an attribute, for each of so many, `key_0` and `value_0` and so on."""
    return [
        Candidates.among(
            _WITH_ATTRIBUTE.replace("{key:", f"{{key_{number}:").replace("{value:", f"{{value_{number}:"),
            earlier=1,
        )
        for number in range(count)
    ]


# --- lists ---------------------------------------------------------------------------------------------------------

RUNS: Final = joined(
    _RUNS,
    "WHERE",
    "{candidates}",
    """
AND (StartedNs, RunId) < ({before:Int64}, {before_id:String}) AND StartedNs >= {since:Int64}
    AND ({workflow:String} = '' OR Workflow = {workflow:String})
    AND ({service:String} = '' OR Service = {service:String})
    AND
""",
    _AS_ASKED,
    "AND ({q:String} = '' OR",
    _holds("RunId", "Workflow", "ErrorMessage"),
    ")",
    """
    AND ({least:Int64} < 0 OR (isNotNull(EndedNs) AND greatest(EndedNs - StartedNs, 0) >= {least:Int64}))
    AND ({most:Int64} < 0 OR (isNotNull(EndedNs) AND greatest(EndedNs - StartedNs, 0) <= {most:Int64}))
""",
)

NEWEST_FIRST: Final = """
ORDER BY StartedNs DESC, RunId DESC
LIMIT {limit:UInt32}
"""


def runs(*candidates: str) -> str:
    """Return the list of runs that meet all conditions for candidates."""
    return joined(RUNS.replace("{candidates}", " AND ".join(candidates)), NEWEST_FIRST)


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
