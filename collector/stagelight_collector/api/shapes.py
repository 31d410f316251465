"""The shapes of what the API answers, as JSON Schema: every key is there, and no other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from stagelight.conventions import EventType, RunStatus, StepStatus

if TYPE_CHECKING:
    from collections.abc import Mapping

_Shape = dict[str, Any]
_TEXT: Final[_Shape] = {"type": "string"}
_FLAG: Final[_Shape] = {"type": "boolean"}
_NUMBER: Final[_Shape] = {"type": "number"}
_COUNT: Final[_Shape] = {"type": "integer", "minimum": 0}
_TEXTS: Final[_Shape] = {"type": "array", "items": _TEXT}
_FREE: Final[_Shape] = {"type": "object", "additionalProperties": True}


def _object(**properties: Any) -> _Shape:
    """Return an object of exactly these keys."""
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _some(item: _Shape) -> _Shape:
    return {"type": "array", "items": item}


def _or_null(shape: _Shape) -> _Shape:
    return {"anyOf": [shape, {"type": "null"}]}


def _ref(name: str) -> _Shape:
    return {"$ref": f"#/components/schemas/{name}"}


_TIME: Final = _or_null(_NUMBER)
_QUANTILES: Final = _or_null(_object(p50=_NUMBER, p95=_NUMBER, p99=_NUMBER))
_CURSOR: Final = _or_null(_TEXT)
_PERIOD: Final = {"started_ms": _TIME, "ended_ms": _TIME}

SCHEMAS: Final[Mapping[str, _Shape]] = {
    "Failure": _object(type=_TEXT, message=_TEXT, stacktrace=_TEXT),
    "Progress": _object(current=_or_null(_NUMBER), total=_or_null(_NUMBER), message=_TEXT),
    "Run": _object(
        id=_TEXT, workflow=_TEXT, service=_TEXT, status={"enum": list(RunStatus)}, **_PERIOD, duration_ms=_TIME,
        last_event_ms=_TIME, error=_or_null(_ref("Failure")), parent_run_id=_TEXT, parent_step_id=_TEXT, trace_ids=_TEXTS,
        attributes=_FREE, dropped_by_agent=_COUNT, progress=_or_null(_ref("Progress")), running_step=_TEXT,
        steps=_object(total=_COUNT, **dict.fromkeys(StepStatus, _COUNT)),
    ),
    "Attempt": _object(
        attempt=_COUNT, status={"enum": list(StepStatus)}, **_PERIOD, error=_or_null(_ref("Failure"))
    ),
    "Step": _object(
        id=_TEXT, name=_TEXT, kind=_TEXT, parent_id=_TEXT, status={"enum": list(StepStatus)}, **_PERIOD, duration_ms=_TIME,
        attempt=_COUNT, error=_or_null(_ref("Failure")), progress=_or_null(_ref("Progress")), attributes=_FREE,
        child_run_id=_TEXT, attempts=_some(_ref("Attempt")),
    ),
    "LogLine": _object(time_ms=_NUMBER, step_id=_TEXT, severity=_TEXT, message=_TEXT, attributes=_FREE),
    "Snapshot": {
        **_object(
            room=_TEXT, run=_ref("Run"), steps=_some(_ref("Step")), logs=_some(_ref("LogLine")),
            truncated=_object(steps=_COUNT, logs=_COUNT),
        ),
        "description": "`truncated` is 1 for what memory left something out of.",
    },
    "RunPage": _object(runs=_some(_ref("Run")), next_cursor=_CURSOR),
    "Event": {
        **_FREE,
        "properties": {"type": {"enum": list(EventType)}, "run_id": _TEXT, "time": {"type": "integer"}},
        "required": ["type", "run_id", "time"],
        "description": "A fact; `time` in Unix nanoseconds, and what is empty is left out.",
    },
    "EventPage": _object(events=_some(_ref("Event")), next_cursor=_CURSOR),
    "Span": _object(
        trace_id=_TEXT, span_id=_TEXT, parent_span_id=_TEXT, name=_TEXT, kind=_TEXT, service=_TEXT,
        start={"type": "integer"}, duration=_COUNT, status=_TEXT, status_message=_TEXT, attributes=_FREE, resource=_FREE,
        scope=_TEXT, events=_some(_object(time={"type": "integer"}, name=_TEXT, attributes=_FREE)),
        links=_some(_object(trace_id=_TEXT, span_id=_TEXT)),
    ),
    "Spans": {**_object(spans=_some(_ref("Span")), truncated=_FLAG), "description": "Times in Unix nanoseconds."},
    "Workflows": _object(
        workflows=_some(_object(name=_TEXT, runs=_COUNT, running=_COUNT, failed=_COUNT, last_started_ms=_TIME))
    ),
    "StepStatistics": _object(
        name=_TEXT, kind=_TEXT, runs=_COUNT, completed=_COUNT, failed=_COUNT, running=_COUNT, retries=_COUNT,
        error_rate=_or_null(_NUMBER), duration_ms=_QUANTILES, baseline_ms=_or_null(_NUMBER), trend=_some(_ref("Trend")),
    ),
    "Trend": {
        **_object(start_ms=_NUMBER, runs=_COUNT, failed=_COUNT, p50_ms=_or_null(_NUMBER)),
        "description": "Of what started in a part of the time that is looked at.",
    },
    "WorkflowAnswer": _object(
        workflow=_object(
            name=_TEXT, runs=_COUNT, completed=_COUNT, failed=_COUNT, running=_COUNT, error_rate=_or_null(_NUMBER),
            duration_ms=_QUANTILES, baseline_ms=_or_null(_NUMBER), trend=_some(_ref("Trend")),
            steps=_some(_ref("StepStatistics")),
        )
    ),
    "Errors": _object(
        errors=_some(
            _object(
                workflow=_TEXT, type=_TEXT, pattern=_TEXT, runs=_COUNT, first_ms=_NUMBER, last_ms=_NUMBER, run_id=_TEXT,
                message=_TEXT,
            )
        )
    ),
    "History": _object(
        engine=_TEXT, rows=_COUNT, bytes=_COUNT, parts=_COUNT, oldest_ms=_TIME,
        tables=_some(_object(name=_TEXT, rows=_COUNT, bytes=_COUNT, parts=_COUNT, oldest_ms=_TIME)),
        retention_days=_object(traces=_COUNT, logs=_COUNT, metrics=_COUNT, runs=_COUNT), pruned_ms=_TIME, problem=_TEXT,
    ),
    "Pruned": _object(
        dropped=_some(_object(table=_TEXT, partition=_TEXT, rows=_COUNT, bytes=_COUNT)), rows=_COUNT, bytes=_COUNT,
        runs=_COUNT,
    ),
    "Deleted": _object(run=_TEXT, deleted=_FLAG),
    "Imported": _object(run=_TEXT, events=_COUNT, spans=_COUNT, logs=_COUNT),
    "SqlQuestion": {
        "type": "object",
        "properties": {
            "sql": _TEXT,
            "parameters": {**_FREE, "description": "They go where the text says `{name:Type}`."},
            "seconds": {"type": "number", "exclusiveMinimum": 0, "maximum": 60, "default": 10},
            "rows": {"type": "integer", "minimum": 1, "maximum": 100_000, "default": 10_000},
        },
        "required": ["sql"],
        "additionalProperties": False,
    },
    "SqlAnswer": _object(columns=_TEXTS, types=_TEXTS, rows=_some({"type": "array"}), truncated=_FLAG),
    "Pages": {
        **_object(pages=_some(_object(title=_TEXT, href=_TEXT)), grafana=_TEXT),
        "description": "`grafana` is where Grafana has the exported dashboards, with a slash at its end, or empty.",
    },
    "Health": _object(status={"enum": ["ok", "degraded"]}, problems=_TEXTS),
    "Document": _FREE,
    "Problem": {
        **_FREE,
        "properties": {"type": _TEXT, "title": _TEXT, "status": _COUNT, "detail": _TEXT},
        "required": ["type", "title", "status", "detail"],
    },
}  # fmt: skip
