"""Tracers: spans go through the agent's provider until the program sets its own, and then through that."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor, TracerProvider

from stagelight.conventions import SCOPE_NAME
from stagelight.standin import slots

if TYPE_CHECKING:
    from collections.abc import Callable

    from opentelemetry.context import Context


class _Tracer(trace.ProxyTracer):
    """A tracer of whichever provider is in charge."""

    def __init__(self, stand_in: StandInTracers, scope: tuple[Any, ...]) -> None:
        super().__init__(*scope)

        def make(provider: trace.TracerProvider) -> trace.Tracer:
            return stand_in.own(scope) if provider is stand_in else provider.get_tracer(*scope)

        self._latest = slots.Latest(stand_in, make)

    @property
    def _tracer(self) -> trace.Tracer:
        return self._latest()


class StandInTracers(TracerProvider):
    """Makes the tracers of the program until it has a provider of its own."""

    slot = slots.TRACES
    successor: trace.TracerProvider | None = None
    moving: Callable[[trace.TracerProvider], None] | None = None
    """Called with the provider that the program sets."""

    @classmethod
    def hold(cls, provider: TracerProvider) -> TracerProvider:
        """Let a provider that nobody has seen yet stand in for the program's; return it."""
        provider.__class__ = cls
        slots.hold(cls.slot, provider)
        return provider

    def stand_aside(self, successor: trace.TracerProvider) -> None:
        """Give everything over to the program's own provider."""
        self.successor = successor
        if self.moving is not None:
            self.moving(successor)

    def own(self, scope: tuple[Any, ...]) -> trace.Tracer:
        """Return the SDK's own tracer."""
        return super().get_tracer(*scope)

    def get_tracer(
        self,
        instrumenting_module_name: str,
        instrumenting_library_version: str | None = None,
        schema_url: str | None = None,
        attributes: Any = None,
    ) -> trace.Tracer:
        """Return a tracer of whichever provider is in charge; for the agent the SDK's own, which it changes itself."""
        scope = (instrumenting_module_name, instrumenting_library_version, schema_url, attributes)
        if self.successor is not None:
            return self.successor.get_tracer(*scope)
        return self.own(scope) if instrumenting_module_name == SCOPE_NAME else _Tracer(self, scope)

    def add_span_processor(self, span_processor: SpanProcessor) -> None:
        """Add a processor where the spans are."""
        if isinstance(self.successor, TracerProvider):
            self.successor.add_span_processor(span_processor)
        else:
            super().add_span_processor(span_processor)


class Guest(SpanProcessor):
    """The agent's processor in the program's own provider, whose shutdown is not the end of what the agent records."""

    def __init__(self, processor: SpanProcessor) -> None:
        self._processor = processor

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """Hand on."""
        self._processor.on_start(span, parent_context)

    def on_end(self, span: ReadableSpan) -> None:
        """Hand on."""
        self._processor.on_end(span)

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        """Hand on."""
        return self._processor.force_flush(timeout_millis)
