"""Functions: calls that become nodes of their own, and calls whose code is drawn in place."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from stagelight_plugins.diagram import tree as t
from stagelight_plugins.diagram.builder.core import promised
from stagelight_plugins.diagram.builder.frame import Counter, Frame
from stagelight_plugins.diagram.builder.scope import Scope
from stagelight_plugins.diagram.builder.statements import Statements
from stagelight_plugins.diagram.builder.values import (
    UNDEFINED,
    UNKNOWN,
    Bound,
    Choice,
    ClassValue,
    Closure,
    Const,
    Deferred,
    Instance,
    ListValue,
    Native,
    ObjectValue,
    Promise,
    StepMethod,
    Value,
    is_nothing,
    join,
)
from stagelight_plugins.diagram.model import Draft

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_MAX_INLINED = 24
_MAX_VARIANTS = 16

Key = tuple[int, int, tuple[str, ...]]
"""A function's code, the object whose method it is, and the texts that it is given."""


@dataclass(slots=True, eq=False, repr=False, match_args=False)
class Known:
    """A function that was followed."""

    closure: Closure
    name: str = ""
    drafts: list[Draft] = field(default_factory=list[Draft])
    arguments: list[Value] = field(default_factory=list[Value])
    result: Value = UNDEFINED
    busy: bool = False
    counter: Counter = field(default_factory=Counter)


class Functions(Statements):
    """Calls functions."""

    def invoke(
        self, callee: Value, arguments: Sequence[Value], *, inline: bool = False, line: int = 0
    ) -> Value:
        """Call a value."""
        if isinstance(callee, Bound):
            return self.invoke(callee.function, (*callee.arguments, *arguments), inline=inline, line=line)
        if isinstance(callee, Native):
            return callee.call(arguments)
        if isinstance(callee, ClassValue):
            return self.construct(callee, arguments)
        if isinstance(callee, Choice):
            return self._choose(callee, arguments, line)
        if isinstance(callee, StepMethod):
            return self.step(callee.kind, arguments, {}, line)
        if not isinstance(callee, Closure):
            return self.unknown(callee, arguments)
        if id(callee.node) in self.inlining or len(self.inlining) > _MAX_INLINED:
            return UNKNOWN
        if self.lazy and callee.node.asynchronous and not callee.node.generator:
            return Deferred(lambda: self._call(callee, arguments, inline, line))
        return self._call(callee, arguments, inline, line)

    def step(
        self, kind: str, arguments: Sequence[Value], keywords: Mapping[str, Value], line: int
    ) -> Promise:
        """Draw a step of the step object."""
        raise NotImplementedError

    def _call(self, callee: Closure, arguments: Sequence[Value], inline: bool, line: int) -> Value:
        if inline or not callee.label or any(map(is_code, arguments)):
            return self._in_place(callee, arguments)
        return self._by_name(callee, arguments, line)

    def _choose(self, callee: Choice, arguments: Sequence[Value], line: int) -> Value:
        options = [(how, value) for how, value in callee.options if not is_nothing(value)]
        if len(options) == 1:
            return self.invoke(options[0][1], arguments, line=line)
        parts: list[tuple[str | None, list[Draft]]] = []
        found: Value = UNDEFINED
        for how, option in options:
            with self.conditional(), self.capture() as nodes:
                found = join(found, self.invoke(option, arguments, line=line))
            parts.append((how, nodes))
        self.draw("if", parts)
        return found

    def unknown(self, callee: Value, arguments: Sequence[Value]) -> Value:
        """Call what is not known: what it is given may be called, so it is drawn here."""
        del callee
        found: Value = UNKNOWN
        for argument in arguments:
            if is_code(argument):
                found = join(
                    found,
                    self.invoke(argument, (), inline=isinstance(argument, Closure) and not argument.label),
                )
        drafts = [*promised(found), *(draft for value in arguments for draft in promised(value))]
        return Promise(tuple(dict.fromkeys(drafts))) if drafts else UNKNOWN

    # In place

    def _in_place(self, callee: Closure, arguments: Sequence[Value]) -> Value:
        self.inlining.append(id(callee.node))
        try:
            frame = Frame(callee.this, callee.home, self.frame.counter)
            with self.capture() as nodes:
                result = self._follow(callee, arguments, frame)
        finally:
            self.inlining.pop()
        if callee.node.asynchronous and not callee.node.generator:
            return self._promise(nodes, result)
        self.out.extend(self._closed(nodes))
        return result

    def _closed(self, nodes: list[Draft]) -> list[Draft]:
        """Return a body as it stands in another: a `return` of its own ends only itself."""
        while nodes and nodes[-1].type == "break":
            nodes.pop()
        return [Draft("block", {}, [("nodes", nodes)])] if _leaves(nodes) else nodes

    def _promise(self, nodes: list[Draft], result: Value) -> Value:
        """Return what an asynchronous body promises, which was drawn into `nodes`."""
        inner = promised(result)
        value = result.result if isinstance(result, Promise) else result
        nodes = self._closed(nodes)
        if not nodes:
            return Promise(tuple(inner), value)
        if len(nodes) == 1 and nodes[0] in inner:
            self.out.extend(nodes)
            return Promise((nodes[0],), value)
        self.frame.counter.hand_back([draft for draft in inner if _within(draft, nodes)], self.tick())
        outer = tuple(draft for draft in inner if not _within(draft, nodes))
        made = nodes[0] if len(nodes) == 1 else Draft("block", {}, [("nodes", nodes)])
        self.out.append(made)
        if len(nodes) > 1:
            made.began = self.tick()
        self.frame.counter.emit(made, made.began)
        return Promise((made, *outer), value)

    def _follow(self, callee: Closure, arguments: Sequence[Value], frame: Frame) -> Value:
        """Follow a body; return what it returns."""
        scope = Scope(callee.scope)
        own = callee.node.name
        if own and scope.find(own) is None:
            scope.declare(own, callee)  # a function expression knows its own name
        for name in callee.node.hoisted:
            scope.declare(name, depth=self.conditions)
        with self.inside(scope), self.entering(frame), self.reading(callee.scope.file()):
            frame.arguments = ListValue(list(arguments))
            self._parameters(callee, arguments)
            self.run(callee.node.body())
        return frame.returned

    def _parameters(self, callee: Closure, arguments: Sequence[Value]) -> None:
        arguments = [Const(v.value, v.holes, given=True) if isinstance(v, Const) else v for v in arguments]
        for index, parameter in enumerate(callee.node.parameters):
            if parameter.rest == "*":
                self.bind(parameter.pattern, ListValue(list(arguments[index:])), declare=True)
                continue
            value = arguments[index] if index < len(arguments) else UNDEFINED
            if value is UNDEFINED and parameter.default is not None:
                value = self.value(parameter.default)
            self.bind(parameter.pattern, value, declare=True)
            if parameter.field:
                self.put(self.frame.this, parameter.field, value)

    # By name

    def _by_name(self, callee: Closure, arguments: Sequence[Value], line: int) -> Value:
        key = self._key(callee, arguments)
        known = self.known.get(key)
        if known is None:
            known = self.known[key] = Known(callee, arguments=list(arguments))
            self._learn(known)
        elif known.busy:
            known.arguments = self._joined(known, arguments)
        else:
            self._again(known, callee, arguments)
        if not known.busy and not known.drafts:
            return self._promised_result(callee, known.result)
        draft = Draft("function_call", {"name": callee.label}, line=line, function=known)
        waiting = callee.node.asynchronous and not callee.node.generator
        if waiting or (promised(known.result) and not callee.node.generator):
            result = known.result.result if isinstance(known.result, Promise) else known.result
            return self.emit_pending(draft, UNKNOWN if promised(result) else result)
        self.emit(draft)
        return known.result

    def _key(self, callee: Closure, arguments: Sequence[Value]) -> Key:
        """Return what tells calls apart: a function that is given texts may name its steps after them."""
        plain = known_key(callee)
        if any(known.busy and key[:2] == plain[:2] for key, known in self.known.items()):
            return next(key for key, known in self.known.items() if known.busy and key[:2] == plain[:2])
        words = tuple(v.value for v in arguments if isinstance(v, Const) and isinstance(v.value, str))
        key = (*plain[:2], words)
        seen = sum(one[:2] == plain[:2] for one in self.known)
        return key if key in self.known or seen < _MAX_VARIANTS else plain

    def _promised_result(self, callee: Closure, result: Value) -> Value:
        if callee.node.asynchronous and not callee.node.generator and not isinstance(result, Promise):
            return Promise((), result)
        return result

    def _learn(self, known: Known) -> None:
        for _ in range(4):
            given = known.arguments
            self._learn_once(known)
            if not _changed(given, known.arguments):
                return

    def _learn_once(self, known: Known) -> None:
        known.busy = True
        kept, self.conditions = self.conditions, 0
        known.counter = Counter()
        frame = Frame(known.closure.this, known.closure.home, known.counter)
        try:
            with self.capture() as nodes:
                known.result = self._follow(known.closure, known.arguments, frame)
        finally:
            known.busy = False
            self.conditions = kept
        mine = [draft for draft in promised(known.result) if draft in known.counter.pending]
        if mine and known.closure.node.asynchronous:
            known.counter.waits = known.counter.waits or len(mine) > 0
        known.counter.hand_back(mine, self.tick())
        known.drafts = nodes

    def _joined(self, known: Known, arguments: Sequence[Value]) -> list[Value]:
        size = max(len(arguments), len(known.arguments))
        old = [*known.arguments, *([UNDEFINED] * (size - len(known.arguments)))]
        new = [*arguments, *([UNDEFINED] * (size - len(arguments)))]
        return [_general(one, other) for one, other in zip(old, new, strict=True)]

    def _again(self, known: Known, callee: Closure, arguments: Sequence[Value]) -> None:
        """Follow it once more where it is now called with something else."""
        joined = self._joined(known, arguments)
        if _changed(known.arguments, joined) or (not known.drafts and callee.this is not known.closure.this):
            known.arguments, known.closure = joined, callee
            self._learn(known)

    # Classes

    def construct(self, of: ClassValue, arguments: Sequence[Value]) -> Value:
        """Make an instance: fields, then the constructor."""
        made = Instance(of)
        self._initialize(of, made, arguments, 0)
        return made

    def _initialize(self, of: ClassValue, made: Instance, arguments: Sequence[Value], depth: int) -> None:
        if isinstance(of.base, ClassValue) and depth < 32:
            self._initialize(of.base, made, arguments, depth + 1)
        frame = Frame(made, of, self.frame.counter)
        with self.entering(frame), self.inside(Scope(of.scope)):
            for member in of.node.members():
                if member.initializer and not member.static and member.key:
                    made.fields[member.key] = self.value(member.value)
        builder = of.members.get("constructor") or of.members.get("__init__")
        if builder is not None and isinstance(builder.value, t.Function):
            closure = Closure(builder.value, of.scope, made, of, "")
            given = (made, *arguments) if builder.key == "__init__" else arguments
            if id(builder.value) not in self.inlining:
                self._in_place(closure, given)


def known_key(callee: Closure) -> Key:
    """Return what tells functions apart: the code, and the object whose method it is."""
    return id(callee.node), id(callee.this) if isinstance(callee.this, Instance) else 0, ()


def _changed(old: Sequence[Value], new: Sequence[Value]) -> bool:
    return len(old) != len(new) or any(one is not other for one, other in zip(old, new, strict=True))


def is_code(value: Value) -> bool:
    """Return whether a value is, or holds, a function."""
    if isinstance(value, ObjectValue):
        return any(isinstance(part, Closure) for part in value.fields.values())
    return isinstance(value, (Closure, Bound, Native)) or (
        isinstance(value, Choice) and any(is_code(option) for _, option in value.options)
    )


def _general(one: Value, other: Value) -> Value:
    """Return what covers both; the first where it already does."""
    if one is other or (is_nothing(other) and not isinstance(one, Const)):
        return one
    if isinstance(one, Const):
        same = isinstance(other, Const) and other.value == one.value
        return one if same else UNKNOWN if isinstance(other, Const) or is_nothing(other) else other
    if is_nothing(one):
        return one if one is UNKNOWN and isinstance(other, Const) else other
    if type(one) is type(other):
        return one
    return one


def _leaves(nodes: list[Draft]) -> bool:
    for draft in nodes:
        if draft.type == "break" and draft.fields["kind"] == "return" and "jump" not in draft.fields:
            return True
        if any(
            _leaves(inner) for _, inner in draft.parts if draft.open or draft.type not in {"step_do", "block"}
        ):
            return True
    return False


def _within(draft: Draft, nodes: list[Draft]) -> bool:
    return any(node is draft or any(_within(draft, inner) for _, inner in node.parts) for node in nodes)


__all__ = ["UNKNOWN", "Functions", "Known"]
