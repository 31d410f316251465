"""Celery: signatures, and the canvas that puts them together."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from stagelight_plugins.diagram.builder.values import UNKNOWN, Promise, StepFunction, Value
from stagelight_plugins.diagram.python.foreign import Foreign, draw_beside, draw_each, draw_step, flat

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from stagelight_plugins.diagram.python.decorators import Decorators

SIGNATURES: Final = frozenset({"s", "si", "signature", "subtask"})
"""Methods of a task that return one."""
_SENT: Final = frozenset({"", "delay", "apply_async", "apply"})
_SAME: Final = frozenset({"set", "clone", "on_error", "link_error", "freeze", "replace"})


class Canvas(Foreign):
    """A signature: a task, or others one after the other (`chain`) or side by side (`group`)."""

    __slots__ = ("kind", "parts")

    def __init__(self, kind: str, parts: Sequence[Value]) -> None:
        self.kind = kind
        self.parts = list(parts)

    def call(
        self,
        graph: Decorators,
        name: str,
        arguments: Sequence[Value],
        keywords: Mapping[str, Value],
        line: int,
    ) -> Value:
        """Send it, or return another one."""
        del keywords
        if self.kind == "chord" and not name and arguments:
            return Canvas("chain", [Canvas("group", self.parts), arguments[0]]).call(graph, "", (), {}, line)
        if name in _SENT:
            graph.sent = True
            self.draw(graph, line)
            return Promise(())
        if name == "link" and arguments:
            self.parts = [Canvas(self.kind, self.parts), arguments[0]]
            self.kind = "chain"
        return self if name in _SAME or name == "link" else UNKNOWN

    def operate(self, graph: Decorators, operator: str, left: Value, right: Value) -> Value:
        """Return `left | right`: one after the other."""
        del graph
        return Canvas("chain", [left, right]) if operator == "|" else UNKNOWN

    def title(self, name: str) -> str | None:
        """Return the variable's name, unless it is no more than one task."""
        return None if self.kind == "task" else name

    def draw(self, graph: Decorators, line: int) -> None:
        """Draw its tasks."""
        if self.kind in {"group", "chord"}:
            draw_beside(graph, [partial(_part, graph, *part, line) for part in flat(self.parts)], line)
            return
        for value, many in flat(self.parts):
            _part(graph, value, many, line)


def _part(graph: Decorators, value: Value, many: bool, line: int) -> None:
    if many:
        draw_each(graph, lambda: _part(graph, value, False, line))
    elif isinstance(value, Canvas):
        value.draw(graph, line)
    elif isinstance(value, StepFunction):
        draw_step(graph, value, value.name, line)


def made(
    graph: Decorators, path: str, arguments: Sequence[Value], keywords: Mapping[str, Value], line: int
) -> Value | None:
    """Return the canvas that a call makes."""
    del graph, line
    kind = path.rpartition(".")[2]
    if not path.startswith("celery.") or kind not in {"chain", "group", "chord"}:
        return None
    if kind == "chord":
        body = keywords.get("body") or (arguments[1] if len(arguments) > 1 else None)
        header = arguments[:1] or [keywords.get("header", UNKNOWN)]
        return Canvas("chord", header) if body is None else Canvas("chain", [Canvas("group", header), body])
    return Canvas(kind, arguments)
