"""Containers: what the methods of texts, lists and maps do with what is in them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from stagelight_plugins.diagram import tree as t
from stagelight_plugins.diagram.builder.core import promised
from stagelight_plugins.diagram.builder.expressions import spoken
from stagelight_plugins.diagram.builder.functions import is_code
from stagelight_plugins.diagram.builder.steps import Steps
from stagelight_plugins.diagram.builder.values import (
    UNKNOWN,
    Closure,
    Const,
    ListValue,
    ObjectValue,
    Value,
    join,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

LOOPING: Final = frozenset(
    "map forEach filter flatMap reduce reduceRight some every find findIndex findLast findLastIndex".split()  # noqa: SIM905 - a list of words
)


class Containers(Steps):
    """Evaluates calls of their methods."""

    def arguments(self, node: t.Call) -> list[Value]:
        """Evaluate the arguments of a call, in order."""
        raise NotImplementedError

    def on_text(self, owner: Const, name: str, arguments: Sequence[Value]) -> Value:
        """Call a method of a constant text."""
        text = owner.value
        if not isinstance(text, str) or owner.holes:
            return UNKNOWN
        if name in {"toUpperCase", "upper"}:
            return Const(text.upper())
        if name in {"toLowerCase", "lower"}:
            return Const(text.lower())
        if name in {"trim", "strip"} and not arguments:
            return Const(text.strip())
        if name == "concat" and all(isinstance(part, Const) for part in arguments):
            return Const(text + "".join(str(part.value) for part in arguments if isinstance(part, Const)))
        return owner if name in {"toString", "valueOf"} else UNKNOWN

    def _on_list(self, owner: ListValue, name: str, node: t.Call) -> Value:
        arguments = self.arguments(node)
        if name in {"push", "unshift", "append", "add", "extend"}:
            for value in arguments:
                if name == "extend" and isinstance(value, ListValue):
                    owner.items.extend(value.items)
                    owner.rest = owner.rest or value.rest
                elif self.conditions:
                    owner.rest = join(owner.rest or UNKNOWN, value)
                else:
                    owner.items.append(value)
            return UNKNOWN
        if name in LOOPING and arguments and is_code(arguments[0]):
            return self.each(owner, arguments[0], node)
        if name == "concat":
            made = ListValue(list(owner.items), owner.rest)
            for value in arguments:
                made.items.extend(value.items if isinstance(value, ListValue) else [value])
            return made
        if name in {"pop", "shift", "at", "popleft"}:
            return self.element(owner)
        if name == "join":
            return _joined(owner, arguments)
        return (
            owner if name in {"slice", "reverse", "sort", "values", "flat", "splice", "entries"} else UNKNOWN
        )

    def _on_mapping(self, owner: ObjectValue, name: str, node: t.Call) -> Value:
        """Call a method of a `Map` or `Set`."""
        arguments = self.arguments(node)
        values = ListValue(list(owner.fields.values()))
        if name in {"set", "add"} and arguments:
            key = arguments[0] if name == "set" else UNKNOWN
            fixed = isinstance(key, Const) and not key.holes
            field = spoken(key.value) if fixed and isinstance(key, Const) else f"<{len(owner.fields)}>"
            self.put(owner, field, arguments[-1])
            return owner
        if name == "get" and arguments:
            key = arguments[0]
            return self.get(owner, spoken(key.value)) if isinstance(key, Const) else self._any(owner)
        if name == "forEach" and arguments:
            return self.each(values, arguments[0], node)
        if name == "entries":
            return ListValue([ListValue([UNKNOWN, value]) for value in values.items])
        return values if name == "values" else UNKNOWN

    def each(self, items: Value, function: Value, node: t.Call) -> Value:
        """Draw a function that is called for each item as a loop."""
        name = node.callee.name if isinstance(node.callee, t.Member) else ""
        item = self.element(items)
        given = [UNKNOWN, item] if name in {"reduce", "reduceRight"} else [item]
        inline = isinstance(function, Closure) and not function.label
        with self.conditional(), self.capture() as nodes:
            result = self.invoke(function, given, inline=inline, line=self.line(node))
            if name == "forEach" or (name == "reduce" and not promised(result)):
                self.settle(result, self.clock + 1)
        over = self.text(node.callee.value) if isinstance(node.callee, t.Member) else ""
        self.draw("loop", [("nodes", nodes)], loop={"kind": str(name or "for_each"), "over": over})
        if name in {"reduce", "reduceRight"}:
            return result
        return UNKNOWN if name == "forEach" else ListValue([], result)


def mapping(arguments: Sequence[Value]) -> ObjectValue:
    """Return a new `Map` of some pairs, or a `Set`."""
    made = ObjectValue(mapping=True)
    given = arguments[0].items if arguments and isinstance(arguments[0], ListValue) else []
    for at, item in enumerate(given):
        pair = item.items if isinstance(item, ListValue) and len(item.items) == 2 else [UNKNOWN, item]
        key = pair[0]
        made.fields[spoken(key.value) if isinstance(key, Const) else f"<{at}>"] = pair[1]
    return made


def _joined(owner: ListValue, arguments: Sequence[Value]) -> Value:
    parts = [item for item in owner.items if isinstance(item, Const)]
    between = arguments[0] if arguments else Const(",")
    if owner.rest is not None or len(parts) < len(owner.items) or not isinstance(between, Const):
        return UNKNOWN
    holes = any(part.holes or part.given for part in (*parts, between))
    return Const(spoken(between.value).join(spoken(part.value) for part in parts), holes)
