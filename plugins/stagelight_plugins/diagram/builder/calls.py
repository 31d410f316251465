"""Calls: what is called, and what the language's own functions do with steps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from stagelight_plugins.diagram import tree as t
from stagelight_plugins.diagram.builder.containers import LOOPING, mapping
from stagelight_plugins.diagram.builder.core import promised
from stagelight_plugins.diagram.builder.functions import is_code
from stagelight_plugins.diagram.builder.promises import Promises
from stagelight_plugins.diagram.builder.values import (
    UNDEFINED,
    UNKNOWN,
    Bound,
    ClassValue,
    Closure,
    Const,
    External,
    ListValue,
    ObjectValue,
    Promise,
    StepMethod,
    Value,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

COMBINATORS: Final = {
    "Promise.all": "all",
    "Promise.allSettled": "all_settled",
    "Promise.race": "race",
    "Promise.any": "any",
}
LOOP_HELPERS: Final = frozenset({"pMap", "mapLimit", "eachLimit", "mapSeries", "eachSeries"})


class Calls(Promises):
    """Evaluates calls."""

    def _on_call(self, node: t.Call) -> Value:
        callee = node.callee
        if isinstance(callee, t.Member):
            return self._method(node, callee)
        function = self.value(callee)
        if isinstance(function, External) and function.path in COMBINATORS:
            return self.combine(COMBINATORS[function.path], node.arguments, self.line(node))
        arguments = self.arguments(node)
        if isinstance(callee, t.Special):
            return self._super(function, arguments)
        return self.called(function, arguments, node, inline=isinstance(callee, t.Function))

    def _super(self, base: Value, arguments: Sequence[Value]) -> Value:
        builder = base.members.get("constructor") if isinstance(base, ClassValue) else None
        if isinstance(base, ClassValue) and builder is not None and isinstance(builder.value, t.Function):
            self.invoke(Closure(builder.value, base.scope, self.frame.this, base, ""), arguments, inline=True)
        return UNDEFINED

    def arguments(self, node: t.Call) -> list[Value]:
        """Evaluate the arguments of a call, in order."""
        found: list[Value] = []
        for argument in node.arguments:
            value = self.value(argument)
            if isinstance(argument, t.Spread) and isinstance(value, ListValue) and value.rest is None:
                found.extend(value.items)
            else:
                found.append(value)
        return found

    def keywords(self, node: t.Call) -> dict[str, Value]:
        """Evaluate the named arguments of a call."""
        found: dict[str, Value] = {}
        for name, part in node.keywords:
            value = self.value(part)
            if name is not None:
                found[name] = value
            elif isinstance(value, ObjectValue):
                found.update(value.fields)
        return found

    def called(
        self, function: Value, arguments: Sequence[Value], node: t.Call, *, inline: bool = False
    ) -> Value:
        """Call a value with evaluated arguments."""
        while isinstance(function, Bound) and isinstance(function.function, (Bound, StepMethod)):
            arguments, function = (*function.arguments, *arguments), function.function
        if isinstance(function, StepMethod):
            return self.step(function.kind, arguments, self.keywords(node), self.line(node))
        self.keywords(node)
        if isinstance(function, External):
            return self._external(function.path, arguments, node)
        return self.invoke(function, arguments, inline=inline, line=self.line(node))

    def _external(self, path: str, arguments: Sequence[Value], node: t.Call) -> Value:
        if path != "Date" or not arguments:  # a date that is given is the same each time
            self.findings.call(path, self.line(node), self.source)
        last = path.rpartition(".")[2].rpartition(":")[2]
        if path in {"Object.freeze", "Object.assign", "structuredClone", "Object.seal"} and arguments:
            return _merged(arguments)
        if path == "Object.defineProperty" and len(arguments) == 3:
            return _defined(arguments)
        if last == "__name" and len(arguments) == 2:
            return _renamed(arguments[0], arguments[1])
        if path == "require" and arguments and isinstance(arguments[0], Const):
            return self.required(str(arguments[0].value))
        if path == "Promise.resolve":
            return (
                arguments[0]
                if arguments and promised(arguments[0])
                else Promise((), arguments[0] if arguments else UNDEFINED)
            )
        if path in {"String", "Number"} and arguments and isinstance(arguments[0], Const):
            return arguments[0]
        if path in {"Object.values", "Object.entries", "Array.from"} and arguments:
            return self._from(path, arguments, node)
        if last in LOOP_HELPERS and len(arguments) > 1:
            return self.each(arguments[0], arguments[-1] if is_code(arguments[-1]) else arguments[1], node)
        wrapped = [value for value in arguments if isinstance(value, ClassValue)]
        if (
            len(wrapped) == 1 and not node.new
        ):  # `instrument(options, Workflow)` is taken for the class itself
            return wrapped[0]
        if node.new and path in {"Map", "Set", "WeakMap"}:
            return mapping(arguments)
        return self.unknown(External(path), arguments)

    def _from(self, path: str, arguments: Sequence[Value], node: t.Call) -> Value:
        if len(arguments) > 1:
            return self.each(arguments[0], arguments[1], node)
        given = arguments[0]
        if isinstance(given, ObjectValue) and path != "Array.from":
            values = list(given.fields.items())
            if path == "Object.values":
                return ListValue([value for _, value in values])
            return ListValue([ListValue([Const(name), value]) for name, value in values])
        return given if isinstance(given, ListValue) else UNKNOWN

    # Methods

    def _method(self, node: t.Call, callee: t.Member) -> Value:
        if isinstance(callee.value, t.Special) and callee.value.kind == "super":
            home = self.frame.home
            function = (
                UNKNOWN if home is None else self.method(home.base, self.key(callee.name), self.frame.this)
            )
            return self.called(function, self.arguments(node), node)
        if isinstance(callee.value, t.Call) or not isinstance(callee.name, str):
            with self.capture() as before:
                owner = self.value(callee.value)
        else:
            before = []
            owner = self.value(callee.value)
        name = self.key(callee.name)
        if name in {"then", "catch", "finally"}:
            return self._chained(name, owner, before, node)
        self.out.extend(before)
        if not name and isinstance(owner, ObjectValue):
            return self.called(self._any(owner), self.arguments(node), node)
        path = f"{owner.path}.{name}" if isinstance(owner, External) else ""
        if path in COMBINATORS:
            return self.combine(COMBINATORS[path], node.arguments, self.line(node))
        return self._on_owner(owner, name, node)

    def _on_owner(self, owner: Value, name: str, node: t.Call) -> Value:
        if name in {"bind", "call", "apply"} and isinstance(owner, (Closure, StepMethod, Bound)):
            return self._applied(owner, name, self.arguments(node), node)
        if isinstance(owner, ListValue):
            return self._on_list(owner, name, node)
        if isinstance(owner, ObjectValue) and owner.mapping:
            return self._on_mapping(owner, name, node)
        function = UNKNOWN
        if not isinstance(owner, (Const, Promise)) and type(owner) is not Value:
            function = self.get(owner, name)
        arguments = self.arguments(node)
        if (
            name in LOOPING
            and arguments
            and is_code(arguments[0])
            and not isinstance(function, (Closure, Bound))
        ):
            return self.each(owner, arguments[0], node)
        if isinstance(owner, Const) and function is UNKNOWN:
            return self.on_text(owner, name, arguments)
        if name == "waitForApproval" and function is UNKNOWN:
            made = self.approval(arguments, self.line(node))
            if made is not None:
                return made
        return self.called(function, arguments, node)

    def _applied(self, owner: Value, how: str, arguments: list[Value], node: t.Call) -> Value:
        this, rest = (arguments[0] if arguments else UNKNOWN), arguments[1:]
        if isinstance(owner, Closure) and not owner.node.arrow and this is not UNKNOWN:
            owner = Closure(owner.node, owner.scope, this, owner.home, owner.name)
        if how == "bind":
            return Bound(owner, rest) if rest else owner
        if how == "apply":
            rest = list(rest[0].items) if rest and isinstance(rest[0], ListValue) else []
        return self.called(owner, rest, node)


def _merged(arguments: Sequence[Value]) -> Value:
    first = arguments[0]
    for other in arguments[1:]:
        if isinstance(first, ObjectValue) and isinstance(other, ObjectValue):
            first.fields.update(other.fields)
    return first


def _defined(arguments: Sequence[Value]) -> Value:
    target, key, how = arguments
    if isinstance(key, Const) and key.value == "name" and isinstance(how, ObjectValue):
        return _renamed(target, how.fields.get("value", UNKNOWN))
    if isinstance(target, ObjectValue) and isinstance(key, Const) and isinstance(how, ObjectValue):
        getter: Any = how.fields.get("get")
        if isinstance(getter, Closure):
            target.getters[str(key.value)] = getter
        elif "value" in how.fields:
            target.fields[str(key.value)] = how.fields["value"]
    return target


def _renamed(target: Value, name: Value) -> Value:
    if isinstance(target, (Closure, ClassValue)) and isinstance(name, Const) and isinstance(name.value, str):
        target.name = name.value
        if isinstance(target, Closure):
            target.node.name = target.node.name or name.value
    return target
