"""Workflows in Python: decorated functions, and classes whose `run` gets a step object."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from stagelight_plugins.diagram.builder.graph import event
from stagelight_plugins.diagram.builder.scope import Scope
from stagelight_plugins.diagram.builder.values import (
    UNKNOWN,
    Bound,
    ClassValue,
    Closure,
    External,
    ObjectValue,
    Steps,
    Value,
)
from stagelight_plugins.diagram.limits import MAX_MODULES, MAX_PYTHON
from stagelight_plugins.diagram.python import dialects
from stagelight_plugins.diagram.python.graph import PythonGraph, WorkflowFunction
from stagelight_plugins.diagram.python.reader import read

if TYPE_CHECKING:
    from stagelight_plugins.diagram import tree as t
    from stagelight_plugins.diagram.limits import Budget


class Files:
    """The files of one diagram; each is followed once.

    Args:
        graph: Follows them.
        root: Imports are followed inside it; None follows none.
    """

    def __init__(self, graph: PythonGraph, root: Path | None) -> None:
        self._graph = graph
        self._root = None if root is None else root.resolve()
        self._scopes: dict[Path, Scope] = {}

    def module(self, source: bytes, path: str) -> Scope:
        """Follow the statements of a module; return its names."""
        graph = self._graph
        scope = Scope(source=source)
        kept, graph.source = graph.source, source
        body = read(source, path).body()
        follow = graph.follow

        def found(module: str, name: str) -> Value:
            return self._import(module, name, path)

        graph.follow = found
        try:
            with graph.inside(scope):
                graph.aside(lambda: _ran(graph, body))
        finally:
            graph.source, graph.follow = kept, follow
        return scope

    def _import(self, module: str, name: str, importer: str) -> Value:
        file = self._find(module, name, importer)
        if file is None:
            return UNKNOWN
        if file not in self._scopes:
            if len(self._scopes) >= MAX_MODULES or file.stat().st_size > MAX_PYTHON:
                return UNKNOWN
            self._scopes[file] = Scope()
            self._scopes[file].slots.update(self.module(file.read_bytes(), str(file)).slots)
        scope = self._scopes[file]
        if name in {"*", file.stem}:
            return ObjectValue({key: slot.get() for key, slot in scope.slots.items()})
        return scope.lookup(name) or UNKNOWN

    def _find(self, module: str, name: str, importer: str) -> Path | None:
        if self._root is None:
            return None
        level = len(module) - len(module.lstrip("."))
        base = Path(importer).resolve().parent
        for _ in range(level - 1):
            base = base.parent
        parts = [part for part in module.lstrip(".").split(".") if part]
        starts = [base] if level else [self._root, base, self._root / "src"]
        for start in starts:
            place = start.joinpath(*parts)
            for file in (place.with_name(f"{place.name}.py"), place / "__init__.py", place / f"{name}.py"):
                if parts or level:
                    inside = file.is_file() and file.resolve().is_relative_to(self._root)
                    if inside and file.resolve() != Path(importer).resolve():
                        return file.resolve()
        return None


def _ran(graph: PythonGraph, body: list[t.Node]) -> Value:
    graph.run(body)
    return UNKNOWN


def workflows(source: bytes, path: str, root: Path | None, budget: Budget) -> list[dict[str, Any]]:
    """Return the workflows of a file, in the order in which they stand there."""
    graph = PythonGraph(source, budget)
    scope = Files(graph, root).module(source, path)
    made: list[tuple[int, dict[str, Any]]] = []
    values = [slot.get() for slot in scope.slots.values()]
    own = [value for value in values if isinstance(value, (WorkflowFunction, ClassValue))]
    for value in dict.fromkeys(own):
        drawn = _workflow(graph, value)
        if drawn is not None:
            start = value.node.start
            made.append((start, drawn))
    return [drawn for _, drawn in sorted(made, key=lambda pair: pair[0])]


def _workflow(graph: PythonGraph, value: WorkflowFunction | ClassValue) -> dict[str, Any] | None:
    graph.known.clear()
    graph.ran.clear()
    if isinstance(value, WorkflowFunction):
        return graph.build(value.title, value, (), None)
    return _of_class(graph, value)


def _of_class(graph: PythonGraph, value: ClassValue) -> dict[str, Any] | None:
    entry = _is_entry(value)
    before = len(graph.workflows)
    this = graph.aside(lambda: graph.construct(value, ()))
    for name in ("run", "on_run", *value.members):
        method = graph.get(this, name)
        function = method.function if isinstance(method, Bound) else method
        if isinstance(function, WorkflowFunction):
            title = value.name if name == "run" else function.title
            return graph.build(title, function, [this], None)
        if (
            name in {"run", "on_run"}
            and isinstance(function, Closure)
            and (entry or len(function.node.parameters) == 3)
        ):
            carrier, payload = event()
            return graph.build(value.name, function, [this, carrier, Steps()], payload)
    del graph.workflows[before:]
    return None


def _is_entry(value: ClassValue) -> bool:
    place: Value = value
    for _ in range(64):
        if not isinstance(place, ClassValue):
            break
        place = place.base
    path = place.path if isinstance(place, External) else ""
    return path.replace(":", ".").rpartition(".")[2] in dialects.ENTRIES
