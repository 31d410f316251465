"""Workflows in Python: functions, classes and `with` blocks that a dialect says are one."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from stagelight_plugins.diagram import tree as t
from stagelight_plugins.diagram.builder.graph import event
from stagelight_plugins.diagram.builder.values import (
    UNKNOWN,
    Bound,
    ClassValue,
    Closure,
    External,
    Instance,
    StepFunction,
    Steps,
    Value,
)
from stagelight_plugins.diagram.python import airflow, dialects
from stagelight_plugins.diagram.python.decorators import WorkflowFunction
from stagelight_plugins.diagram.python.files import Files
from stagelight_plugins.diagram.python.foreign import Foreign
from stagelight_plugins.diagram.python.graph import PythonGraph

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from stagelight_plugins.diagram.builder.scope import Scope
    from stagelight_plugins.diagram.limits import Budget
    from stagelight_plugins.diagram.patterns import Patterns

_BLOCKS: Final = re.compile(rb"\bwith\b[^\n]*\b(workflow|DAG)\(")
_SENT: Final = re.compile(rb"\b(celery|langgraph)\b")

Drawn = tuple[int, dict[str, Any]]
"""Where a workflow begins, and its diagram."""


def workflows(
    source: bytes, path: str, root: Path | None, budget: Budget, patterns: Patterns
) -> list[dict[str, Any]]:
    """Return the workflows of a file, in the order in which they stand there."""
    graph = PythonGraph(source, budget)
    files = Files(graph, root, patterns)
    scope = files.module(source, path)
    names = {name: slot.get() for name, slot in scope.slots.items()}
    own = [value for value in names.values() if isinstance(value, (WorkflowFunction, ClassValue))]
    made = [drawn for value in dict.fromkeys(own) for drawn in _workflows(graph, value)]
    if _BLOCKS.search(source):
        made += _blocks(graph, names)
    if _SENT.search(source):
        made += _described(graph, names, scope)
    if patterns.script and not made:
        made += _script(graph, scope, path, files.statements)
    return [drawn for _, drawn in sorted(made, key=lambda pair: pair[0])]


def _workflows(graph: PythonGraph, value: WorkflowFunction | ClassValue) -> Iterator[Drawn]:
    found = _of_class(graph, value) if isinstance(value, ClassValue) else _function(graph, value, value.title)
    file = graph.files.get(id(value.scope.file()), "")
    yield from [(value.node.start, {**drawn, "file": file} if file else drawn) for drawn in found]


def _script(graph: PythonGraph, scope: Scope, path: str, body: list[t.Node]) -> Iterator[Drawn]:
    """Draw what the script itself does: under `stagelight run` it is one run, which has its name."""
    rest = [part for node in body if not _is_definition(node) for part in _opened(node, graph)]
    function = t.Function("", [], lambda: rest)
    file = Path(path)
    title = file.parent.name if file.stem == "__main__" else file.stem
    for drawn in _function(graph, Closure(function, scope), title):
        yield 0, drawn


def _opened(node: t.Node, graph: PythonGraph) -> Sequence[t.Node]:
    """Return what runs in a script of `if __name__ == "__main__":`."""
    if (
        isinstance(node, t.If)
        and (test := node.branches[0][0]) is not None
        and "__name__" in graph.text(test)
    ):
        return node.branches[0][1]
    return [node]


def _is_definition(node: t.Node) -> bool:
    return isinstance(node, t.Import) or (
        isinstance(node, t.Assign) and isinstance(node.value, (t.Function, t.Class))
    )


def _begin(graph: PythonGraph, dialect: str = "") -> None:
    graph.known.clear()
    graph.ran.clear()
    graph.sent = False
    graph.jobs = [] if dialect in airflow.DAGS else None


def _function(
    graph: PythonGraph, value: Value, title: str, this: Value | None = None
) -> Iterator[dict[str, Any]]:
    if isinstance(value, Closure):
        _begin(graph, value.dialect if isinstance(value, WorkflowFunction) else "")
        drawn = graph.build(title, value, () if this is None else [this], None)
        graph.jobs = None
        yield from [drawn] if drawn is not None else []


def _of_class(graph: PythonGraph, value: ClassValue) -> Iterator[dict[str, Any]]:
    """Draw the methods of a class that are workflows; its `run`, if it is called with a step object."""
    entry = _is_entry(value)
    this = graph.aside(lambda: graph.construct(value, ()))
    for name in dict.fromkeys(("run", "on_run", *value.members)):
        method = graph.get(this, name)
        bound = isinstance(method, Bound)
        function = method.function if isinstance(method, Bound) else method
        if isinstance(function, WorkflowFunction):
            title = value.name if name == "run" else function.title
            yield from _function(graph, function, title, this if bound else None)
        elif (
            name in {"run", "on_run"}
            and isinstance(function, Closure)
            and (entry or len(function.node.parameters) == 3)
        ):
            _begin(graph)
            carrier, payload = event()
            drawn = graph.build(value.name, function, [this, carrier, Steps()], payload)
            yield from [drawn] if drawn is not None else []


def _blocks(graph: PythonGraph, names: dict[str, Value]) -> Iterator[Drawn]:
    """Draw the `with` blocks that are workflows, wherever in a function they stand."""
    for value in names.values():
        if isinstance(value, Closure) and not isinstance(value, WorkflowFunction):
            graph.aside(partial(_called, graph, value))
    for block in list(graph.blocks):
        for drawn in _function(graph, block, block.title):
            yield block.node.start, drawn


def _called(graph: PythonGraph, function: Closure) -> Value:
    given = [UNKNOWN] * len(function.node.parameters)
    return graph.wait(graph.invoke(function, given, inline=True), 0)


def _described(graph: PythonGraph, names: dict[str, Value], scope: Scope) -> Iterator[Drawn]:
    """Draw what a library's objects describe, by the variable or the function that holds them or sends them."""
    for at, (name, value) in enumerate(names.items()):
        held = [value]
        if isinstance(value, ClassValue):
            made = graph.aside(partial(graph.construct, value, ()))
            held, name = (list(made.fields.values()) if isinstance(made, Instance) else []), value.name  # noqa: PLW2901 - the class's
        for one in held:
            if isinstance(one, Foreign) and (title := one.title(name)) is not None:
                yield from _foreign(graph, one, title, scope, at)
        function = value.function if isinstance(value, StepFunction) else value
        if not isinstance(function, Closure) or isinstance(function, WorkflowFunction):
            continue
        given = [UNKNOWN] * len(function.node.parameters)
        _begin(graph)
        drawn = graph.build(function.label, function, given, None)
        if drawn is not None and graph.sent:
            yield function.node.start, drawn
        result = graph.returned
        if isinstance(result, Foreign) and (title := result.title(function.label)) is not None:
            yield from _foreign(graph, result, title, scope, function.node.start)


def _foreign(graph: PythonGraph, value: Foreign, title: str, scope: Scope, at: int) -> Iterator[Drawn]:
    _begin(graph)
    body = t.Function("", [], list)
    graph.described = value
    drawn = graph.build(title, Closure(body, scope), (), None)
    graph.described = None
    if drawn is not None:
        yield at, drawn


def _is_entry(value: ClassValue) -> bool:
    place: Value = value
    for _ in range(64):
        if not isinstance(place, ClassValue):
            break
        place = place.base
    path = place.path if isinstance(place, External) else ""
    return path.replace(":", ".").rpartition(".")[2] in dialects.ENTRIES
