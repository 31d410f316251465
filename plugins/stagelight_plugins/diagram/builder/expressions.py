"""Expressions: what they may be, and the nodes that they draw on the way."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from stagelight_plugins.diagram import tree as t
from stagelight_plugins.diagram.builder.core import Core
from stagelight_plugins.diagram.builder.scope import Scope
from stagelight_plugins.diagram.builder.values import (
    UNDEFINED,
    UNKNOWN,
    Carrier,
    Choice,
    ClassValue,
    Closure,
    Const,
    Deferred,
    External,
    ListValue,
    ObjectValue,
    Promise,
    Shape,
    Value,
    certain,
    join,
    truth,
)

if TYPE_CHECKING:
    from collections.abc import Callable

_HOW = {"&&": "truthy", "and": "truthy", "||": "falsy", "or": "falsy", "??": "nullish"}


class Expressions(Core):
    """Evaluates expressions."""

    def value(self, node: t.Node | None) -> Value:
        """Evaluate an expression."""
        if node is None:
            return UNDEFINED
        self.budget.spend()
        method = getattr(self, f"_on_{type(node).__name__.lower()}", None)
        if method is None:
            return UNKNOWN
        found: Value = method(node)
        return found

    def _on_name(self, node: t.Name) -> Value:
        if node.id == "undefined":
            return UNDEFINED
        found = self.scope.lookup(node.id)
        return External(node.id) if found is None else found

    def _on_literal(self, node: t.Literal) -> Value:
        return Const(node.value)

    def _on_template(self, node: t.Template) -> Value:
        parts: list[str] = []
        holes = False
        for part in node.parts:
            if isinstance(part, str):
                parts.append(part)
                continue
            value = self.value(part)
            fixed = isinstance(value, Const) and value.value is not None and not value.given
            parts.append(spoken(value.value) if fixed and isinstance(value, Const) else "${...}")
            holes = holes or not fixed or (isinstance(value, Const) and value.holes)
        return Const("".join(parts), holes)

    def _on_sequenced(self, node: t.Sequenced) -> Value:
        found: Value = UNDEFINED
        for item in node.items:
            found = self.value(item)
        return UNKNOWN if node.opaque else found

    def _on_arrayof(self, node: t.ArrayOf) -> Value:
        made = ListValue()
        for item in node.items:
            if isinstance(item, t.Spread):
                value = self.value(item.value)
                if isinstance(value, ListValue) and value.rest is None:
                    made.items.extend(value.items)
                elif isinstance(value, ListValue):
                    made.items.extend(value.items)
                    made.rest = join(made.rest or UNKNOWN, value.rest or UNKNOWN)
                else:
                    made.rest = join(made.rest or UNKNOWN, UNKNOWN)
            else:
                made.items.append(self.value(item))
        return made

    def _on_objectof(self, node: t.ObjectOf) -> Value:
        made = ObjectValue()
        for entry in node.entries:
            key = self.key(entry.key)
            value = self.value(entry.value)
            if entry.key is None:
                if isinstance(value, ObjectValue):
                    made.fields.update(value.fields)
                    made.getters.update(value.getters)
            elif isinstance(value, Closure):
                value.this = made if not value.node.arrow else value.this
                if entry.getter:
                    made.getters[key] = value
                else:
                    made.fields[key] = value
            else:
                made.fields[key] = value
        return made

    def key(self, key: str | t.Node | None) -> str:
        """Return a member's name; empty where it is not known."""
        if isinstance(key, t.Node):
            value = self.value(key)
            return spoken(value.value) if isinstance(value, Const) and not value.holes else ""
        return key or ""

    def _on_spread(self, node: t.Spread) -> Value:
        return self.value(node.value)

    def _on_member(self, node: t.Member) -> Value:
        value = self.value(node.value)
        if isinstance(node.name, t.Node):
            index = self.value(node.name)
            if isinstance(value, ListValue):
                return self._item(value, index)
            if not (isinstance(index, Const) and not index.holes):
                return self._any(value)
            return self.get(value, spoken(index.value))
        return self.get(value, node.name)

    def _item(self, value: ListValue, index: Value) -> Value:
        if isinstance(index, Const) and isinstance(index.value, int) and -len(value.items) <= index.value:
            if index.value < len(value.items):
                return value.items[index.value]
            return value.rest or UNKNOWN
        found: Value = value.rest or UNKNOWN
        for item in value.items:
            found = join(found, item)
        return found

    def _any(self, value: Value) -> Value:
        if not isinstance(value, ObjectValue):
            return UNKNOWN
        options = [(f'"{name}"', field) for name, field in value.fields.items()]
        return Choice(tuple(options[:32])) if options else UNKNOWN

    def _on_await(self, node: t.Await) -> Value:
        began = self.clock + 1
        return self.wait(self.value(node.value), began)

    def wait(self, value: Value, began: int) -> Value:
        """Wait for a value; return its result."""
        if isinstance(value, Deferred):
            value = value.run()
        self.frame.counter.waits = True
        if isinstance(value, Promise):
            self.settle(value, began, value.kind)
            result = value.result
            return self.wait(result, began) if isinstance(result, (Promise, Deferred)) else result
        if isinstance(value, Choice):
            self.settle(value, began)
            results = [(how, self.wait(option, began)) for how, option in value.options]
            return Choice(tuple(results))
        return value

    def _on_yield(self, node: t.Yield) -> Value:
        value = self.value(node.value)
        self.frame.returned = join(self.frame.returned, value)
        return UNKNOWN

    def _on_conditional(self, node: t.Conditional) -> Value:
        test = self.value(node.test)
        known = certain(node.test, test)
        if known is not None:
            return self.value(node.then if known else node.otherwise)
        text = self.text(node.test)
        with self.conditional(), self.capture() as then:
            one = self.value(node.then)
        with self.conditional(), self.capture() as otherwise:
            other = self.value(node.otherwise)
        self.draw("if", [(text, then), (None, otherwise)])
        chosen = None if isinstance(test, Const) and test.given else truth(test)
        return _either(text, one, other) if chosen is None else one if chosen else other

    def _on_logical(self, node: t.Logical) -> Value:
        left = self.value(node.left)
        known = certain(node.left, left)
        if node.operator in {"&&", "and"} and known is not None:
            return self.value(node.right) if known else left
        if node.operator in {"||", "or"} and known:
            return left
        with self.conditional(), self.capture() as nodes:
            right = self.value(node.right)
        self.draw("if", [(f"{self.text(node.left)} is {_HOW[node.operator]}", nodes), (None, [])])
        if node.operator in {"||", "or"} and truth(left) and not (isinstance(left, Const) and left.given):
            return left
        return right if node.operator in {"&&", "and"} else join(left, right)

    def _on_binary(self, node: t.Binary) -> Value:
        chain: list[t.Binary] = []
        place: t.Node = node
        while isinstance(place, t.Binary):
            chain.append(place)
            place = place.left
        found = self.value(place)
        for link in reversed(chain):
            found = self.operated(link.operator, found, self.value(link.right))
        return found

    def operated(self, operator: str, left: Value, right: Value) -> Value:
        """Return `left operator right`."""
        return combined(operator, left, right)

    def _on_unary(self, node: t.Unary) -> Value:
        value = self.value(node.value)
        if node.operator in {"++", "--"}:
            made = UNKNOWN if self.conditions else combined(node.operator[0], value, Const(1))
            self.bind(node.value, made, declare=False)
            return made
        if not isinstance(value, Const) or value.holes:
            return UNDEFINED if node.operator == "void" else UNKNOWN
        if node.operator in {"!", "not"}:
            return Const(not value.value)
        if node.operator == "-" and isinstance(value.value, (int, float)):
            return Const(-value.value)
        if node.operator == "void":
            return UNDEFINED
        return value if node.operator == "+" else UNKNOWN

    def _on_assign(self, node: t.Assign) -> Value:
        if node.operator in {"&&=", "||=", "??="}:
            return self._on_logical_assign(node)
        if node.operator == "=" and isinstance(node.target, t.Member) and not self.lazy:
            owner = self.value(node.target.value)
            name = node.target.name
            key = self.value(name) if isinstance(name, t.Node) else Const(name)
            value = self.value(node.value)
            self.put_at(owner, key, value)
            return value
        value = self.value(node.value)
        if node.operator == "=":
            self.bind(node.target, value, declare=False)
            return value
        old = self.value(node.target)
        if isinstance(old, ListValue) and isinstance(value, ListValue):
            old.items.extend(value.items)
            old.rest = old.rest or value.rest
            return old
        made = combined(node.operator[:-1], old, value) if not self.conditions else UNKNOWN
        self.bind(node.target, made, declare=False)
        return made

    def _on_logical_assign(self, node: t.Assign) -> Value:
        value = self._on_logical(
            t.Logical(node.operator[:-1], node.target, node.value, start=node.start, end=node.end)
        )
        self.bind(node.target, value, declare=False)
        return value

    def _on_special(self, node: t.Special) -> Value:
        if node.kind == "this":
            return self.frame.this
        home = self.frame.home
        return UNKNOWN if home is None else home.base

    def _on_function(self, node: t.Function) -> Value:
        this = self.frame.this if node.arrow else UNKNOWN
        made = Closure(node, self.scope, this, self.frame.home if node.arrow else None)
        if node.name:
            self.made.append(made)
        return self.decorated(node, made)

    def decorated(self, node: t.Function | t.Class, made: Value) -> Value:
        """Apply decorators, innermost first."""
        for decorator in reversed(node.decorators):
            made = self.decorate(self.value(decorator), made)
        return made

    def decorate(self, decorator: Value, made: Value) -> Value:
        """Apply one decorator. A dialect knows some; others change nothing."""
        del decorator
        return made

    def _on_class(self, node: t.Class) -> Value:
        bases = [self.value(base) for base in node.bases]
        members = {member.key: member for member in self.members(node) if member.key}
        base = bases[0] if bases else UNDEFINED
        made = ClassValue(node, Scope(self.scope), base, members, name=node.name)
        if node.name:
            made.scope.declare(node.name, made)
        for member in members.values():
            if member.static and member.initializer:
                self._static(made, member)
        for member in node.members():
            if not member.key and member.static and member.initializer:
                self._static(made, member)
        return self.decorated(node, made)

    def members(self, node: t.Class) -> list[t.Property]:
        """Return the members of a class, computed names resolved."""
        return [
            replace(member, key=self.key(member.computed)) if member.computed is not None else member
            for member in node.members()
        ]

    def _static(self, made: ClassValue, member: t.Property) -> None:
        if member.key:
            made.statics[member.key] = self.aside(lambda: self.value(member.value))
        elif isinstance(member.value, t.Function):
            block = Closure(member.value, made.scope, made, made)
            self.aside(lambda: self.invoke(block, (), inline=True))

    def _on_comprehension(self, node: t.Comprehension) -> Value:
        raise NotImplementedError

    def evaluate_lazily(self, make: Callable[[], Value]) -> Value:
        """Evaluate a name of a module when it is first used."""
        return self.aside(make)


def _either(text: str, one: Value, other: Value) -> Value:
    if isinstance(one, (Closure, Choice)) and isinstance(other, (Closure, Choice)):
        return Choice(((text, one), (None, other)))
    if isinstance(one, Const) and isinstance(other, Const) and one.value != other.value:
        return UNKNOWN
    return join(one, other)


def spoken(value: Any) -> str:
    """Return a constant as text, as JavaScript would."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return "null" if value is None else str(value)


def combined(operator: str, left: Value, right: Value) -> Value:
    """Return `left operator right`; text keeps holes where a part is not known."""
    texts = [part for part in (left, right) if isinstance(part, Const) and isinstance(part.value, str)]
    if operator == "+" and texts:
        known = [
            isinstance(part, Const) and part.value is not None and not part.given for part in (left, right)
        ]
        parts = [
            spoken(part.value) if fixed and isinstance(part, Const) else "${...}"
            for part, fixed in zip((left, right), known, strict=True)
        ]
        holes = not all(known) or any(isinstance(part, Const) and part.holes for part in (left, right))
        return Const("".join(parts)[:4096], holes)
    if not isinstance(left, Const) or not isinstance(right, Const):
        return UNKNOWN
    one, two = left.value, right.value
    if not isinstance(one, (int, float)) or not isinstance(two, (int, float)):
        return UNKNOWN
    return _calculated(operator, float(one) if isinstance(one, float) else int(one), two)


def _calculated(operator: str, one: float, two: float) -> Value:
    if abs(one) > 2**53 or abs(two) > 2**53:
        return UNKNOWN
    try:
        if operator == "+":
            made: float = one + two
        elif operator == "-":
            made = one - two
        elif operator == "*":
            made = one * two
        elif operator == "/":
            made = one / two
        elif operator == "**" and abs(one) <= 1000 and abs(two) <= 64:
            made = one**two
        elif operator == "<<" and 0 <= two < 32:
            made = int(one) << int(two)
        else:
            return UNKNOWN
    except (ArithmeticError, ValueError):
        return UNKNOWN
    return Const(int(made) if made == int(made) else made)


__all__ = ["Carrier", "Expressions", "Shape", "combined", "spoken"]
