"""Workflows in JavaScript: the classes whose `run` gets a step object."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from stagelight_plugins.diagram.builder.graph import Graph, event
from stagelight_plugins.diagram.builder.values import ClassValue, Closure, External, Steps, Value
from stagelight_plugins.diagram.javascript.module import Module
from stagelight_plugins.diagram.javascript.modules import Modules

if TYPE_CHECKING:
    from pathlib import Path

    from stagelight_plugins.diagram.limits import Budget

_ENTRIES = ("WorkflowEntrypoint", "AgentWorkflow")
_OTHERS = ("DurableObject", "WorkerEntrypoint")


def workflows(source: bytes, path: str, root: Path | None, budget: Budget) -> list[dict[str, Any]]:
    """Return the workflows of a file, in the order in which they stand there."""
    if not (b"class" in source and b"run" in source) and b"export" not in source:
        return []
    graph = Graph(source, budget)
    module = Module(source, path, Modules(graph, root))
    names = _exported(module)
    found = [module.class_value(node) for node in module.classes()]
    found += _passed_on(module, found)
    parents = {_place(value.base) for value in found if isinstance(value.base, ClassValue)}
    made: list[dict[str, Any]] = []
    for value in found:
        entry = _is_entry(value)
        exported = names.get(_place(value))
        if (
            value.node.abstract
            or entry is False
            or (exported is None and (not entry or _place(value) in parents))
        ):
            continue
        drawn = _drawn(module, value, exported or value.name or value.node.name or "default")
        file = graph.files.get(id(value.scope.file()), "")
        if drawn is not None:
            made.append({**drawn, "file": file} if file else drawn)
        elif entry and _run(value) is not None:
            made.append(
                {"class_name": exported or value.name or value.node.name, "functions": {}, "nodes": []}
            )
    return made


def _passed_on(module: Module, own: list[ClassValue]) -> list[ClassValue]:
    """Return the classes of other files that a module exports as its own."""
    places = {_place(value) for value in own}
    values = [make() for make in module.exports.values()]
    classes = [value for value in values if isinstance(value, ClassValue) and _place(value) not in places]
    return list({_place(value): value for value in classes}.values())


def _place(value: ClassValue) -> tuple[int, int]:
    """Return where a class stands: what is the same class although it was evaluated twice."""
    return id(value.scope.file()), value.node.start


def _exported(module: Module) -> dict[tuple[int, int], str]:
    names: dict[tuple[int, int], str] = {}
    for name, make in module.exports.items():
        value = make()
        if isinstance(value, ClassValue) and names.get(_place(value), "default") == "default":
            names[_place(value)] = (value.name or value.node.name or name) if name == "default" else name
    return names


def _is_entry(value: ClassValue) -> bool | None:
    """Return whether a class is a workflow: True, False, or None where its `run` has to tell."""
    place: Value = value
    for _ in range(64):
        if not isinstance(place, ClassValue):
            break
        place = place.base
    path = place.path if isinstance(place, External) else ""
    last = path.replace(":", ".").rpartition(".")[2]
    if last in _ENTRIES:
        return True
    return False if last in _OTHERS else None


def _run(value: ClassValue) -> ClassValue | None:
    place: Value = value
    for _ in range(64):
        if not isinstance(place, ClassValue):
            return None
        if "run" in place.members:
            return place
        place = place.base
    return None


def _drawn(module: Module, value: ClassValue, name: str) -> dict[str, Any] | None:
    if _run(value) is None:
        return None
    graph = module.graph
    graph.known.clear()
    graph.source = value.scope.file() or module.source
    this = graph.aside(lambda: graph.construct(value, ()))
    run = graph.get(this, "run")
    if not isinstance(run, Closure) or len(run.node.parameters) < 2:
        return None
    carrier, payload = event()
    return graph.build(name, run, [carrier, Steps()], payload)
