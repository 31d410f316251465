"""Calls of libraries: the standard one's, and those that a dialect names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from stagelight_plugins.diagram.builder.steps import config, plain
from stagelight_plugins.diagram.builder.values import (
    UNKNOWN,
    Bound,
    ClassValue,
    Closure,
    Const,
    External,
    Instance,
    ObjectValue,
    StepFunction,
    Value,
)
from stagelight_plugins.diagram.model import Draft
from stagelight_plugins.diagram.python import airflow, celery, dialects, langgraph
from stagelight_plugins.diagram.python.concurrency import Concurrency
from stagelight_plugins.diagram.python.decorators import Decorator, dotted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stagelight_plugins.diagram import tree as t

ADAPTERS: Final = (celery.made, langgraph.made, airflow.made)


class Library(Concurrency):
    """Evaluates calls of libraries."""

    def _library(
        self, function: External, arguments: Sequence[Value], keywords: dict[str, Value], node: t.Call
    ) -> Value:
        path = dotted(function)
        line = self.line(node)
        self.findings.call(path, line, self.source)
        if dialects.is_step(path) or path in dialects.WORKFLOWS or path in dialects.BLOCKS | dialects.CLASSES:
            if arguments and isinstance(arguments[0], Closure):
                return self.decorate(
                    function if isinstance(function, Decorator) else External(path), arguments[0]
                )
            return Decorator(path, arguments, keywords)
        for adapter in ADAPTERS:
            made = adapter(self, path, arguments, keywords, line)
            if made is not None:
                return made
        if path in dialects.CALLS:
            return self._library_step(path, arguments, keywords, line)
        if path in {"asyncio.gather", "anyio.gather"}:
            failing = keywords.get("return_exceptions")
            settled = isinstance(failing, Const) and bool(failing.value)
            return self.side_by_side("all_settled" if settled else "all", arguments, line)
        if path in {
            "asyncio.wait",
            "concurrent.futures.wait",
            "asyncio.as_completed",
            "concurrent.futures.as_completed",
        }:
            first = keywords.get("return_when")
            kind = "race" if dotted(first or UNKNOWN).endswith("FIRST_COMPLETED") else "all"
            made = self.side_by_side(kind, arguments[:1], line)
            return self.wait(made, 0) if "concurrent" in path or "as_completed" in path else made
        if path in dialects.EAGER and arguments:
            return self.start(arguments[0], arguments[1:], line)
        if path in {"asyncio.run", "asyncio.wait_for", "asyncio.shield", "asyncio.timeout"} and arguments:
            return self.wait(arguments[0], self.clock + 1) if path == "asyncio.run" else arguments[0]
        if path in {"list", "tuple", "sorted", "set", "reversed", "iter"} and arguments:
            return arguments[0]
        if path in {"map", "filter"} and len(arguments) > 1:
            return self.each(arguments[1], arguments[0], node)
        if path == "functools.partial" and arguments:
            return Bound(arguments[0], arguments[1:])
        if path == "super":
            return self._super_object()
        if path == "dict":
            return ObjectValue(dict(keywords))
        if path == "str" and arguments and isinstance(arguments[0], Const):
            return arguments[0]
        if path.endswith("TaskGroup") or "Executor" in path or path == "celery.Celery":
            return External(path)
        return self.unknown(function, [*arguments, *keywords.values()])

    def _super_object(self) -> Value:
        home, this = self.frame.home, self.scope.lookup("self")
        if home is None or not isinstance(home.base, ClassValue):
            return UNKNOWN
        fields = this.fields if isinstance(this, Instance) else {}
        return Instance(home.base, fields)

    def _library_step(
        self, path: str, arguments: Sequence[Value], keywords: dict[str, Value], line: int
    ) -> Value:
        kind = dialects.CALLS[path]
        self.findings.sleep(kind, line, self.source)
        what = arguments[0] if arguments else UNKNOWN
        label = path.rpartition(".")[2].removesuffix("_async")
        if isinstance(what, Closure) and what.home is not None and "child_workflow" in path:
            label = what.home.name
        elif isinstance(what, ClassValue):
            label = what.name
        elif isinstance(what, (StepFunction, Closure)):
            label = (what.name if isinstance(what, StepFunction) else what.label) or label
        elif isinstance(what, Bound) and isinstance(what.function, (StepFunction, Closure)):
            label = what.function.name or label
        elif isinstance(what, Const):
            label = str(what.value) if isinstance(what.value, str) else label
        draft = Draft(kind, {"name": label}, line=line)
        if kind == "step_do":
            draft.fields["config"] = config([])
            draft.parts = [("nodes", [])]
        elif kind == "step_sleep":
            draft.fields["duration"] = plain(what, "Generated")
        else:
            draft.fields["options"] = {"event_type": label, "timeout": plain(keywords.get("timeout"), 0)}
        made = self.emit_pending(draft)
        started = "start_" in path or path.startswith("temporalio")
        if not started and not path.endswith("_async"):
            self.settle(made, draft.began)
            return UNKNOWN
        return made
