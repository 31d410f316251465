"""Concurrency: what is started beside its caller, and who waits for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from stagelight_plugins.diagram.builder.core import promised
from stagelight_plugins.diagram.builder.values import (
    UNKNOWN,
    Deferred,
    ListValue,
    Promise,
    StepFunction,
    Value,
    join,
)
from stagelight_plugins.diagram.python.decorators import Decorators, block
from stagelight_plugins.diagram.python.foreign import flat

if TYPE_CHECKING:
    from collections.abc import Sequence


class Concurrency(Decorators):
    """Starts coroutines and functions."""

    def __init__(self, source: bytes, budget: Any) -> None:
        super().__init__(source, budget)
        self.groups: list[tuple[Value, list[Promise]]] = []
        """The `with` blocks around, and what was started in each."""

    def start(self, what: Value, arguments: Sequence[Value], line: int) -> Promise:
        """Start a coroutine or a function beside its caller."""
        with self.capture() as nodes:
            if isinstance(what, (Deferred, Promise)):
                value: Value = what
            elif isinstance(what, StepFunction):
                value = self.run_step(what, arguments, line)
            else:
                value = self.invoke(what, arguments, line=line)
            result = value.run() if isinstance(value, Deferred) else value
        counter = self.frame.counter
        counter.waits = True
        own = promised(result)
        if not nodes:
            return Promise(tuple(own))
        made = nodes[0] if len(nodes) == 1 else block(nodes, self.tick())
        counter.hand_back([draft for draft in own if draft is not made], self.tick())
        self.out.append(made)
        if made not in counter.pending:
            counter.emit(made, made.began)
        return Promise((made,))

    def side_by_side(self, kind: str, values: Sequence[Value], line: int) -> Value:
        """Start what is not started yet, and draw it all as one group."""
        made = ListValue()
        with self.capture() as drawn:
            for value, many in flat(values):
                if many:
                    made.rest = join(made.rest or UNKNOWN, self._rest_started(value, line) or UNKNOWN)
                else:
                    made.items.append(self.start(value, (), line) if isinstance(value, Deferred) else value)
        return self.join_drawn(kind, drawn, made, line)

    def _rest_started(self, rest: Value | None, line: int) -> Value | None:
        if not isinstance(rest, Deferred):
            return rest
        with self.conditional(), self.capture() as nodes:
            made = self.start(rest, (), line)
        self.draw("loop", [("nodes", nodes)], loop={"kind": "for"})
        return made

    def _tasks(self, owner: Value, made: Promise) -> None:
        for group in self.groups:
            if group[0] is owner:
                group[1].append(made)
