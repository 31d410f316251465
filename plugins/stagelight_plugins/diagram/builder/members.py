"""Members and patterns: what is read from objects, and what is given names."""

from __future__ import annotations

from stagelight_plugins.diagram import tree as t
from stagelight_plugins.diagram.builder.expressions import Expressions, spoken
from stagelight_plugins.diagram.builder.values import (
    UNDEFINED,
    UNKNOWN,
    Carrier,
    Choice,
    ClassValue,
    Closure,
    Const,
    External,
    Instance,
    ListValue,
    ObjectValue,
    Promise,
    Shape,
    StepMethod,
    Steps,
    Value,
    is_nothing,
    join,
)

KINDS = {
    "do": "step_do",
    "sleep": "step_sleep",
    "sleepUntil": "step_sleep_until",
    "sleep_until": "step_sleep_until",
    "waitForEvent": "step_wait_for_event",
    "wait_for_event": "step_wait_for_event",
}
_NOT_DATA = frozenset({"length", "then", "toString"})


class Members(Expressions):
    """Reads and assigns members."""

    def get(self, value: Value, name: str) -> Value:
        """Read a member."""
        if isinstance(value, Steps):
            return StepMethod(KINDS[name]) if name in KINDS else UNKNOWN
        if isinstance(value, ObjectValue):
            getter = value.getters.get(name)
            return value.fields.get(name, UNKNOWN) if getter is None else self.invoke(getter, (), inline=True)
        if isinstance(value, Instance):
            return self._of_instance(value, name)
        if isinstance(value, ClassValue):
            return self._of_class(value, name)
        if isinstance(value, Carrier):
            return value.payload if name == "payload" else UNKNOWN
        if isinstance(value, Shape):
            value.read = True
            return value.fields.setdefault(name, Shape()) if name and name not in _NOT_DATA else UNKNOWN
        if isinstance(value, External):
            return External(f"{value.path}.{name}")
        if isinstance(value, Choice):
            found: Value = UNKNOWN
            for _, option in value.options:
                found = join(found, self.get(option, name))
            return found
        return UNKNOWN

    def _of_instance(self, value: Instance, name: str) -> Value:
        if name in value.fields:
            return value.fields[name]
        return self.method(value.of, name, value)

    def method(self, owner: Value, name: str, this: Value) -> Value:
        """Return a method of a class or of what it inherits from, bound to `this`."""
        place, steps = owner, 0
        while isinstance(place, ClassValue) and steps < 64:
            member = place.members.get(name)
            if member is not None and isinstance(member.value, t.Function) and not member.initializer:
                made = Closure(member.value, place.scope, this, place, name)
                return (
                    self.invoke(made, (), inline=True)
                    if member.getter
                    else self.decorated(member.value, made)
                )
            place, steps = place.base, steps + 1
        return UNKNOWN

    def _of_class(self, value: ClassValue, name: str) -> Value:
        place: Value = value
        steps = 0
        while isinstance(place, ClassValue) and steps < 64:
            if name in place.statics:
                return place.statics[name]
            if name == "prototype":
                return value
            member = place.members.get(name)
            if member is not None and isinstance(member.value, t.Function) and not member.initializer:
                this = value if member.static else self.frame.this
                return Closure(member.value, place.scope, this, place, name)
            place, steps = place.base, steps + 1
        return UNKNOWN

    def put(self, value: Value, name: str, given: Value) -> None:
        """Assign a member."""
        fields: dict[str, Value] | None = None
        if isinstance(value, (ObjectValue, Instance)):
            fields = value.fields
        elif isinstance(value, ClassValue):
            fields = value.statics
        if fields is not None and name:
            old = fields.get(name, UNDEFINED)
            fields[name] = join(old, given) if self.conditions or is_nothing(given) else given

    def put_at(self, owner: Value, key: Value, value: Value) -> None:
        """Assign a member whose name may not be known."""
        if isinstance(owner, ListValue) and not (isinstance(key, Const) and isinstance(key.value, str)):
            owner.items.append(value)
        else:
            fixed = isinstance(key, Const) and not key.holes
            self.put(owner, spoken(key.value) if fixed and isinstance(key, Const) else "", value)

    def bind(self, pattern: t.Node, value: Value, *, declare: bool) -> None:
        """Give a pattern's names their values."""
        if isinstance(pattern, t.Declare):
            self.bind(pattern.pattern, value, declare=True)
        elif isinstance(pattern, t.Name):
            self._name(pattern.id, value, declare=declare)
        elif isinstance(pattern, t.Default):
            chosen = value
            if value is UNKNOWN or isinstance(value, Shape):
                with self.conditional(), self.capture() as nodes:
                    chosen = join(value, self.value(pattern.value))
                self.draw("if", [(f"{self.text(pattern.pattern)} is missing", nodes), (None, [])])
            elif is_nothing(value):
                chosen = self.value(pattern.value)
            self.bind(pattern.pattern, chosen, declare=declare)
        elif isinstance(pattern, t.ObjectOf):
            for entry in pattern.entries:
                key = self.key(entry.key)
                part = value if entry.key is None else self.get(value, key)
                self.bind(entry.value, part, declare=declare)
        elif isinstance(pattern, t.ArrayOf):
            self._list(pattern, value, declare=declare)
        elif isinstance(pattern, t.Member):
            owner = self.value(pattern.value)
            name = pattern.name
            self.put_at(owner, self.value(name) if isinstance(name, t.Node) else Const(name), value)
        elif isinstance(pattern, t.Spread):
            self.bind(pattern.value, value, declare=declare)

    def _list(self, pattern: t.ArrayOf, value: Value, *, declare: bool) -> None:
        for index, item in enumerate(pattern.items):
            if item is None:
                continue
            part: Value = UNKNOWN
            if isinstance(value, ListValue):
                if isinstance(item, t.Spread):
                    part = ListValue(value.items[index:], value.rest)
                elif index < len(value.items):
                    part = value.items[index]
                else:
                    part = value.rest or UNKNOWN
            elif isinstance(value, Promise):
                part = Promise(value.drafts)
            self.bind(item, part, declare=declare)

    def _name(self, name: str, value: Value, *, declare: bool) -> None:
        if declare:
            self.scope.declare(name, value, self.conditions)
            return
        slot = self.scope.find(name)
        if slot is None:
            self.scope.declare(name, value, self.conditions)
        else:
            slot.set(value, self.conditions)
