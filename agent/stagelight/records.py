"""Log records: how starts, lines and heartbeats look on the wire. Made by the worker, never on the app's threads."""

from __future__ import annotations

from time import time_ns
from typing import TYPE_CHECKING, Any, Final

from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.context import Context
from opentelemetry.sdk._logs import ReadableLogRecord
from opentelemetry.sdk.resources import Resource
from opentelemetry.trace import set_span_in_context

from stagelight.conventions import (
    DROPPED,
    EVENT_NAME_PREFIX,
    PREFIX,
    PROGRESS_CURRENT,
    PROGRESS_TOTAL,
    RUN_ID,
    SOURCE_COUNT,
    SOURCE_EVENT,
    SOURCE_MAIN,
    SOURCE_OMITTED,
    SOURCE_PATH,
    STEP_ID,
    WORKFLOW_NAME,
    WORKFLOW_VERSION,
    EventType,
)
from stagelight.scope import Run

if TYPE_CHECKING:
    from opentelemetry.sdk._logs import LogRecordLimits
    from opentelemetry.sdk.util.instrumentation import InstrumentationScope
    from opentelemetry.trace import Span

    from stagelight.lines import Line
    from stagelight.scope import Scope
    from stagelight.sources import Sources

_RUN_STARTED: Final = EVENT_NAME_PREFIX + EventType.RUN_STARTED.value
_STEP_STARTED: Final = EVENT_NAME_PREFIX + EventType.STEP_STARTED.value
_EMPTY: Final = Context()
SEVERITIES: Final = {
    "TRACE": SeverityNumber.TRACE,
    "DEBUG": SeverityNumber.DEBUG,
    "INFO": SeverityNumber.INFO,
    "WARN": SeverityNumber.WARN,
    "WARNING": SeverityNumber.WARN,
    "ERROR": SeverityNumber.ERROR,
    "CRITICAL": SeverityNumber.FATAL,
    "FATAL": SeverityNumber.FATAL,
}


class QuickResource(Resource):
    """A resource that hashes itself once.

    The official encoders group by resource, and an SDK resource renders itself as JSON each time it is hashed.
    """

    def __init__(self, resource: Resource) -> None:
        super().__init__(dict(resource.attributes), resource.schema_url)
        self._hash = super().__hash__()

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        return self is other or super().__eq__(other)


class Draft(ReadableLogRecord):
    """A log record whose SDK form is made when somebody asks for it; our own encoder never does."""

    span: Span
    name: str
    time: int
    """Unix nanoseconds."""
    attributes: dict[str, Any]
    message: str
    severity: str
    """In upper case, or empty."""
    lost: int
    """How many attributes a limit has cost."""

    def __init__(self, **fields: Any) -> None:
        vars(self).update(fields)

    @property
    def dropped_attributes(self) -> int:
        """As the official encoder asks for it."""
        return self.lost

    def __getattr__(self, name: str) -> Any:
        if name != "log_record":
            raise AttributeError(name)
        record = vars(self)["log_record"] = LogRecord(
            timestamp=self.time,
            observed_timestamp=self.time,
            context=set_span_in_context(self.span, _EMPTY),
            severity_text=self.severity or None,
            severity_number=SEVERITIES.get(self.severity),
            body=self.message or None,
            attributes=self.attributes,
            event_name=self.name,
        )
        return record


class Records:
    """Builds the log records of one worker."""

    def __init__(
        self,
        instrumentation_scope: InstrumentationScope,
        limits: LogRecordLimits | None = None,
        sources: Sources | None = None,
    ) -> None:
        self._instrumentation_scope = instrumentation_scope
        self._sources = sources
        self._most = limits.max_log_record_attributes if limits else None
        self._longest = limits.max_log_record_attribute_length if limits else None
        self._resources: tuple[Resource, Resource] | None = None

    def start(self, scope: Scope) -> ReadableLogRecord:
        """Return the record of a start; its time is the span's own start, to the nanosecond."""
        name = _STEP_STARTED if STEP_ID in scope.start_attributes else _RUN_STARTED
        time = getattr(scope.span, "start_time", None) or time_ns()
        attributes = scope.start_attributes
        if isinstance(scope, Run) and self._sources and (version := self._sources.version(scope.module)):
            attributes = {**attributes, WORKFLOW_VERSION: version}
        return self._record(scope, name, time, attributes)

    def sources(self, run: Run) -> list[ReadableLogRecord]:
        """Return the records of a run's code, one for each file; none if they were returned before."""
        source = None if self._sources is None else self._sources.untold(run.module)
        if source is None:
            return []
        shared: dict[str, Any] = {
            WORKFLOW_NAME: run.workflow,
            WORKFLOW_VERSION: source.version,
            SOURCE_MAIN: source.main,
            SOURCE_COUNT: len(source.files),
        }
        resource = getattr(run.span, "resource", None) or Resource.get_empty()
        if source.omitted:
            return [self._loose({**shared, SOURCE_OMITTED: source.omitted}, SOURCE_EVENT, resource)]
        return [
            self._loose({**shared, SOURCE_PATH: path}, SOURCE_EVENT, resource, text)
            for path, text in source.files.items()
        ]

    def line(self, line: Line) -> ReadableLogRecord:
        """Return the record of a progress report or a log line."""
        attributes = {**line.attributes, **line.scope.start_attributes}
        if line.current is not None:
            attributes[PROGRESS_CURRENT] = _number(line.current)
        if line.total is not None:
            attributes[PROGRESS_TOTAL] = _number(line.total)
        return self._record(
            line.scope,
            EVENT_NAME_PREFIX + line.type.value,
            line.time,
            attributes,
            line.message,
            line.severity,
        )

    def heartbeat(self, dropped: int, resource: Resource, run_id: str = "") -> ReadableLogRecord:
        """Return the record that confesses what was dropped, to a run that is being seen."""
        attributes = {DROPPED: dropped, RUN_ID: run_id} if run_id else {DROPPED: dropped}
        return self._loose(attributes, EVENT_NAME_PREFIX + EventType.HEARTBEAT.value, resource)

    def alive(self, run: Run) -> ReadableLogRecord:
        """Return the record that says that a run goes on."""
        resource = getattr(run.span, "resource", None) or Resource.get_empty()
        return self._loose({RUN_ID: run.run_id}, EVENT_NAME_PREFIX + EventType.HEARTBEAT.value, resource)

    def _loose(
        self, attributes: dict[str, Any], name: str, resource: Resource, body: str | None = None
    ) -> ReadableLogRecord:
        """Return a record that belongs to no trace."""
        record = LogRecord(
            timestamp=time_ns(),
            context=Context({"": None}),
            attributes=attributes,
            event_name=name,
            body=body,
        )
        return ReadableLogRecord(record, self._quick(resource), self._instrumentation_scope)

    def _record(
        self,
        scope: Scope,
        name: str,
        time: int,
        attributes: dict[str, Any],
        message: str = "",
        severity: str = "",
    ) -> ReadableLogRecord:
        resource = getattr(scope.span, "resource", None) or Resource.get_empty()
        kept = self._bounded(attributes)
        return Draft(
            span=scope.span,
            name=name,
            time=time,
            attributes=kept,
            lost=len(attributes) - len(kept),
            message=message,
            severity=severity.upper(),
            resource=self._quick(resource),
            instrumentation_scope=self._instrumentation_scope,
        )

    def _bounded(self, attributes: dict[str, Any]) -> dict[str, Any]:
        """Return the attributes as the environment's limits leave them; what says whose they are always stays."""
        if self._most is not None and len(attributes) > self._most:
            ours = {key: value for key, value in attributes.items() if key.startswith(PREFIX)}
            theirs = [pair for pair in attributes.items() if pair[0] not in ours]
            attributes = dict(theirs[: max(0, self._most - len(ours))]) | ours
        if self._longest is not None:
            longest = self._longest
            attributes = {
                key: value if key.startswith(PREFIX) else _cut(value, longest)
                for key, value in attributes.items()
            }
        return attributes

    def _quick(self, resource: Resource) -> Resource:
        if isinstance(resource, QuickResource):
            return resource
        if self._resources is None or self._resources[0] is not resource:
            self._resources = (resource, QuickResource(resource))
        return self._resources[1]


def _cut(value: Any, longest: int) -> Any:
    if isinstance(value, list):
        return [_cut(item, longest) for item in value]  # pyright: ignore[reportUnknownVariableType]  # of whatever
    return value[:longest] if isinstance(value, str) else value


def _number(value: float) -> float:
    return value if isinstance(value, int) and -(2**63) <= value < 2**63 else float(value)
