"""Events from spans and log records: what happened in which run and step."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from stagelight import conventions as c
from stagelight.conventions import EventType
from stagelight.events import Event, Failure
from stagelight_collector.decode.aliases import Says
from stagelight_collector.decode.values import nanoseconds, plain, plain_value, text

if TYPE_CHECKING:
    from collections.abc import Mapping

    from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
    from opentelemetry.proto.trace.v1.trace_pb2 import Span

MAX_ATTRIBUTES: Final = 64
"""How many of the user's attributes an event carries; history keeps them all."""
MAX_TEXT: Final = 8192
"""How many characters of one text an event carries; history keeps all of it."""


_UNINTERESTING: Final = frozenset(
    {"thread.id", "thread.name", c.ERROR_TYPE, c.EXCEPTION_TYPE, c.EXCEPTION_MESSAGE, c.EXCEPTION_STACKTRACE}
)


def _cut(text: str) -> str:
    return text if len(text) <= MAX_TEXT else text[: MAX_TEXT - 1] + "…"


def _of_user(attributes: Mapping[str, Any]) -> dict[str, Any]:
    own = sorted(key for key in attributes if not key.startswith(c.PREFIX) and key not in _UNINTERESTING)
    return {key: _attribute(attributes[key]) for key in own[:MAX_ATTRIBUTES]}


def _attribute(value: Any) -> Any:
    if value is None or (isinstance(value, bool | int | float) and math.isfinite(value)):
        return value
    return _cut(text(value))


def _str(attributes: Mapping[str, Any], key: str) -> str:
    value = attributes.get(key)
    return _cut(text(value)) if value is not None else ""


def _number(attributes: Mapping[str, Any], key: str) -> float | None:
    value = attributes.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return value if math.isfinite(value) else None  # JSON has no other numbers


def _attempt(attributes: Mapping[str, Any]) -> int:
    value = attributes.get(c.STEP_ATTEMPT)
    return value if isinstance(value, int) and value > 0 else 1


def _shared(attributes: Mapping[str, Any], service: str, trace_id: bytes, span_id: bytes) -> dict[str, Any]:
    """Return the fields that every event of a span or record has."""
    return {
        "run_id": _str(attributes, c.RUN_ID),
        "workflow": _str(attributes, c.WORKFLOW_NAME),
        "service": service,
        "trace_id": trace_id.hex(),
        "span_id": span_id.hex(),
    }


def span_events(
    span: Span,
    attributes: dict[str, Any],
    service: str,
    received: int,
    *,
    says: Says = Says.ALL,
    alone: bool = False,
) -> list[Event]:
    """Return what a span says, as a rule that it began and how it ended; nothing unless it is a step's or a run's own.

    `alone` says that the step is a run of one step.
    """
    is_step = c.STEP_NAME in attributes
    if not (is_step or says is not Says.ALL or _is_run(span, attributes)):
        return []
    shared = _shared(attributes, service, span.trace_id, span.span_id)
    if not (shared["run_id"] or shared["trace_id"]):
        return []
    parent_run = _str(attributes, c.PARENT_RUN_ID)
    # A step at the root of its trace is a run of one step.
    lone = alone or (is_step and not span.parent_span_id and shared["run_id"] in {"", shared["trace_id"]})
    start, end = nanoseconds(span.start_time_unix_nano), nanoseconds(span.end_time_unix_nano)
    facts = _Facts(
        shared={**shared, "attributes": _of_user(attributes), "received": received},
        start=start,
        end=max(start, end),
        failure=_failure(span, attributes),
        ended=_ended(span, attributes),
        says=says,
    )
    events: list[Event] = []
    if is_step:
        events += facts.step(_step_fields(attributes, span.span_id))
    if lone:
        facts.shared["workflow"] = shared["workflow"] or _str(attributes, c.STEP_NAME)
    if not is_step or lone:
        events += facts.run(
            {"parent_run_id": parent_run, "parent_step_id": _str(attributes, c.PARENT_STEP_ID)}
        )
    if parent_run and not is_step:
        events += facts.step(_child_fields(attributes, shared, parent_run))
    return events


def _is_run(span: Span, attributes: Mapping[str, Any]) -> bool:
    """Whether a span that is no step is a run's own, so that its end is the run's end.

    The name of a workflow does not tell: processors that copy baggage put it on every span inside the run. A run's own
    span says how the run ended (`workflow.status`, as the agent's do) or which run started it; or it is the root of
    its trace and inside no step. A run below a foreign span therefore needs its status.
    """
    if c.WORKFLOW_NAME not in attributes:
        return False
    if c.STATUS in attributes or c.PARENT_RUN_ID in attributes:
        return True
    return not span.parent_span_id and c.PARENT_STEP_ID not in attributes


@dataclass(slots=True)
class _Facts:
    """A finished span says two things: that something started, and how it ended."""

    shared: dict[str, Any]
    start: int
    end: int
    failure: Failure | None
    ended: str
    says: Says

    def step(self, fields: dict[str, Any]) -> list[Event]:
        ending = _STEP_ENDINGS.get(self.ended, EventType.STEP_FAILED)
        if self.says is Says.AGAIN:
            ending = EventType.ATTEMPT_FAILED
        return self._pair(EventType.STEP_STARTED, ending, fields)

    def run(self, fields: dict[str, Any]) -> list[Event]:
        if self.says is Says.QUEUED:
            return [Event(type=EventType.RUN_QUEUED, time=self.start, **self.shared, **fields)]
        both = self._pair(EventType.RUN_STARTED, _RUN_ENDINGS[self.ended], fields)
        return both[:1] if self.says is Says.AGAIN else both

    def _pair(self, starting: EventType, ending: EventType, fields: dict[str, Any]) -> list[Event]:
        merged = {**self.shared, **fields}
        began = Event(type=starting, time=self.start, **merged)
        ended = Event(type=ending, time=self.end, error=self.failure, **merged)
        return [began] * (self.says is not Says.END) + [ended] * (self.says is not Says.START)


_SKIPPED: Final = "skipped"
_STEP_ENDINGS: Final = {"completed": EventType.STEP_COMPLETED, _SKIPPED: EventType.STEP_SKIPPED}
_RUN_ENDINGS: Final = {
    "completed": EventType.RUN_COMPLETED,
    "failed": EventType.RUN_FAILED,
    "terminated": EventType.RUN_TERMINATED,
    _SKIPPED: EventType.RUN_TERMINATED,
}


def _step_fields(attributes: Mapping[str, Any], span_id: bytes) -> dict[str, Any]:
    return {
        "step_id": _str(attributes, c.STEP_ID) or span_id.hex(),
        "step_name": _str(attributes, c.STEP_NAME),
        "step_kind": _str(attributes, c.STEP_KIND) or c.StepKind.DO.value,
        "parent_step_id": _str(attributes, c.PARENT_STEP_ID),
        "attempt": _attempt(attributes),
    }


def _child_fields(
    attributes: Mapping[str, Any], shared: Mapping[str, Any], parent_run: str
) -> dict[str, Any]:
    """Return the fields of the step that a child run is in its parent's room."""
    return {
        "run_id": parent_run,
        "workflow": "",
        "step_id": shared["span_id"],
        "step_name": shared["workflow"],
        "step_kind": c.StepKind.CHILD.value,
        "parent_step_id": _str(attributes, c.PARENT_STEP_ID),
        "child_run_id": shared["run_id"],
        "attempt": 1,
    }


def _ended(span: Span, attributes: Mapping[str, Any]) -> str:
    said = attributes.get(c.STATUS)
    if said in {"terminated", _SKIPPED}:
        return str(said)
    return "failed" if span.status.code == 2 or said == "failed" else "completed"


def _failure(span: Span, attributes: Mapping[str, Any]) -> Failure | None:
    if span.status.code != 2 and attributes.get(c.STATUS) != "failed":
        return None
    exception = next((event for event in reversed(span.events) if event.name == "exception"), None)
    found = plain(exception.attributes) if exception is not None else {}
    failure = Failure(
        type=_str(found, c.EXCEPTION_TYPE) or _str(attributes, c.ERROR_TYPE),
        message=_str(found, c.EXCEPTION_MESSAGE) or _cut(span.status.message),
        stacktrace=_str(found, c.EXCEPTION_STACKTRACE),
    )
    return failure if span.status.code == 2 or failure != Failure() else None


def log_events(
    record: LogRecord, time: int, attributes: dict[str, Any], service: str, received: int
) -> list[Event]:
    """Return what a log record says; nothing if it belongs to no run and no trace."""
    shared = _shared(attributes, service, record.trace_id, record.span_id)
    if not (shared["run_id"] or shared["trace_id"]):
        return []
    kind = _event_type(record.event_name or _str(attributes, "event.name")) or EventType.LOG
    fields: dict[str, Any] = {
        **shared,
        "received": received,
        "time": time,
        "attributes": _of_user(attributes),
    }
    fields |= _subject(kind, record, attributes)
    fields |= _report(kind, record, attributes)
    events = [Event(type=kind, error=_said_failure(attributes), **fields)]
    parent_run = _str(attributes, c.PARENT_RUN_ID)
    if parent_run and kind is EventType.RUN_STARTED:
        child: dict[str, Any] = {
            **fields,
            **_child_fields(attributes, shared, parent_run),
            "parent_run_id": "",
        }
        events.append(Event(type=EventType.STEP_STARTED, **child))
    return events


def _subject(kind: EventType, record: LogRecord, attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields that say which run or step a record is about."""
    if kind in _OF_RUNS:
        parent_run, parent_step = _str(attributes, c.PARENT_RUN_ID), _str(attributes, c.PARENT_STEP_ID)
        return {"parent_run_id": parent_run, "parent_step_id": parent_step}
    if c.STEP_NAME in attributes or c.STEP_ID in attributes:
        return _step_fields(attributes, record.span_id)
    return {}


def _report(kind: EventType, record: LogRecord, attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of what was said: a line, how far it is, or what an agent lost."""
    if kind is EventType.HEARTBEAT and c.DROPPED in attributes:
        return {"attributes": {c.DROPPED: attributes[c.DROPPED]}}
    if kind not in {EventType.LOG, EventType.PROGRESS}:
        return {}
    return {
        "message": _cut(text(plain_value(record.body))),
        "severity": record.severity_text,
        "current": _number(attributes, c.PROGRESS_CURRENT),
        "total": _number(attributes, c.PROGRESS_TOTAL),
    }


def _said_failure(attributes: Mapping[str, Any]) -> Failure | None:
    failure = Failure(
        type=_str(attributes, c.EXCEPTION_TYPE) or _str(attributes, c.ERROR_TYPE),
        message=_str(attributes, c.EXCEPTION_MESSAGE),
        stacktrace=_str(attributes, c.EXCEPTION_STACKTRACE),
    )
    return failure if failure != Failure() else None


_OF_RUNS: Final = frozenset(kind for kind in EventType if kind.startswith("run_"))


def _event_type(name: str) -> EventType | None:
    if not name.startswith(c.EVENT_NAME_PREFIX):
        return None
    try:
        return EventType(name.removeprefix(c.EVENT_NAME_PREFIX))
    except ValueError:
        return None
