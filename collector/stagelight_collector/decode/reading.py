"""A request's spans, read for what they say of runs and steps."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from stagelight import conventions as c
from stagelight_collector.decode import aliases
from stagelight_collector.decode.facts import span_events
from stagelight_collector.decode.rows import resource_texts
from stagelight_collector.decode.values import plain

if TYPE_CHECKING:
    from collections.abc import Mapping

    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    from stagelight.events import Event

_OURS: Final = frozenset({c.RUN_ID, c.WORKFLOW_NAME, c.STEP_NAME})


@dataclass(slots=True)
class Reader:
    """Reads the spans of one request; those of foreign conventions are given our keys."""

    received: int
    events: list[Event] = field(default_factory=list["Event"])
    changed: bool = False
    """Whether the request is no longer what was sent."""
    _roots: dict[bytes, tuple[Span, dict[str, Any], str]] = field(
        default_factory=dict[bytes, tuple[Span, dict[str, Any], str]]
    )
    """Spans at the root of their trace that mean nothing by themselves."""
    _steps: dict[bytes, None] = field(default_factory=dict[bytes, None])
    """Traces that are runs because of a step in them."""

    def read(self, request: ExportTraceServiceRequest) -> None:
        """Read all spans; placeholders of spans that go on are taken out, for they are none themselves."""
        for resource_spans in request.resource_spans:
            resource, service = resource_texts(resource_spans.resource)
            for scope_spans in resource_spans.scope_spans:
                kept = [self._take(span, resource, service) for span in scope_spans.spans]
                for index in reversed([index for index, keep in enumerate(kept) if not keep]):
                    del scope_spans.spans[index]
                    self.changed = True
        self._end_at_roots()

    def _take(self, span: Span, resource: Mapping[str, str], service: str) -> bool:
        """Read a span; return whether it is one, and no placeholder."""
        attributes = plain(span.attributes)
        placeholder = attributes.get("logfire.span_type") == aliases.PLACEHOLDER
        if not _OURS.isdisjoint(attributes):
            if not placeholder:
                self.events += span_events(span, attributes, service, self.received)
            return not placeholder
        found = aliases.read(span, _with_pipeline(attributes, resource))
        if found is not None:
            self._say(found, attributes, service)
        elif not span.parent_span_id:
            self._roots[span.trace_id] = (span, attributes, service)
        return not placeholder

    def _say(self, found: aliases.Reading, attributes: dict[str, Any], service: str) -> None:
        ours = found.attributes
        if found.says in {aliases.Says.ALL, aliases.Says.AGAIN} and c.RUN_ID not in ours:
            self._steps[found.span.trace_id] = None
        self._write(found.span, ours)
        self.events += span_events(
            found.span, {**attributes, **ours}, service, self.received, says=found.says, alone=found.alone
        )

    def _end_at_roots(self) -> None:
        """Let the root of a trace that is a run be the run's own span: a web server's request around an agent.

        Whether the trace is a run by itself, or belongs to one that has an id, attribution knows.
        """
        for trace_id in self._steps:
            if trace_id in self._roots:
                span, attributes, service = self._roots[trace_id]
                failed = span.status.code == Status.STATUS_CODE_ERROR
                ours = {c.WORKFLOW_NAME: span.name, c.STATUS: "failed" if failed else "completed"}
                told = span_events(span, {**attributes, **ours}, service, self.received)
                self.events += [replace(event, step_kind=c.StepKind.SPAN) for event in told]

    def _write(self, span: Span, ours: Mapping[str, Any]) -> None:
        self.changed = True
        for key, value in ours.items():
            pair = span.attributes.add(key=key)
            if isinstance(value, int):
                pair.value.int_value = value
            else:
                pair.value.string_value = value


def _with_pipeline(attributes: dict[str, Any], resource: Mapping[str, str]) -> Mapping[str, Any]:
    """Return the attributes with those of the pipeline, which some senders write into the resource."""
    if not any(key.startswith("cicd.pipeline.") for key in resource):
        return attributes
    return {
        **{key: value for key, value in resource.items() if key.startswith("cicd.pipeline.")},
        **attributes,
    }
