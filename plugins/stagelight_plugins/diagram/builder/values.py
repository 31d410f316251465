"""What an expression may be, as far as a diagram needs to know."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from stagelight_plugins.diagram import tree as t

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from stagelight_plugins.diagram.builder.scope import Scope
    from stagelight_plugins.diagram.model import Draft


class Value:
    """Anything; nothing is known of a bare one."""

    __slots__ = ()


UNKNOWN: Final = Value()
MIXED: Final = Value()
"""One of several constants."""
UNDEFINED: Final = Value()
"""Not set, or nothing."""


@dataclass(slots=True, eq=False, repr=False, match_args=False)
class Const(Value):
    """A string, number or boolean; `holes` where it is text with `${...}`."""

    value: Any
    holes: bool = False
    given: bool = False
    """A function got it; in another call it may be another, so that a name made of it has a hole."""


@dataclass(slots=True, eq=False, repr=False, match_args=False)
class Steps(Value):
    """The object whose methods are steps."""


@dataclass(slots=True, eq=False, repr=False, match_args=False)
class StepMethod(Value):
    """A method of it."""

    kind: str


@dataclass(slots=True, eq=False, repr=False, match_args=False)
class StepFunction(Value):
    """A function that is a step whenever it is called: what a decorator of Python made."""

    kind: str
    name: str
    function: Value
    config: dict[str, Any] = field(default_factory=dict[str, Any])
    depends: Sequence[Value] = ()
    concurrent: bool = False
    dialect: str = ""
    """The full name of what made it a step."""


@dataclass(slots=True, eq=False, repr=False, match_args=False)
class Closure(Value):
    """A function and where it was made."""

    node: t.Function
    scope: Scope
    this: Value = UNKNOWN
    home: ClassValue | None = None
    """The class that it is a method of, for `super`."""
    name: str = ""

    @property
    def label(self) -> str:
        """How it is called."""
        return self.name or self.node.name


@dataclass(slots=True, eq=False, repr=False, match_args=False)
class Bound(Value):
    """A function with some arguments given."""

    function: Value
    arguments: Sequence[Value] = ()


@dataclass(slots=True, eq=False, repr=False, match_args=False)
class Native(Value):
    """A function that the builder itself knows."""

    call: Callable[[Sequence[Value]], Value]


@dataclass(slots=True, eq=False, repr=False, match_args=False)
class ObjectValue(Value):
    """An object or dictionary."""

    fields: dict[str, Value] = field(default_factory=dict[str, Value])
    getters: dict[str, Closure] = field(default_factory=dict[str, "Closure"])
    mapping: bool = False
    """Whether it is a `Map` or `Set`, whose methods reach its fields."""


@dataclass(slots=True, eq=False, repr=False, match_args=False)
class ListValue(Value):
    """A list; `rest` is what else may be in it."""

    items: list[Value] = field(default_factory=list[Value])
    rest: Value | None = None


@dataclass(slots=True, eq=False, repr=False, match_args=False)
class ClassValue(Value):
    """A class."""

    node: t.Class
    scope: Scope
    base: Value
    members: Mapping[str, t.Property]
    statics: dict[str, Value] = field(default_factory=dict[str, Value])
    name: str = ""
    own: t.Function | None = None


@dataclass(slots=True, eq=False, repr=False, match_args=False)
class Instance(Value):
    """An object of a class."""

    of: ClassValue
    fields: dict[str, Value] = field(default_factory=dict[str, Value])


@dataclass(slots=True, eq=False, repr=False, match_args=False)
class External(Value):
    """Something from outside the source: a global, or a name of a module that is not followed."""

    path: str


@dataclass(slots=True, eq=False, repr=False, match_args=False)
class Promise(Value):
    """What these nodes will have done, and their result."""

    drafts: tuple[Draft, ...] = ()
    result: Value = UNKNOWN
    kind: str = ""
    """How it joins them: that of a combinator."""


@dataclass(slots=True, eq=False, repr=False, match_args=False)
class Deferred(Value):
    """A call that happens when it is awaited: a coroutine of Python."""

    run: Callable[[], Value]


@dataclass(slots=True, eq=False, repr=False, match_args=False)
class Shape(Value):
    """Data whose members are noted as they are read: a payload."""

    fields: dict[str, Shape] = field(default_factory=dict[str, "Shape"])
    read: bool = False

    def to_json(self) -> dict[str, Any]:
        """Return it as the API shows it."""
        if not self.fields:
            return {"type": "unknown"}
        return {"type": "object", "fields": {name: part.to_json() for name, part in self.fields.items()}}


@dataclass(slots=True, eq=False, repr=False, match_args=False)
class Carrier(Value):
    """An event: its `payload` is a shape."""

    payload: Shape


@dataclass(slots=True, eq=False, repr=False, match_args=False)
class Choice(Value):
    """One of several; each with the condition that chooses it, where there is one."""

    options: tuple[tuple[str | None, Value], ...]


def is_nothing(value: Value) -> bool:
    """Return whether nothing is known of it, or it is nothing."""
    return value is UNKNOWN or value is UNDEFINED or (isinstance(value, Const) and value.value is None)


def join(one: Value, other: Value) -> Value:
    """Return what is either."""
    if one is other or is_nothing(other):
        return one
    if is_nothing(one):
        return other
    if isinstance(one, Const) and isinstance(other, Const):
        return one if one.value == other.value else MIXED
    if isinstance(one, Const) or one is MIXED:
        return MIXED if isinstance(other, Const) else other
    if isinstance(other, Const) or other is MIXED:
        return one
    if isinstance(one, Promise) and isinstance(other, Promise):
        more = tuple(draft for draft in other.drafts if draft not in one.drafts)
        return Promise((*one.drafts, *more), join(one.result, other.result), one.kind or other.kind)
    if isinstance(one, Steps) and isinstance(other, Steps):
        return one
    if isinstance(one, ListValue) and isinstance(other, ListValue):
        return ListValue(
            [*one.items, *(item for item in other.items if item not in one.items)], one.rest or other.rest
        )
    options = (*_options(one), *(option for option in _options(other) if option not in _options(one)))
    return options[0][1] if len(options) == 1 else Choice(options[:16])


def _options(value: Value) -> tuple[tuple[str | None, Value], ...]:
    return value.options if isinstance(value, Choice) else ((None, value),)


def certain(node: t.Node, value: Value) -> bool | None:
    """Return whether a test is true, where nothing but its text decides: a variable may be another before it is asked."""
    if isinstance(value, Const) and not isinstance(_bare(node), t.Literal):
        return None
    return truth(value)


def _bare(node: t.Node) -> t.Node:
    while isinstance(node, t.Unary):
        node = node.value
    return node


def truth(value: Value) -> bool | None:
    """Return whether it is true, where that is known."""
    if isinstance(value, Const) and not value.holes:
        return bool(value.value)
    if isinstance(value, (Closure, ClassValue, Instance, Steps, StepMethod)):
        return True
    return None
