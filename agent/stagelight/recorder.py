"""The recorder: runs, steps and events in memory, for tests."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_ON
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import StatusCode, format_span_id, format_trace_id

from stagelight import runtime
from stagelight.conventions import (
    ERROR_TYPE,
    EVENT_NAME_PREFIX,
    EXCEPTION_MESSAGE,
    EXCEPTION_STACKTRACE,
    PARENT_RUN_ID,
    PARENT_STEP_ID,
    PREFIX,
    PROGRESS_CURRENT,
    PROGRESS_TOTAL,
    RUN_ID,
    SCHEMA_URL,
    SCOPE_NAME,
    STEP_ATTEMPT,
    STEP_ID,
    STEP_KIND,
    STEP_NAME,
    WORKFLOW_NAME,
    EventType,
)
from stagelight.events import Event, Failure
from stagelight.exporter import DELIVERED, Channels, Outcome
from stagelight.processor import Processor
from stagelight.settings import AgentLimits, SignalLimits

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence

    from opentelemetry.sdk._logs import ReadableLogRecord

_FLUSH: Final = 5.0
_MANY: Final = SignalLimits(queue=1_000_000)


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedStep:
    """One finished attempt of a step."""

    name: str
    id: str
    run_id: str
    attempt: int
    kind: str
    parent_step_id: str
    status: str
    """`completed` or `failed`."""
    error: Failure | None
    attributes: Mapping[str, Any]
    """What the test's code has set."""
    span: ReadableSpan


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedRun:
    """One finished run."""

    name: str
    id: str
    parent_run_id: str
    status: str
    """`completed` or `failed`."""
    error: Failure | None
    attributes: Mapping[str, Any]
    span: ReadableSpan


@dataclass
class Memory:
    """A channel that keeps what it gets."""

    items: list[Any] = field(default_factory=list[Any])

    def send(self, batch: Sequence[Any], timeout: float) -> Outcome:
        """Keep a batch."""
        del timeout
        self.items.extend(batch)
        return DELIVERED

    def close(self) -> None:
        """Nothing to let go of."""


class Recorder:
    """What was recorded so far. Every property waits for what is on its way."""

    def __init__(
        self, tracer_provider: TracerProvider, processor: Processor, spans: Memory, logs: Memory
    ) -> None:
        self.tracer_provider = tracer_provider
        """Spans that others make through it are recorded too."""
        self._processor = processor
        self._spans = spans
        self._logs = logs

    @property
    def spans(self) -> list[ReadableSpan]:
        """All finished spans, ours and others', in the order of their ends."""
        self._processor.force_flush(int(_FLUSH * 1000))
        return list(self._spans.items)

    @property
    def runs(self) -> list[RecordedRun]:
        """The finished runs, in the order of their starts."""
        return [_run(span) for span in self._ours() if STEP_ID not in (span.attributes or {})]

    @property
    def steps(self) -> list[RecordedStep]:
        """The finished attempts of all steps, in the order of their starts."""
        return [_step(span) for span in self._ours() if STEP_ID in (span.attributes or {})]

    @property
    def events(self) -> list[Event]:
        """Everything that happened, as viewers see it, in the order of time."""
        ends = [_end(span) for span in self._ours()]
        return sorted([*(_event(record) for record in self._logs.items), *ends], key=lambda event: event.time)

    def _ours(self) -> list[ReadableSpan]:
        ours = [
            s for s in self.spans if s.instrumentation_scope and s.instrumentation_scope.name == SCOPE_NAME
        ]
        return sorted(ours, key=lambda span: span.start_time or 0)


@contextlib.contextmanager
def recording() -> Generator[Recorder]:
    """Record in memory inside the block; what was set up before is back afterwards."""
    spans, logs = Memory(), Memory()
    provider = TracerProvider(sampler=ALWAYS_ON, shutdown_on_exit=False)
    processor = Processor(
        lambda: Channels(spans, logs),
        AgentLimits(spans=_MANY, records=_MANY),
        InstrumentationScope(SCOPE_NAME, "", SCHEMA_URL),
    )
    provider.add_span_processor(processor)
    tracer = provider.get_tracer(SCOPE_NAME, schema_url=SCHEMA_URL)
    with runtime.replaced(runtime.Runtime(tracer, processor)):
        try:
            yield Recorder(provider, processor, spans, logs)
        finally:
            provider.shutdown()


def _own(attributes: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in attributes.items() if not key.startswith((PREFIX, "code."))}


def _failure(span: ReadableSpan) -> Failure | None:
    if span.status.status_code is not StatusCode.ERROR:
        return None
    nothing: Mapping[str, Any] = {}
    told: Mapping[str, Any] = next(
        (event.attributes or nothing for event in span.events if event.name == "exception"), nothing
    )
    return Failure(
        type=str((span.attributes or {}).get(ERROR_TYPE, "")),
        message=str(told.get(EXCEPTION_MESSAGE, "")),
        stacktrace=str(told.get(EXCEPTION_STACKTRACE, "")),
    )


def _run(span: ReadableSpan) -> RecordedRun:
    attributes: Mapping[str, Any] = span.attributes or {}
    error = _failure(span)
    return RecordedRun(
        name=str(attributes.get(WORKFLOW_NAME, "")),
        id=str(attributes.get(RUN_ID, "")),
        parent_run_id=str(attributes.get(PARENT_RUN_ID, "")),
        status="completed" if error is None else "failed",
        error=error,
        attributes=_own(attributes),
        span=span,
    )


def _step(span: ReadableSpan) -> RecordedStep:
    attributes: Mapping[str, Any] = span.attributes or {}
    error = _failure(span)
    return RecordedStep(
        name=str(attributes.get(STEP_NAME, "")),
        id=str(attributes.get(STEP_ID, "")),
        run_id=str(attributes.get(RUN_ID, "")),
        attempt=int(attributes.get(STEP_ATTEMPT, 0)),
        kind=str(attributes.get(STEP_KIND, "")),
        parent_step_id=str(attributes.get(PARENT_STEP_ID, "")),
        status="completed" if error is None else "failed",
        error=error,
        attributes=_own(attributes),
        span=span,
    )


def _about(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of an event that say which run and step it is about."""
    return {
        "run_id": str(attributes.get(RUN_ID, "")),
        "workflow": str(attributes.get(WORKFLOW_NAME, "")),
        "parent_run_id": str(attributes.get(PARENT_RUN_ID, "")),
        "parent_step_id": str(attributes.get(PARENT_STEP_ID, "")),
        "step_id": str(attributes.get(STEP_ID, "")),
        "step_name": str(attributes.get(STEP_NAME, "")),
        "step_kind": str(attributes.get(STEP_KIND, "")),
        "attempt": int(attributes.get(STEP_ATTEMPT, 0)),
        "attributes": _own(attributes),
    }


def _end(span: ReadableSpan) -> Event:
    attributes: Mapping[str, Any] = span.attributes or {}
    error = _failure(span)
    subject = "STEP" if STEP_ID in attributes else "RUN"
    context = span.get_span_context()
    return Event(
        type=EventType[f"{subject}_{'COMPLETED' if error is None else 'FAILED'}"],
        time=span.end_time or 0,
        trace_id=format_trace_id(context.trace_id) if context else "",
        span_id=format_span_id(context.span_id) if context else "",
        error=error,
        **_about(attributes),
    )


def _event(readable: ReadableLogRecord) -> Event:
    record = readable.log_record
    attributes: Mapping[str, Any] = record.attributes or {}
    return Event(
        type=EventType((record.event_name or "").removeprefix(EVENT_NAME_PREFIX)),
        time=record.timestamp or 0,
        trace_id=format_trace_id(record.trace_id or 0),
        span_id=format_span_id(record.span_id or 0),
        message=str(record.body or ""),
        severity=record.severity_text or "",
        current=attributes.get(PROGRESS_CURRENT),
        total=attributes.get(PROGRESS_TOTAL),
        **_about(attributes),
    )
