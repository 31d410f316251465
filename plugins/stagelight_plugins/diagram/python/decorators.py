"""Decorators: functions that they make steps or workflows, and what calling those draws."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from stagelight_plugins.diagram import tree as t
from stagelight_plugins.diagram.builder.graph import Graph
from stagelight_plugins.diagram.builder.steps import config, named
from stagelight_plugins.diagram.builder.values import (
    UNKNOWN,
    ClassValue,
    Closure,
    Const,
    Deferred,
    External,
    ListValue,
    ObjectValue,
    Promise,
    StepFunction,
    StepMethod,
    Value,
    is_nothing,
)
from stagelight_plugins.diagram.model import Draft
from stagelight_plugins.diagram.python import airflow, dialects

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from stagelight_plugins.diagram.python.order import Job

_NOT_CONTEXT: Final = frozenset({"ctx", "context", "self"})


def dotted(value: Value) -> str:
    """Return the full name of something of a library."""
    return value.path.replace(":", ".") if isinstance(value, External) else ""


class Decorator(External):
    """A call of a library's decorator: its name and arguments."""

    __slots__ = ("arguments", "keywords")

    def __init__(self, path: str, arguments: Sequence[Value], keywords: Mapping[str, Value]) -> None:
        super().__init__(path)
        self.arguments = arguments
        self.keywords = keywords


@dataclass(slots=True, eq=False, repr=False, match_args=False)
class WorkflowFunction(Closure):
    """A function that a decorator made a workflow."""

    title: str = ""
    dialect: str = ""
    """The full name of what made it a workflow."""


class Decorators(Graph):
    """Applies decorators, and calls what they made."""

    lazy = True

    def __init__(self, source: bytes, budget: Any) -> None:
        super().__init__(source, budget)
        self.by_name: dict[str, StepFunction] = {}
        self.ran: set[int] = set()
        self.jobs: list[Job] | None = None
        """The tasks of the DAG that is put together."""
        self.sent = False
        """Whether a canvas was sent."""

    def decorate(self, decorator: Value, made: Value) -> Value:
        """Apply one decorator."""
        path = dotted(decorator)
        keywords: Mapping[str, Value] = decorator.keywords if isinstance(decorator, Decorator) else {}
        arguments = decorator.arguments if isinstance(decorator, Decorator) else ()
        if isinstance(decorator, StepMethod) or path == "<step>":
            return self._step_function(made, arguments, keywords)
        if dialects.is_step(path):
            return self._step_function(made, arguments, keywords, path)
        if path in dialects.CLASSES and isinstance(made, ClassValue):
            given = keywords.get("name")
            made.name = given.value if isinstance(given, Const) else made.name
            return made
        if path in dialects.WORKFLOWS and isinstance(made, Closure):
            given = keywords.get("name") or keywords.get("dag_id") or (arguments[0] if arguments else None)
            title = given.value if isinstance(given, Const) and isinstance(given.value, str) else ""
            workflow = WorkflowFunction(made.node, made.scope, made.this, made.home, made.name)
            workflow.title = title or made.label
            workflow.dialect = path
            return workflow
        return made

    def _step_function(
        self, made: Value, arguments: Sequence[Value], keywords: Mapping[str, Value], path: str = "<step>"
    ) -> Value:
        if not isinstance(made, Closure):
            return made
        given = keywords.get("name") or keywords.get("task_id") or (arguments[0] if arguments else None)
        name = (made.label or "<lambda>") if given is None or is_nothing(given) else named(given)
        depends = keywords.get("depends")
        concurrent = keywords.get("concurrent")
        settings = keywords.get("config")
        objects = [
            value for value in (settings, ObjectValue(dict(keywords))) if isinstance(value, ObjectValue)
        ]
        step = StepFunction(
            "step_do",
            name,
            made,
            config(objects),
            depends.items if isinstance(depends, ListValue) else (),
            isinstance(concurrent, Const) and bool(concurrent.value),
            dialect=path,
        )
        self.by_name[name] = step
        return step

    def invoke(
        self, callee: Value, arguments: Sequence[Value], *, inline: bool = False, line: int = 0
    ) -> Value:
        """Call a value."""
        if isinstance(callee, StepFunction):
            if self.jobs is not None and callee.dialect.startswith("airflow."):
                return airflow.called(self, callee, arguments, line)
            function = callee.function
            if isinstance(function, Closure) and function.node.asynchronous:
                return Deferred(lambda: self.run_step(callee, arguments, line))
            began = self.clock + 1
            return self.wait(self.run_step(callee, arguments, line), began)
        return super().invoke(callee, arguments, inline=inline, line=line)

    def run_step(self, step: StepFunction, arguments: Sequence[Value], line: int) -> Promise:
        """Draw a step, and what its code does."""
        self._dependencies(step, line)
        draft = Draft(step.kind, {"name": step.name, "config": step.config}, line=line)
        result: Value = UNKNOWN
        with self.capture() as nodes, self.findings.step():
            function = step.function
            if isinstance(function, Closure) and id(function.node) not in self.inlining:
                value = self._in_place(function, arguments)
                if isinstance(value, (Promise, Deferred)):
                    self.wait(value, 0)
        draft.parts = [("nodes", nodes)]
        self.ran.add(id(step))
        return self.emit_pending(draft, result)

    def _dependencies(self, step: StepFunction, line: int) -> None:
        function = step.function
        names = (
            [p.pattern.id for p in function.node.parameters if isinstance(p.pattern, t.Name)]
            if isinstance(function, Closure)
            else []
        )
        implicit = [self.by_name[name] for name in names if name not in _NOT_CONTEXT and name in self.by_name]
        needed = [
            one for one in (*step.depends, *implicit) if isinstance(one, StepFunction) and one is not step
        ]
        fresh = [one for one in dict.fromkeys(needed) if id(one) not in self.ran]
        if not fresh or len(self.inlining) > 20:
            return
        drawn: list[list[Draft]] = []
        for one in fresh:
            self.ran.add(id(one))
            with self.capture() as nodes:
                began = self.clock + 1
                self.wait(self.run_step(one, (), line), began)
            drawn.append(nodes)
        if step.concurrent and len(fresh) > 1:
            parts = [nodes[0] if len(nodes) == 1 else block(nodes, self.tick()) for nodes in drawn if nodes]
            self.emit(Draft("parallel", {"kind": "all"}, [("nodes", parts)], line=line))
        else:
            self.out.extend(draft for nodes in drawn for draft in nodes)


def block(nodes: list[Draft], now: int) -> Draft:
    """Return nodes as one."""
    return Draft("block", {}, [("nodes", nodes)], began=now)
