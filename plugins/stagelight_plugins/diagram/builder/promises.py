"""Promises: combinators, and what is chained to a promise."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stagelight_plugins.diagram.builder.containers import Containers
from stagelight_plugins.diagram.builder.core import promised
from stagelight_plugins.diagram.builder.functions import is_code
from stagelight_plugins.diagram.builder.values import (
    UNKNOWN,
    Closure,
    Deferred,
    ListValue,
    Promise,
    Value,
)
from stagelight_plugins.diagram.model import Draft

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stagelight_plugins.diagram import tree as t


class Promises(Containers):
    """Joins and chains promises."""

    def combine(self, kind: str, nodes: Sequence[t.Node], line: int) -> Value:
        """Draw what runs side by side."""
        with self.capture() as drawn:
            values = [self.value(node) for node in nodes]
        value = values[0] if len(values) == 1 else ListValue(values)
        return self.join_drawn(kind, drawn, value, line)

    def join_drawn(self, kind: str, drawn: list[Draft], value: Value, line: int) -> Value:
        """Draw what a combinator waits for, of which `drawn` has just been met."""
        self.frame.counter.waits = True
        self.findings.joined(kind, line, self.source)
        if isinstance(value, ListValue):
            value = self._started(value, drawn)
        tokens = promised(value)
        inside = [draft for draft in drawn if _has(draft, tokens)]
        self.out.extend(draft for draft in drawn if draft not in inside)
        result = _results(value)
        if inside:
            made = Draft("parallel", {"kind": kind}, [("nodes", inside)], line=line)
            last = self.frame.counter.last
            self.emit(made)
            self.frame.counter.last = last
        return Promise(tuple(tokens), result, kind)

    def _started(self, value: ListValue, drawn: list[Draft]) -> ListValue:
        """Start what was only prepared."""
        items = [self._start(item, drawn) if isinstance(item, Deferred) else item for item in value.items]
        rest = value.rest
        if isinstance(rest, Deferred):
            with self.capture() as more:
                rest = self.block_of(rest)
            if more:
                drawn.append(Draft("loop", {}, [("nodes", more)]))
        return ListValue(items, rest)

    def _start(self, item: Deferred, drawn: list[Draft]) -> Value:
        with self.capture() as more:
            made = self.block_of(item)
        drawn.extend(more)
        return made

    def block_of(self, item: Deferred) -> Value:
        """Start a coroutine; return the promise of all that it draws."""
        with self.capture() as nodes:
            value = item.run()
        if len(nodes) <= 1:
            self.out.extend(nodes)
            return value
        return self._promise(nodes, value)

    def _chained(self, how: str, owner: Value, before: list[Draft], node: t.Call) -> Value:
        """Draw `.then`, `.catch` and `.finally`."""
        own = promised(owner)
        fresh = [draft for draft in before if _has(draft, own)]
        self.out.extend(draft for draft in before if draft not in fresh)
        arguments = self.arguments(node)
        bodies: list[list[Draft]] = []
        result: Value = owner.result if isinstance(owner, Promise) else UNKNOWN
        for index, argument in enumerate(arguments):
            given = [result] if how == "then" and index == 0 else []
            with self.conditional(), self.capture() as nodes:
                inline = isinstance(argument, Closure) and not argument.label
                returned = (
                    self.invoke(argument, given, inline=inline, line=self.line(node))
                    if is_code(argument)
                    else UNKNOWN
                )
                self._inner_wait(returned)
            bodies.append(nodes)
            if how == "then" and index == 0:
                result = returned.result if isinstance(returned, Promise) else returned
        if not any(bodies):
            self.out.extend(fresh)
            return Promise(tuple(own), result if not promised(result) else UNKNOWN)
        begun = [draft for draft in own if not any(_has(each, [draft]) for each in fresh)]
        for frame in (self.frame, *self.frames):
            frame.counter.forget([draft for draft in own if draft not in begun])
        made = self._chain_drawn(how, fresh, bodies, result)
        return Promise((*begun, *made.drafts), made.result)

    def _inner_wait(self, value: Value) -> None:
        self.frame.counter.forget(promised(value))

    def _chain_drawn(self, how: str, fresh: list[Draft], bodies: list[list[Draft]], result: Value) -> Promise:
        nodes: list[Draft] = []
        caught = bodies[0] if how == "catch" else bodies[1] if len(bodies) > 1 else []
        if how == "then":
            nodes = [*fresh, *bodies[0]]
            fresh = nodes
        if how == "finally" or caught:
            final = bodies[0] if how == "finally" else []
            nodes = [
                Draft("try", {}, [("try_block", fresh), ("catch_block", caught), ("finally_block", final)])
            ]
        made = nodes[0] if len(nodes) == 1 else Draft("block", {}, [("nodes", nodes)])
        self.out.append(made)
        made.began = made.began or self.tick()
        self.frame.counter.emit(made, self.clock)
        return Promise((made,), result if not promised(result) else UNKNOWN)


def _has(draft: Draft, tokens: Sequence[Draft]) -> bool:
    return draft in tokens or any(_has(inner, tokens) for _, nodes in draft.parts for inner in nodes)


def _results(value: Value) -> Value:
    if not isinstance(value, ListValue):
        return UNKNOWN
    items = [item.result if isinstance(item, Promise) else item for item in value.items]
    return ListValue(items, UNKNOWN if value.rest is not None else None)
