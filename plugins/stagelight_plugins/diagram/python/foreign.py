"""Objects of libraries that describe work and do it later: a canvas, a state graph, a task of a DAG.

A library has one adapter: a module with a function `made(graph, path, arguments, keywords, line)` that returns such an object for
the library's own calls, and None for all others. What the object's methods and operators do, it says itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from stagelight_plugins.diagram.builder.steps import config
from stagelight_plugins.diagram.builder.values import UNKNOWN, ListValue, StepFunction, Value
from stagelight_plugins.diagram.model import Draft

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from stagelight_plugins.diagram.python.decorators import Decorators


class Foreign(Value):
    """An object of a library."""

    __slots__ = ()

    def call(
        self,
        graph: Decorators,
        name: str,
        arguments: Sequence[Value],
        keywords: Mapping[str, Value],
        line: int,
    ) -> Value:
        """Call a method; the object itself where the name is empty."""
        del graph, name, arguments, keywords, line
        return UNKNOWN

    def member(self, name: str) -> Value:
        """Read a member."""
        del name
        return UNKNOWN

    def operate(self, graph: Decorators, operator: str, left: Value, right: Value) -> Value:
        """Return `left operator right`, of which it is one."""
        del graph, operator, left, right
        return UNKNOWN

    def title(self, name: str) -> str | None:
        """Return the name of the workflow that it is where it is called `name`; None if it is none."""
        del name
        return None

    def draw(self, graph: Decorators, line: int) -> None:
        """Draw what it does."""
        raise NotImplementedError


def draw_step(graph: Decorators, function: Value, name: str, line: int) -> None:
    """Draw a step that what follows waits for."""
    step = (
        function
        if isinstance(function, StepFunction)
        else StepFunction("step_do", name, function, config([]))
    )
    made = graph.run_step(step, [UNKNOWN], line)
    graph.frame.counter.forget(list(made.drafts))


def draw_beside(graph: Decorators, parts: Sequence[Callable[[], None]], line: int) -> None:
    """Draw what runs side by side, and is waited for as a whole."""
    nodes: list[Draft] = []
    for part in parts:
        with graph.capture() as drawn:
            part()
        if len(drawn) > 1:
            block = Draft("block", {}, [("nodes", drawn)], began=graph.tick())
            block.settled = graph.tick()  # it keeps its own order among what runs beside it
            drawn = [block]
        nodes += drawn
    if len(nodes) == 1 and nodes[0].type != "loop":
        graph.out.extend(nodes)
    elif nodes:
        graph.emit(Draft("parallel", {"kind": "all"}, [("nodes", nodes)], line=line))


def draw_each(graph: Decorators, make: Callable[[], None]) -> None:
    """Draw what happens for each of some items."""
    with graph.conditional(), graph.capture() as nodes:
        make()
    graph.draw("loop", [("nodes", nodes)], loop={"kind": "for"})


def flat(values: Sequence[Value]) -> list[tuple[Value, bool]]:
    """Return values, those of lists one by one, and whether each stands for any number."""
    found: list[tuple[Value, bool]] = []
    for value in values:
        if isinstance(value, ListValue):
            found += flat(value.items)
            found += [(value.rest, True)] if value.rest is not None else []
        else:
            found.append((value, False))
    return found
