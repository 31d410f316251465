"""Calls: what is called, and what the language's own functions do with steps."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from stagelight_plugins.diagram import tree as t
from stagelight_plugins.diagram.builder.core import promised
from stagelight_plugins.diagram.builder.expressions import spoken
from stagelight_plugins.diagram.builder.functions import is_code
from stagelight_plugins.diagram.builder.steps import Steps
from stagelight_plugins.diagram.builder.values import (
    UNDEFINED,
    UNKNOWN,
    Bound,
    ClassValue,
    Closure,
    Const,
    Deferred,
    External,
    ListValue,
    ObjectValue,
    Promise,
    StepMethod,
    Value,
    join,
)
from stagelight_plugins.diagram.model import Draft

if TYPE_CHECKING:
    from collections.abc import Sequence

COMBINATORS: Final = {
    "Promise.all": "all",
    "Promise.allSettled": "all_settled",
    "Promise.race": "race",
    "Promise.any": "any",
}
LOOPING: Final = frozenset(
    "map forEach filter flatMap reduce reduceRight some every find findIndex findLast findLastIndex".split()  # noqa: SIM905 - a list of words
)
LOOP_HELPERS: Final = frozenset({"pMap", "mapLimit", "eachLimit", "mapSeries", "eachSeries"})


class Calls(Steps):
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
            function, arguments = function.function, (*function.arguments, *arguments)
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
            return _mapping(arguments)
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

    def _applied(self, owner: Value, how: str, arguments: list[Value], node: t.Call) -> Value:
        this, rest = (arguments[0] if arguments else UNKNOWN), arguments[1:]
        if isinstance(owner, Closure) and not owner.node.arrow and this is not UNKNOWN:
            owner = Closure(owner.node, owner.scope, this, owner.home, owner.name)
        if how == "bind":
            return Bound(owner, rest) if rest else owner
        if how == "apply":
            rest = list(rest[0].items) if rest and isinstance(rest[0], ListValue) else []
        return self.called(owner, rest, node)

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

    # Loops

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

    # Promises

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


def _mapping(arguments: Sequence[Value]) -> ObjectValue:
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
