"""The processor: the agent's one hook in the tracer provider, and the only thing it costs the app's threads."""

from __future__ import annotations

import os
import weakref
from typing import TYPE_CHECKING, Any

from opentelemetry.context import Context, get_current
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor

from stagelight.backlog import Backlog, Stats
from stagelight.conventions import PARENT_STEP_ID, RUN_ID, SCOPE_NAME
from stagelight.guard import faults, report
from stagelight.records import Records
from stagelight.scope import KEY, Scope
from stagelight.sources import Sources
from stagelight.worker import Worker

if TYPE_CHECKING:
    from collections.abc import Callable

    from opentelemetry.sdk._logs import LogRecordLimits
    from opentelemetry.sdk.trace import Span
    from opentelemetry.sdk.util.instrumentation import InstrumentationScope

    from stagelight.backlog import Item
    from stagelight.exporter import Channels
    from stagelight.lines import Line
    from stagelight.settings import AgentLimits


class Processor(SpanProcessor):
    """Hands starts, lines and finished spans to the worker. No method raises or waits but `force_flush`, `shutdown`.

    A forked child starts with an empty backlog and a worker of its own: what the parent had is the parent's to send.
    """

    def __init__(
        self,
        channels: Callable[[], Channels],
        limits: AgentLimits,
        instrumentation_scope: InstrumentationScope,
        record_limits: LogRecordLimits | None = None,
        *,
        shows_sources: bool = False,
    ) -> None:
        self._channels = channels
        self._limits = limits
        self._instrumentation_scope = instrumentation_scope
        self._record_limits = record_limits
        self._is_closed = False
        self._backlog: Backlog
        self._worker: Worker
        self.sends_logs = True
        self.sends_spans = True
        self.failure = 0
        """The `id()` of the error that has last left a run; not the error itself, which would keep its frames alive."""
        self._shows_sources = shows_sources
        self._begin()
        if hasattr(os, "register_at_fork"):
            begin = weakref.WeakMethod(self._begin)

            def after_fork() -> None:
                if method := begin():
                    method()

            os.register_at_fork(after_in_child=after_fork)

    def _begin(self) -> None:
        self._backlog = Backlog(self._limits.spans, self._limits.records)
        sources = Sources() if self._shows_sources else None
        records = Records(self._instrumentation_scope, self._record_limits, sources)
        self._worker = Worker(self._backlog, self._channels, self._limits, records)

    def _add(self, item: Item) -> None:
        if self._is_closed:
            return
        try:
            if self._backlog.add(item) and self._worker.idle:
                self._worker.wake()
        except Exception as fault:  # this runs on the app's threads
            report("queue", fault)

    def started(self, scope: Scope) -> None:
        """Take the start of a run or step."""
        if self.sends_logs:
            self._add(scope)

    def said(self, line: Line) -> None:
        """Take a line."""
        if self.sends_logs:
            self._add(line)

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        """Make a span that somebody else starts inside a run belong to the run."""
        try:
            if getattr(span.instrumentation_scope, "name", "") == SCOPE_NAME:
                return  # ours: it carries its own
            scope = (get_current() if parent_context is None else parent_context).get(KEY)
            if isinstance(scope, Scope) and scope.run_id:
                inherited = scope.inherited()
                stamps: dict[str, Any] = {
                    key: inherited[key] for key in (RUN_ID, PARENT_STEP_ID) if key in inherited
                }
                span.set_attributes(stamps)
        except Exception as fault:  # this runs on the app's threads
            report("span start", fault)

    def on_end(self, span: ReadableSpan) -> None:
        """Take a finished span, if it is sampled."""
        context = span.context
        if self.sends_spans and context is not None and context.trace_flags.sampled:
            self._add(span)

    def stats(self) -> Stats:
        """Return what became of everything so far."""
        return self._backlog.stats(faults())

    def force_flush(self, timeout_millis: int = 30000) -> bool:
        """Send what is here now; say whether all of it was settled in time."""
        return self._worker.flush(timeout_millis / 1000)

    def shutdown(self) -> None:
        """Send what is left, for as long as the limits allow, and refuse the rest. Safe to call twice."""
        if not self._is_closed:
            self._is_closed = True
            self._worker.close(self._limits.exit)
